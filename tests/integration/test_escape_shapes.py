"""Nothing of a job survives its end, whatever its children did to escape."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hpcq.engine.launcher import Child, Launcher, LauncherDied
from tests.support.processes import is_alive, marked, marker
from tests.support.wait import wait_until

LOOKS = 8
PROMISE_S = 5.0  # DESIGN: no process of a job alive 5 s after its end

RABBIT = "import os\nwhile True:\n    if os.fork(): os._exit(0)\n"  # never the same pid for longer than a moment

# What a command can leave behind; {m} is an argument that only this test's processes have.
SHAPES = {
    "background": "sleep {m} &",
    "setsid": "setsid sleep {m} &",
    "double fork": "(setsid sh -c 'sleep {m} & exit 0' &)",
    "nohup": "nohup sleep {m} > /dev/null 2>&1 &",
    "TERM ignored": "(trap '' TERM HUP INT QUIT; sleep {m}) &",
    "env -i setsid": "env -i /usr/bin/setsid /bin/sleep {m} &",
    "forking for ever": "(trap '' TERM; while :; do (setsid sleep {m} &); sleep 0.01; done) &",
    "fork and exit for ever": f"setsid {sys.executable} -S -c '{RABBIT}' {{m}} &",
}
STAY = "while [ ! -e leave ]; do sleep 0.02; done"
NEEDED = {"forking for ever": 10}  # how many of a shape must be seen before it counts as there


@pytest.fixture(params=SHAPES)
def shape(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def launcher() -> AsyncIterator[Launcher]:
    launcher = await Launcher.open()
    yield launcher
    await launcher.close()


def escaped(mark: str, shape: str) -> bool:
    """The escapee (beside the leader, whose script holds the mark too) is there."""
    return len(marked(mark)) >= 1 + NEEDED.get(shape, 1)


def survivors(mark: str) -> set[int]:
    """Who was seen in several looks: one look can miss what changes its pid all the time."""
    return {pid for _ in range(LOOKS) for pid in marked(mark)}


async def start(launcher: Launcher, shape: str, mark: str, folder: Path) -> Child:
    command = SHAPES[shape].format(m=mark) + "\n" + STAY
    child = await launcher.spawn(
        ["/bin/sh", "-c", command], env={"PATH": os.environ["PATH"]}, cwd=folder, output=folder / "output"
    )
    await wait_until(lambda: escaped(mark, shape), what=f"the shape {shape}")
    return child


async def test_nothing_is_left_when_terminate_returns(launcher: Launcher, shape: str, tmp_path: Path) -> None:
    mark = marker()
    child = await start(launcher, shape, mark, tmp_path)
    await asyncio.wait_for(child.terminate(0.3), PROMISE_S)
    assert not survivors(mark)
    assert (await child.wait()).signal == signal.SIGTERM


async def test_nothing_is_left_when_the_leader_has_succeeded_and_the_attempt_ended(
    launcher: Launcher, shape: str, tmp_path: Path
) -> None:
    mark = marker()
    child = await start(launcher, shape, mark, tmp_path)
    (tmp_path / "leave").touch()
    assert (await child.wait()).code == 0
    await wait_until(lambda: survivors(mark), what="the escape")
    await asyncio.wait_for(launcher.end(), PROMISE_S)
    assert not survivors(mark)


async def test_nothing_is_left_when_the_attempt_ends_under_a_living_leader(
    launcher: Launcher, shape: str, tmp_path: Path
) -> None:
    mark = marker()
    child = await start(launcher, shape, mark, tmp_path)
    await asyncio.wait_for(launcher.end(), PROMISE_S)
    assert not survivors(mark)
    assert (await child.wait()).signal == signal.SIGKILL


async def test_nothing_is_left_when_the_launcher_is_killed(launcher: Launcher, shape: str, tmp_path: Path) -> None:
    mark = marker()
    child = await start(launcher, shape, mark, tmp_path)
    os.kill(launcher.pid, signal.SIGKILL)
    with pytest.raises(LauncherDied, match="SIGKILL"):
        await asyncio.wait_for(child.wait(), PROMISE_S)
    assert not survivors(mark)


async def test_nothing_is_left_when_the_server_is_killed(shape: str, tmp_path: Path) -> None:
    mark = marker()
    server = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, str(Path(__file__).parents[1] / "support" / "launcher_server.py"), str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "COMMAND": SHAPES[shape].format(m=mark) + "\n" + STAY},
    )
    try:
        assert server.stdout is not None
        launcher = int(await asyncio.to_thread(server.stdout.readline))
        await wait_until(lambda: escaped(mark, shape), what=f"the shape {shape}")
    finally:
        server.kill()
        server.communicate()
    await wait_until(lambda: not survivors(mark), PROMISE_S, "the end of the tree")
    await wait_until(lambda: not is_alive(launcher), PROMISE_S, "the end of the launcher")
