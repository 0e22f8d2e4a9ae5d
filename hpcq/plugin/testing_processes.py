"""Part of the conformance kit: real child processes in scopes, and what is left of them. Linux."""

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from hpcq.plugin.types import Exit

MARK = "HPCQ_EXAM_SCOPE"
PR_SET_CHILD_SUBREAPER = 36
ENDING_S = 5.0  # what is not dead by then after SIGKILL is reported
POLL_S = 0.005


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the process table; `started` tells a reused pid apart."""

    pid: int
    parent: int
    started: int
    state: str = field(compare=False)

    def __str__(self) -> str:
        try:
            line = Path(f"/proc/{self.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            line = ""
        return f"process {self.pid} ({line.strip()[:120] or 'gone'})"


def descendants(root: int) -> set[Entry]:
    """All living processes below `root`."""
    children: dict[int, list[Entry]] = {}
    for entry in _table():
        children.setdefault(entry.parent, []).append(entry)
    found: set[Entry] = set()
    todo = [root]
    while todo:
        for child in children.get(todo.pop(), []):
            todo.append(child.pid)
            if child.state not in "ZX":
                found.add(child)
    return found


def _table() -> Iterator[Entry]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                stat = Path(f"/proc/{name}/stat").read_text(errors="replace")
                fields = stat[stat.rindex(")") + 2 :].split()
                yield Entry(int(name), int(fields[1]), int(fields[19]), fields[0])


@contextlib.contextmanager
def subreaper() -> Iterator[None]:
    """Orphans below this process come to it, so that nothing of a runner's gets out of sight."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


class Child:
    """A spawned process: `hpcq.plugin.Process`."""

    def __init__(self, popen: "subprocess.Popen[bytes]", scope: "Scope") -> None:
        self.pid = popen.pid
        self._scope = scope
        self._popen = popen
        self._loop = asyncio.get_running_loop()
        self._exit: asyncio.Future[Exit] = self._loop.create_future()
        threading.Thread(target=self._reap, name=f"reap-{self.pid}", daemon=True).start()

    def _reap(self) -> None:
        try:
            _, status, usage = os.wait4(self.pid, 0)
        except ChildProcessError:  # kill_all was faster
            self._popen.returncode = -signal.SIGKILL
            return
        code = os.waitstatus_to_exitcode(status)
        self._popen.returncode = code
        end = Exit(
            code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            max_rss_mb=usage.ru_maxrss / 1024,
            cpu_s=usage.ru_utime + usage.ru_stime,
        )
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody asks any more
            self._loop.call_soon_threadsafe(self._ended, end)

    def _ended(self, end: Exit) -> None:
        if not self._exit.done():
            self._exit.set_result(end)

    @property
    def ended(self) -> bool:
        return self._exit.done()

    async def wait(self) -> Exit:
        return await asyncio.shield(self._exit)

    async def terminate(self, grace_s: float) -> None:
        if self._exit.done():
            return
        only = self if self._scope.shared else None
        self._scope.strike(signal.SIGTERM, only)
        await asyncio.wait([self._exit], timeout=grace_s)
        await self._scope.end(only)


class Scope:
    """Where children live: an attempt, a slot's session, or the runner's life. What they leave behind belongs to it."""

    def __init__(
        self,
        env: Callable[[], Mapping[str, str]],
        output: Callable[[], Path],
        cwd: Callable[[], Path],
        *,
        shared: bool = False,
    ) -> None:
        """`shared`: its children are unrelated, as a runner's or a session's are: terminating one spares the others."""
        self.shared = shared
        self._env, self._output, self._cwd = env, output, cwd
        self._mark = uuid4().hex
        self._children: list[Child] = []

    async def spawn(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | str | None = None,
        stdin: bytes | Path | None = None,
        output: Path | None = None,
    ) -> Child:
        """As `hpcq.plugin.Spawn` says."""
        popen = self._popen(argv, {**(self._env() if env is None else env), MARK: self._mark}, cwd, stdin, output)
        child = Child(popen, self)
        self._children.append(child)
        return child

    def _popen(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: Path | str | None,
        stdin: bytes | Path | None,
        output: Path | None,
    ) -> "subprocess.Popen[bytes]":
        given = stdin if isinstance(stdin, Path) else Path(os.devnull)
        with given.open("rb") as source, (output or self._output()).open("ab") as sink:
            popen = subprocess.Popen(
                list(argv),
                env=env,
                cwd=cwd or self._cwd(),
                stdin=subprocess.PIPE if isinstance(stdin, bytes) else source,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if isinstance(stdin, bytes):
            threading.Thread(target=_feed, args=(popen, stdin), daemon=True).start()
        return popen

    def living(self, only: Child | None = None) -> set[Entry]:
        """All that lives of this scope, its children's children and those that carry its mark; or of one child."""
        if not self._children:
            return set()
        children = [only] if only else self._children
        below = descendants(os.getpid())
        found = {entry for child in children for entry in descendants(child.pid)}
        found |= {entry for entry in below if entry.pid in {child.pid for child in children if not child.ended}}
        return found if only else found | {entry for entry in below - found if self._marked(entry.pid)}

    def strike(self, number: int, only: Child | None = None) -> None:
        for entry in self.living(only):
            with contextlib.suppress(ProcessLookupError):
                os.kill(entry.pid, number)

    async def end(self, only: Child | None = None) -> None:
        """Kill all that lives of it, or of one child, until nothing does."""
        deadline = asyncio.get_running_loop().time() + ENDING_S
        while self.living(only):
            assert asyncio.get_running_loop().time() < deadline, f"cannot be killed: {self.living(only)}"
            self.strike(signal.SIGKILL, only)
            await asyncio.sleep(POLL_S)

    def _marked(self, pid: int) -> bool:
        try:
            return f"{MARK}={self._mark}".encode() in Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return False


def _feed(popen: "subprocess.Popen[bytes]", text: bytes) -> None:
    assert popen.stdin is not None
    with contextlib.suppress(BrokenPipeError), popen.stdin:
        popen.stdin.write(text)


def listening() -> set[str]:
    """The TCP ports on which this process listens, as `port 8000`."""
    mine = set()
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            mine.add(str(Path(f"/proc/self/fd/{fd}").readlink()))
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and f"socket:[{fields[9]}]" in mine:
                    found.add(f"port {int(fields[1].rpartition(':')[2], 16)}")
    return found


def kill_all(entries: set[Entry]) -> None:
    """Kill what a runner has left, after it was reported, so that the next check starts clean; reaps what is ours."""
    for entry in entries:
        with contextlib.suppress(ProcessLookupError):
            os.kill(entry.pid, signal.SIGKILL)
    for entry in entries:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(entry.pid, 0)
