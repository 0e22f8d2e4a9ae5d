"""The server's side of a launcher: the one way in which hpcq starts processes that are somebody's work.

A launcher is a scope: all that lives below it ends with `end`, with `close`, and with the server's own death.
"""

import asyncio
import contextlib
import errno
import itertools
import logging
import os
import signal
import socket
import subprocess
import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from hpcq.engine.launcher_protocol import Unpacker, pack
from hpcq.engine.orphans import become_subreaper, launchers, reap_orphans
from hpcq.plugin import Exit, Infra

log = logging.getLogger("hpcq")

OPEN_S = 20.0
CLOSE_S = 5.0  # for a launcher to kill all below it and leave, before it is killed itself
TROUBLE = {errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS}

# The bare interpreter, without site, and without our environment, which a child could read in /proc.
FLAGS = ("-I", "-S", "-X", "utf8")
ROOT = str(Path(__file__).parents[2])
BOOT = "import sys; sys.path.append(sys.argv[1]); from hpcq.engine.launcher_main import main; main(sys.argv[2])"
KEPT = ("LD_LIBRARY_PATH",)  # some interpreters do not start without it


class LauncherDied(Infra):
    """The launcher of a scope ended by itself; all that lived below it has been killed."""


class Child:
    """A process of a launcher. `truncated`: its output went beyond the cap; `over_memory`: it went over its limit."""

    def __init__(self, launcher: "Launcher", number: int) -> None:
        self.number = number
        self.pid = 0
        self.truncated = False
        self.over_memory = False
        self.started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._launcher = launcher
        self._ended = asyncio.Event()  # a shielded future costs a turn of the loop more
        self._end: Exit | LauncherDied | None = None

    @property
    def ended(self) -> bool:
        """Its end is known."""
        return self._ended.is_set()

    async def wait(self) -> Exit:
        """Its end; after `terminate`, when its tree is gone too. Raises LauncherDied. Cancelling it stops nothing."""
        await self._ended.wait()
        if isinstance(self._end, Exit):
            return self._end
        raise LauncherDied(str(self._end)) from self._end

    async def terminate(self, grace_s: float) -> None:
        """SIGTERM to its tree now, SIGKILL after `grace_s`; returns when the tree is gone.

        Twice: the earlier end of grace counts. After its end: nothing happens. In a launcher of one attempt its tree
        is all that lives there, unless another child of it lives too.
        """
        if not self.ended:
            self._launcher.terminate(self, grace_s)
            with contextlib.suppress(LauncherDied):
                await self.wait()

    def end(self, end: Exit | LauncherDied) -> None:
        """It has ended, or nothing will be heard of it any more."""
        self._end = end
        self._ended.set()
        if isinstance(end, LauncherDied):
            fail(self.started, end)


