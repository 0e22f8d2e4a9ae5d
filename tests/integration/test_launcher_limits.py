"""A launcher holds outputs to their caps, and tells when a tree's memory goes over its limit."""

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hpcq.engine.launcher import Child, Launcher
from tests.support.wait import wait_until

ENV = {"PATH": os.environ["PATH"]}
CAP = 100_000
MIB = 1 << 20


@pytest.fixture
async def launcher() -> AsyncIterator[Launcher]:
    launcher = await Launcher.open()
    yield launcher
    await launcher.close()


async def writer(launcher: Launcher, folder: Path, script: str) -> Child:
    argv = ["/bin/sh", "-c", script]
    return await launcher.spawn(argv, env=ENV, cwd=folder, output=folder / "output", output_cap=CAP)


def size(folder: Path) -> int:
    return (folder / "output").stat().st_size


async def test_an_output_within_its_cap_is_left_alone(launcher: Launcher, tmp_path: Path) -> None:
    child = await writer(launcher, tmp_path, f"head -c {CAP} /dev/zero")
    assert (await child.wait()).code == 0
    assert not child.truncated
    assert size(tmp_path) == CAP


async def test_an_output_beyond_its_cap_is_cut_back_at_the_end(launcher: Launcher, tmp_path: Path) -> None:
    child = await writer(launcher, tmp_path, f"head -c {CAP + 1} /dev/zero")
    assert (await child.wait()).code == 0
    assert child.truncated
    assert size(tmp_path) == CAP


async def test_it_is_cut_back_before_the_end_is_told_also_when_something_is_left(
    launcher: Launcher, tmp_path: Path
) -> None:
    child = await writer(launcher, tmp_path, f"sleep 60 & head -c {2 * CAP} /dev/zero")
    await child.wait()
    assert child.truncated
    assert size(tmp_path) == CAP


async def test_an_endless_output_is_cut_back_while_it_is_written(launcher: Launcher, tmp_path: Path) -> None:
    child = await writer(launcher, tmp_path, f"while :; do head -c {CAP} /dev/zero; sleep 0.01; done")
    await wait_until(lambda: child.truncated)
    for _ in range(3):
        await wait_until(lambda: size(tmp_path) > CAP)
        await wait_until(lambda: size(tmp_path) <= CAP)
    await launcher.end()
    assert size(tmp_path) <= CAP
    assert not (tmp_path / "output").read_bytes().strip(b"\0")  # appended, so without holes that others would see


async def test_what_a_child_leaves_behind_is_held_to_the_cap_too(launcher: Launcher, tmp_path: Path) -> None:
    script = f"(setsid sh -c 'while [ ! -e go ]; do sleep 0.02; done; head -c {2 * CAP} /dev/zero; sleep 60' &)"
    child = await writer(launcher, tmp_path, script)
    await child.wait()
    assert not child.truncated
    (tmp_path / "go").touch()
    await wait_until(lambda: child.truncated)
    assert size(tmp_path) == CAP


async def test_a_renamed_output_is_held_to_the_cap_too(launcher: Launcher, tmp_path: Path) -> None:
    child = await writer(launcher, tmp_path, f"mv output away; head -c {2 * CAP} /dev/zero")
    await child.wait()
    assert (tmp_path / "away").stat().st_size == CAP


async def hog(launcher: Launcher, folder: Path, mib: int, memory_mb: float | None, *, children: int = 0) -> Child:
    """A process that holds `mib` MiB, as do `children` of it in sessions of their own, until `leave` exists."""
    hold = (
        f"import os, time; x = bytearray({mib * MIB}); x[::4096] = b'x' * len(x[::4096]); open('held', 'a').write('x')"
    )
    wait = "while not os.path.exists('leave'): time.sleep(0.02)"
    (folder / "hog.py").write_text(f"{hold}\n{wait}\n")
    script = f"setsid {sys.executable} -S hog.py & " * children + f"exec {sys.executable} -S hog.py"
    return await launcher.spawn(
        ["/bin/sh", "-c", script], env=ENV, cwd=folder, output=folder / "output", memory_mb=memory_mb
    )


async def another_look(launcher: Launcher, folder: Path) -> None:
    """That an output is cut back shows that the launcher has looked after its children again."""
    flood = await writer(launcher, folder, f"head -c {2 * CAP} /dev/zero; exec sleep 60")
    await wait_until(lambda: flood.truncated)
    await flood.terminate(5)


async def test_more_memory_than_allowed_is_told_once_and_nothing_is_killed(launcher: Launcher, tmp_path: Path) -> None:
    told: list[Child] = []
    launcher.on_over_memory = told.append
    child = await hog(launcher, tmp_path, 80, 60)
    await wait_until(lambda: told)
    await another_look(launcher, tmp_path)
    await another_look(launcher, tmp_path)
    (tmp_path / "leave").touch()
    assert (await child.wait()).code == 0
    assert told == [child]
    assert child.over_memory


async def test_the_limit_holds_for_the_sum_of_a_tree(launcher: Launcher, tmp_path: Path) -> None:
    child = await hog(launcher, tmp_path, 50, 140, children=2)
    await wait_until(lambda: child.over_memory)
    (tmp_path / "leave").touch()
    assert (await child.wait()).max_rss_mb > 140


async def test_less_memory_than_allowed_is_no_trouble(launcher: Launcher, tmp_path: Path) -> None:
    child = await hog(launcher, tmp_path, 20, 400, children=1)
    await wait_until(lambda: (tmp_path / "held").exists() and (tmp_path / "held").stat().st_size == 2)
    await another_look(launcher, tmp_path)
    (tmp_path / "leave").touch()
    assert (await child.wait()).code == 0
    assert not child.over_memory
