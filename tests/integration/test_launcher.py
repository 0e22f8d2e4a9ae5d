"""A launcher starts children as asked, tells how they ended, and says clearly what it could not start."""

import asyncio
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hpcq.engine.launcher import FLAGS, ROOT, Child, Launcher
from hpcq.plugin import Infra
from tests.support.processes import stat_fields
from tests.support.wait import wait_until

PATH = os.environ["PATH"]


@pytest.fixture
async def launcher() -> AsyncIterator[Launcher]:
    launcher = await Launcher.open()
    yield launcher
    await launcher.close()


class Box:
    """Starts shell commands below a launcher, in a folder, with one output."""

    def __init__(self, launcher: Launcher, folder: Path) -> None:
        self.launcher, self.folder, self.output = launcher, folder, folder / "output"

    async def start(
        self, script: str, *, stdin: bytes | Path | None = None, env: dict[str, str] | None = None
    ) -> Child:
        argv = ["/bin/sh", "-c", script]
        env = {"PATH": PATH} if env is None else env
        return await self.launcher.spawn(argv, env=env, cwd=self.folder, output=self.output, stdin=stdin)

    async def said(self, script: str, *, stdin: bytes | Path | None = None, env: dict[str, str] | None = None) -> str:
        child = await self.start(script, stdin=stdin, env=env)
        assert (await child.wait()).code == 0, self.output.read_text()
        return self.output.read_text()


@pytest.fixture
def box(launcher: Launcher, tmp_path: Path) -> Box:
    return Box(launcher, tmp_path)


async def test_the_exit_code_is_told(box: Box) -> None:
    exit_ = await (await box.start("exit 7")).wait()
    assert (exit_.code, exit_.signal) == (7, None)


async def test_the_killing_signal_is_told(box: Box) -> None:
    exit_ = await (await box.start("kill -SEGV $$")).wait()
    assert (exit_.code, exit_.signal) == (None, signal.SIGSEGV)


async def test_stdout_and_stderr_are_appended_to_one_private_file(box: Box) -> None:
    await box.said("echo one; echo two >&2")
    assert await box.said("echo three") == "one\ntwo\nthree\n"
    assert stat.S_IMODE(box.output.stat().st_mode) == 0o600


@pytest.mark.parametrize("value", ["1", "ä =", "", b"\xff".decode("utf-8", "surrogateescape")])
async def test_the_environment_is_exactly_the_given_one(launcher: Launcher, tmp_path: Path, value: str) -> None:
    child = await launcher.spawn(["/usr/bin/env"], env={"A": value}, cwd=tmp_path, output=tmp_path / "output")
    assert (await child.wait()).code == 0
    assert (tmp_path / "output").read_bytes() == b"A=" + os.fsencode(value) + b"\n"


async def test_the_folder_is_the_given_one(box: Box) -> None:
    assert await box.said("pwd") == f"{box.folder}\n"


async def test_the_launcher_holds_no_folder_of_a_child(box: Box) -> None:
    await box.said("true")
    assert os.readlink(f"/proc/{box.launcher.pid}/cwd") == "/"  # noqa: PTH115


async def test_stdin_is_empty_unless_given(box: Box) -> None:
    assert await box.said("cat; echo end") == "end\n"


async def test_stdin_can_be_bytes_of_any_size(box: Box) -> None:
    assert await box.said("wc -c", stdin=b"x" * 3_000_000) == "3000000\n"


async def test_stdin_can_be_a_file(box: Box) -> None:
    source = box.folder / "in"
    source.write_text("from a file")
    assert await box.said("cat", stdin=source) == "from a file"


async def test_stdin_that_is_no_regular_file_is_refused_instead_of_waited_for(box: Box) -> None:
    fifo = box.folder / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(OSError, match="fifo"):
        await asyncio.wait_for(box.start("cat", stdin=fifo), 5)