class Launcher(asyncio.Protocol):
    """A scope of processes. Calls may overlap, but for `end` with `spawn`."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.on_over_memory: Callable[[Child], None] | None = None
        self._process = process
        self._transport: asyncio.Transport | None = None
        self._unpacker = Unpacker()
        self._numbers = itertools.count(1)
        self._children: dict[int, Child] = {}
        self._ended: weakref.WeakValueDictionary[int, Child] = weakref.WeakValueDictionary()  # may still be truncated
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._empty = True
        self._ready: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._lost = False
        self._gone = asyncio.Event()
        self._burial: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, *, shared: bool = False) -> "Launcher":
        """Start one (~30 ms). `shared`: its children are unrelated (a device, a tool's daemon), so that terminating
        one spares what others have left behind. Raises LauncherDied, OSError."""
        become_subreaper()
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(  # noqa: ASYNC220  (vfork: it returns at once)
                [sys.executable, *FLAGS, "-c", BOOT, ROOT, "shared" if shared else "single"],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                start_new_session=True,
                env={name: os.environ[name] for name in KEPT if name in os.environ},
            )
        launchers.add(process.pid)
        ours.setblocking(False)
        launcher = cls(process)
        await asyncio.get_running_loop().create_unix_connection(lambda: launcher, sock=ours)
        try:
            await asyncio.wait_for(asyncio.shield(launcher._ready), OPEN_S)
        except BaseException:
            await launcher.kill()
            raise
        return launcher

    @property
    def pid(self) -> int:
        """Of the launcher itself."""
        return self._process.pid

    @property
    def is_open(self) -> bool:
        """False: it has died or was closed; open another."""
        return not (self._lost or self._gone.is_set())

    @property
    def is_empty(self) -> bool:
        """It is known that nothing lives below it."""
        return self._empty and not self._lost

    async def spawn(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path | str,
        output: Path | str,
        stdin: bytes | Path | None = None,
        output_cap: int | None = None,
        memory_mb: float | None = None,
    ) -> Child:
        """Start a child. `output` takes its stdout and stderr, appended, and is cut back to `output_cap` bytes.

        `memory_mb` limits the resident memory of all that lives in this scope; beyond it `on_over_memory` is called
        once, and nothing else happens. Raises FileNotFoundError or PermissionError as exec would, NotADirectoryError
        for a bad cwd, ValueError for what no process can be given (a NUL byte), Infra for a machine in trouble,
        LauncherDied. Cancelling it may leave a child that only `end` ends.
        """
        if not argv:
            raise ValueError("argv is empty: there is no program to start")
        child = Child(self, next(self._numbers))
        order = {
            "do": "spawn",
            "id": child.number,
            "argv": list(argv),
            "env": dict(env),
            "cwd": _absolute(cwd),
            "stdin": _absolute(stdin) if isinstance(stdin, Path) else stdin,
            "output": _absolute(output),
            "cap": output_cap,
            "memory_mb": memory_mb,
        }
        self._send(order)
        self._children[child.number] = child
        self._empty = False
        child.pid = await child.started
        return child

    def terminate(self, child: Child, grace_s: float) -> None:
        """Ask for it; see Child.terminate."""
        if self.is_open:
            self._send({"do": "terminate", "id": child.number, "grace_s": grace_s})

    async def end(self) -> None:
        """Kill all that lives here, at once; returns when nothing does. Costs nothing when nothing does."""
        if self._lost:
            await self._gone.wait()  # what lived here is being killed
        elif not self._empty:
            with contextlib.suppress(LauncherDied):  # then all of it has been killed too
                await self._ask("end")

    async def ping(self, timeout_s: float = 5.0) -> bool:
        """Whether it answers in time, and none of its children is stopped (state T)."""
        try:
            answer = await asyncio.wait_for(self._ask("ping"), timeout_s)
        except (TimeoutError, LauncherDied):
            return False
        return not answer["stopped"]

    async def close(self) -> None:
        """Kill all that lives here, and leave. Twice is once."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write_eof()
        try:
            await asyncio.wait_for(self._gone.wait(), CLOSE_S)
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """End a launcher that does not answer, by force, and then all that lived below it."""
        if self._process.returncode is None:
            self._process.kill()
        await self._gone.wait()

    # ---- talking

    def _send(self, message: dict[str, Any]) -> None:
        if self._transport is None or not self.is_open:
            raise LauncherDied("the launcher of this scope is dead")
        self._transport.write(pack(message))

    async def _ask(self, what: str) -> dict[str, Any]:
        number = next(self._numbers)
        self._send({"do": what, "id": number})
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        try:
            return await answer
        finally:
            self._answers.pop(number, None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        for message in self._unpacker.feed(data):
            getattr(self, "_on_" + message["say"])(message)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002  (asyncio's)
        self._lost = True
        self._burial = asyncio.get_running_loop().create_task(self._bury())

    async def _bury(self) -> None:
        """The launcher is dead or dying: no wait ends before all that lived below it is gone."""
        await _exit_of(self._process, CLOSE_S)
        launchers.discard(self._process.pid)
        rest = "all below it has been killed"
        if self._process.returncode != 0 and not await reap_orphans():
            rest = "something below it cannot be killed: look for processes whose parent is the server"
        error = LauncherDied(f"the launcher {_describe(self._process.returncode)}; {rest}")
        for child in self._children.values():
            child.end(error)
        self._children.clear()
        for answer in (self._ready, *self._answers.values()):
            fail(answer, error)
        self._empty = True
        self._gone.set()

    # ---- what it says

    def _on_ready(self, message: dict[str, Any]) -> None:
        settle(self._ready, message)

    def _on_started(self, message: dict[str, Any]) -> None:
        settle(self._children[message["id"]].started, message["pid"])

    def _on_refused(self, message: dict[str, Any]) -> None:
        fail(self._children.pop(message["id"]).started, _refusal(message))

    def _on_exited(self, message: dict[str, Any]) -> None:
        child = self._children.pop(message["id"])
        self._ended[child.number] = child
        self._empty = message["empty"] and not self._children
        child.end(Exit(message["code"], message["signal"], message["max_rss_mb"], message["cpu_s"]))

    def _on_truncated(self, message: dict[str, Any]) -> None:
        child = self._children.get(message["id"]) or self._ended.get(message["id"])
        if child is not None:
            child.truncated = True

    def _on_over_memory(self, message: dict[str, Any]) -> None:
        child = self._children.get(message["id"])
        if child is not None:
            child.over_memory = True
            if self.on_over_memory is not None:
                self.on_over_memory(child)

    def _on_stuck(self, message: dict[str, Any]) -> None:
        log.warning(
            "processes %s below launcher %s do not die of SIGKILL: another user's (sudo), or waiting for a disk; "
            "their slot stays taken until they are gone",
            message["pids"],
            self.pid,
        )

    def _on_ended(self, message: dict[str, Any]) -> None:
        self._empty = not self._children
        self._on_pong(message)

    def _on_pong(self, message: dict[str, Any]) -> None:
        answer = self._answers.get(message["id"])
        if answer is not None:
            settle(answer, message)


def settle(future: asyncio.Future[Any], result: Any) -> None:
    """Unless whoever waited has been cancelled."""
    if not future.done():
        future.set_result(result)


def fail(future: asyncio.Future[Any], error: Exception) -> None:
    """As `settle`; that nobody waits is no cause for a warning."""
    if not future.done():
        future.set_exception(error)
        future.exception()


def _absolute(path: Path | str) -> str:
    return os.path.abspath(path)  # noqa: PTH100  (ten times faster than pathlib)


def _refusal(message: dict[str, Any]) -> Exception:
    at, number, path = message["at"], message["errno"], message["path"]
    why = os.strerror(number)
    if at == "order":
        return ValueError(path)
    if at == "cwd":
        return NotADirectoryError(errno.ENOTDIR, f"cannot be the working folder ({why})", path)
    if at == "output" or number in TROUBLE:
        return Infra(f"cannot start a process: {path}: {why}")
    return OSError(number, why, path)


def _describe(code: int | None) -> str:
    if code is not None and code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


async def _exit_of(process: subprocess.Popen[bytes], limit_s: float) -> None:
    """Until it is reaped; killed if that takes longer than `limit_s`."""
    if process.poll() is not None:
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    descriptor = os.pidfd_open(process.pid)
    loop.add_reader(descriptor, ended.set)
    force = loop.call_later(limit_s, process.kill)
    try:
        await ended.wait()
    finally:
        force.cancel()
        loop.remove_reader(descriptor)
        os.close(descriptor)
    process.wait()
