"""How a launcher ends its children: kindly, then by force, and how far it reaches."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hpcq.engine.launcher import Child, Launcher, LauncherDied
from hpcq.engine.orphans import reap_orphans
from hpcq.engine.process_table import strike
from tests.support.processes import children_of, is_alive, marked, marker, stat_fields
from tests.support.wait import wait_until, wait_until_blocking

PATH = os.environ["PATH"]
LONG_S = 30.0  # a grace that no test waits for


@pytest.fixture
async def launcher() -> AsyncIterator[Launcher]:
    launcher = await Launcher.open()
    yield launcher
    await launcher.close()


@pytest.fixture
async def shared() -> AsyncIterator[Launcher]:
    launcher = await Launcher.open(shared=True)
    yield launcher
    await launcher.close()


async def start(launcher: Launcher, folder: Path, script: str) -> Child:
    argv = ["/bin/sh", "-c", script]
    return await launcher.spawn(argv, env={"PATH": PATH}, cwd=folder, output=folder / "output")


async def said(folder: Path, text: str) -> None:
    await wait_until(lambda: text in (folder / "output").read_text(), what=f"the output {text!r}")


async def test_terminate_lets_a_child_end_by_itself(launcher: Launcher, tmp_path: Path) -> None:
    child = await start(launcher, tmp_path, "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.02; done")
    await said(tmp_path, "up")
    await child.terminate(LONG_S)
    assert (await child.wait()).code == 3
    await said(tmp_path, "bye")


async def test_terminate_kills_after_the_grace_what_ignores_it(launcher: Launcher, tmp_path: Path) -> None:
    child = await start(launcher, tmp_path, "trap '' TERM; echo up; while :; do sleep 0.02; done")
    await said(tmp_path, "up")
    before = time.monotonic()
    await child.terminate(0.2)
    assert time.monotonic() - before >= 0.2
    assert (await child.wait()).signal == signal.SIGKILL


async def test_a_grandchild_gets_the_grace_although_its_leader_ends_at_once(launcher: Launcher, tmp_path: Path) -> None:
    """`sh -c` dies of the SIGTERM at once, while the program under it writes its checkpoint."""
    work = "(trap 'echo saving; while [ ! -e saved ]; do sleep 0.02; done; echo saved; exit' TERM; echo up; "
    child = await start(launcher, tmp_path, work + "while :; do sleep 0.02; done) & wait; exit 1")
    await said(tmp_path, "up")
    ending = asyncio.ensure_future(child.terminate(LONG_S))
    await said(tmp_path, "saving")
    await wait_until(lambda: not is_alive(child.pid))
    assert not ending.done()
    assert not child.ended
    (tmp_path / "saved").touch()
    await ending
    await said(tmp_path, "saved")
    assert (await child.wait()).signal == signal.SIGTERM


async def test_terminate_reaches_what_has_left_the_group_and_the_session(launcher: Launcher, tmp_path: Path) -> None:
    work = 'trap "echo asked; exit" TERM; echo up; while :; do sleep 0.02; done'
    child = await start(launcher, tmp_path, f"(setsid sh -c '{work}' &); sleep 60")
    await said(tmp_path, "up")
    await child.terminate(LONG_S)
    await said(tmp_path, "asked")


async def test_terminate_ends_a_stopped_child(launcher: Launcher, tmp_path: Path) -> None:
    child = await start(launcher, tmp_path, "exec sleep 60")
    os.kill(child.pid, signal.SIGSTOP)
    await asyncio.wait_for(child.terminate(LONG_S), 5)
    assert (await child.wait()).signal == signal.SIGTERM


async def test_a_second_terminate_can_shorten_the_grace_and_not_lengthen_it(launcher: Launcher, tmp_path: Path) -> None:
    child = await start(launcher, tmp_path, "trap '' TERM; echo up; while :; do sleep 0.02; done")
    await said(tmp_path, "up")
    first = asyncio.ensure_future(child.terminate(LONG_S))
    second = asyncio.ensure_future(child.terminate(0.05))
    third = asyncio.ensure_future(child.terminate(LONG_S))
    await asyncio.wait_for(asyncio.gather(first, second, third), 5)


async def test_terminate_after_the_end_does_nothing(launcher: Launcher, tmp_path: Path) -> None:
    child = await start(launcher, tmp_path, "exit 0")
    await child.wait()
    await child.terminate(LONG_S)
    assert (await child.wait()).code == 0


async def test_of_two_children_only_the_terminated_one_ends(launcher: Launcher, tmp_path: Path) -> None:
    one, other = await start(launcher, tmp_path, "sleep 60 & wait"), await start(launcher, tmp_path, "sleep 60 & wait")
    await one.terminate(LONG_S)
    assert is_alive(other.pid)
    assert not other.ended


async def test_in_a_shared_scope_terminate_spares_what_others_have_left(shared: Launcher, tmp_path: Path) -> None:
    """As the adb server, which whoever needs it first starts for all."""
    daemon, own = marker(), marker()
    await (await start(shared, tmp_path, f"(setsid sleep {daemon} &)")).wait()
    child = await start(shared, tmp_path, f"trap '' TERM; sleep {own} & setsid sleep {own} & wait")
    await wait_until(lambda: len(marked(own)) >= 3)
    await child.terminate(0.1)
    assert not marked(own)
    assert marked(daemon)
    await shared.end()
    assert not marked(daemon)


async def test_end_costs_no_question_when_nothing_lives(launcher: Launcher, tmp_path: Path) -> None:
    await (await start(launcher, tmp_path, "exit 0")).wait()
    os.kill(launcher.pid, signal.SIGSTOP)  # it could not answer
    try:
        await asyncio.wait_for(launcher.end(), 5)
    finally:
        os.kill(launcher.pid, signal.SIGCONT)


async def test_after_end_the_launcher_goes_on(launcher: Launcher, tmp_path: Path) -> None:
    for _ in range(3):
        child = await start(launcher, tmp_path, "sleep 60 & setsid sleep 60 & sleep 60")
        await launcher.end()
        assert (await child.wait()).signal == signal.SIGKILL
    assert not children_of(launcher.pid)


async def test_a_launcher_that_idles_keeps_no_zombie(launcher: Launcher, tmp_path: Path) -> None:
    child = await start(launcher, tmp_path, "(setsid sh -c 'sleep 0.05' &); (true &); exit 0")
    await child.wait()
    await wait_until(lambda: not children_of(launcher.pid))


async def pinged(launcher: Launcher, expected: bool) -> None:
    """The state of a process changes a moment after the signal."""
    for _ in range(200):
        if await launcher.ping(timeout_s=0.05 if expected is False else 5.0) is expected:
            return
    raise AssertionError(f"ping never answered {expected}")


async def test_ping_tells_whether_it_answers_and_no_child_is_stopped(launcher: Launcher, tmp_path: Path) -> None:
    assert await launcher.ping()
    child = await start(launcher, tmp_path, "exec sleep 60")
    assert await launcher.ping()
    os.kill(child.pid, signal.SIGSTOP)
    await pinged(launcher, False)
    os.kill(child.pid, signal.SIGCONT)
    await pinged(launcher, True)
    os.kill(launcher.pid, signal.SIGSTOP)
    await pinged(launcher, False)
    os.kill(launcher.pid, signal.SIGCONT)
    await pinged(launcher, True)


async def test_a_launcher_ignores_the_signals_that_stop_a_server(launcher: Launcher, tmp_path: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(launcher.pid, number)
    assert (await (await start(launcher, tmp_path, "exit 4")).wait()).code == 4


async def test_a_launcher_that_does_not_answer_can_be_killed_with_all_below(launcher: Launcher, tmp_path: Path) -> None:
    mark = marker()
    child = await start(launcher, tmp_path, f"setsid sleep {mark} & sleep {mark}")
    await wait_until(lambda: len(marked(mark)) >= 3)
    os.kill(launcher.pid, signal.SIGSTOP)
    await asyncio.wait_for(launcher.kill(), 5)
    assert not marked(mark)
    with pytest.raises(LauncherDied):
        await child.wait()


async def test_a_dead_launcher_leaves_the_others_and_the_servers_own_children_alone(
    launcher: Launcher, tmp_path: Path
) -> None:
    own = subprocess.Popen(["sleep", "60"])  # noqa: ASYNC220
    other = await Launcher.open()
    try:
        spared = await start(other, tmp_path, "exec sleep 60")
        child = await start(launcher, tmp_path, "setsid sleep 60 & exec sleep 60")
        os.kill(launcher.pid, signal.SIGKILL)
        with pytest.raises(LauncherDied, match="killed by SIGKILL"):
            await child.wait()
        assert await reap_orphans()
        assert not launcher.is_open
        assert not await launcher.ping()
        await launcher.end()
        assert own.poll() is None
        assert is_alive(spared.pid)
        assert (await (await start(other, tmp_path, "exit 6")).wait()).code == 6
    finally:
        own.kill()
        own.wait()
        await other.close()


@pytest.mark.parametrize("noticed", [False, True])
async def test_end_of_a_dying_launcher_returns_only_when_all_below_is_dead(
    launcher: Launcher, tmp_path: Path, noticed: bool
) -> None:
    mark = marker()
    await start(launcher, tmp_path, f"trap '' TERM; setsid sleep {mark} & sleep {mark}")
    await wait_until(lambda: len(marked(mark)) >= 3)
    os.kill(launcher.pid, signal.SIGKILL)
    while noticed and launcher.is_open:  # noqa: ASYNC110  (not a moment later)
        await asyncio.sleep(0)
    await asyncio.wait_for(launcher.end(), 5)
    assert not marked(mark)


async def test_a_thread_that_outlives_its_main_thread_is_no_zombie_and_dies_too(
    shared: Launcher, tmp_path: Path
) -> None:
    (tmp_path / "leave.py").write_text(
        "import ctypes, os, signal, threading, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "threading.Thread(target=time.sleep, args=(60,)).start(); "
        "print(os.getpid(), flush=True); ctypes.CDLL(None).pthread_exit(None)"
    )
    child = await start(shared, tmp_path, f"{sys.executable} -S leave.py & wait")
    await said(tmp_path, "\n")
    pid = int((tmp_path / "output").read_text())
    await wait_until(lambda: stat_fields(pid)[0] == "Z")
    await child.terminate(0.1)
    await wait_until(lambda: not stat_fields(pid))  # it is killed at once, and reaped by whoever inherits it


async def test_a_strike_stops_all_before_it_kills_any() -> None:
    """Else what is killed last sees the others die, and can start new ones."""
    prey = subprocess.Popen(["sleep", "60"])  # noqa: ASYNC220
    seen: list[str] = []

    def look() -> list[int]:
        seen.append(stat_fields(prey.pid)[0])
        return [prey.pid]

    def settle() -> None:
        wait_until_blocking(lambda: stat_fields(prey.pid)[0] in "TZ")

    strike(look, settle)
    assert seen[0] in "RSD"
    assert seen[1:] == ["T"]
    assert prey.wait() == -signal.SIGKILL