async def test_a_child_inherits_no_descriptor_but_the_three(box: Box) -> None:
    leak = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(leak, True)
    try:
        code = "import os; print(*[n for n in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/' + n)])"
        assert await box.said(f'{sys.executable} -S -c "{code}"') == "0 1 2\n"
    finally:
        os.close(leak)


async def test_a_child_has_default_signals_and_an_empty_mask(box: Box) -> None:
    """Python ignores SIGPIPE, and a launcher SIGTERM and more."""
    said = await box.said("exec grep -E '^Sig(Ign|Blk)' /proc/self/status")
    masks = [int(line.split()[1], 16) for line in said.splitlines()]
    glibcs = 1 << 31 | 1 << 32  # two internal signals that its posix_spawn always leaves ignored
    assert [mask & ~glibcs for mask in masks] == [0, 0]


async def test_a_child_leads_a_session_of_its_own(box: Box) -> None:
    child = await box.start("exec sleep 60")
    _, _, group, session, *_ = stat_fields(child.pid)
    assert int(group) == int(session) == child.pid


async def test_peak_memory_and_cpu_are_told(box: Box) -> None:
    code = "x = bytearray(150 << 20); [i * i for i in range(2000000)]"
    exit_ = await (await box.start(f'exec {sys.executable} -S -c "{code}"')).wait()
    assert 150 < exit_.max_rss_mb < 1000
    assert 0.01 < exit_.cpu_s < 60


async def test_the_program_is_looked_up_in_the_childs_own_path(launcher: Launcher, tmp_path: Path) -> None:
    tool = tmp_path / "bin" / "my-tool"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho mine\n")
    tool.chmod(0o700)
    for path in (f"/nowhere:{tool.parent}", "bin"):
        child = await launcher.spawn(["my-tool"], env={"PATH": path}, cwd=tmp_path, output=tmp_path / "output")
        assert (await child.wait()).code == 0
    assert (tmp_path / "output").read_text() == "mine\nmine\n"


async def test_a_cancelled_wait_stops_nothing_and_can_be_repeated(box: Box) -> None:
    child = await box.start("while [ ! -e go ]; do sleep 0.02; done; exit 5")
    waiting = asyncio.ensure_future(child.wait())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    (box.folder / "go").touch()
    assert (await child.wait()).code == 5
    assert (await child.wait()).code == 5


async def test_many_children_at_once_are_told_apart(box: Box) -> None:
    children = await asyncio.gather(*[box.start(f"exit {n}") for n in range(50)])
    assert [(await child.wait()).code for child in children] == list(range(50))


async def test_a_child_cannot_read_the_servers_environment_in_its_launcher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPCQ_SECRET", "canary")
    launcher = await Launcher.open()
    try:
        said = await Box(launcher, tmp_path).said("cat /proc/$PPID/environ; echo end")
    finally:
        await launcher.close()
    assert said == "end\n"


async def test_a_launcher_imports_nothing_slow(box: Box) -> None:
    """It is what a slot waits for at the start; typing, json and asyncio would each double that."""
    code = f"import sys; sys.path.append({ROOT!r}); import hpcq.engine.launcher_main; print(*sorted(sys.modules))"
    loaded = (await box.said(f'{sys.executable} {" ".join(FLAGS)} -c "{code}"')).split()
    assert "hpcq.engine.launcher_main" in loaded
    assert not {"typing", "json", "re", "asyncio", "socket", "subprocess", "pathlib", "pydantic"} & set(loaded)


async def test_a_closed_launcher_is_gone_and_starts_nothing(tmp_path: Path) -> None:
    launcher = await Launcher.open()
    box = Box(launcher, tmp_path)
    child = await box.start("exec sleep 60")
    await launcher.close()
    await launcher.close()
    assert not launcher.is_open
    assert not stat_fields(child.pid)
    assert not stat_fields(launcher.pid)
    with pytest.raises(Infra):
        await box.start("true")


async def test_a_pid_that_is_reported_is_that_of_the_program(box: Box) -> None:
    child = await box.start("echo $$; exec sleep 60")
    await wait_until(box.output.read_text)
    assert int(box.output.read_text()) == child.pid
