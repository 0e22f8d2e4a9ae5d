"""The launcher: a small process between the server and the children of one scope.

It starts them, reaps them with wait4 (which tells what they used), and is the subreaper of all that lives below it:
whatever a child leaves behind, in whatever session, becomes the launcher's own child. So "nothing is left" is one
system call (ECHILD), and when the server says so, or its socket closes because the server is dead, all of it is killed.
One thread, no asyncio, standard library only, and little of it: it starts in the time of the bare interpreter.
"""

import ctypes
import os
import select
import signal
import time
from functools import partial

from hpcq.engine.launcher_protocol import Unpacker, pack
from hpcq.engine.launcher_spawn import Refused, open_output, spawn
from hpcq.engine.process_table import Process, below, chase, children, read_process, read_table, send, strike

TYPE_CHECKING = False  # importing typing costs 8 ms
if TYPE_CHECKING:
    from typing import Any

PR_SET_CHILD_SUBREAPER = 36
PR_SET_PDEATHSIG = 1
CHANNEL = 0  # the socket to the server
LOOK_S = 0.1  # how often outputs and memory are looked at
BLOW_S = 0.005  # between two rounds of killing; doubled each time, for what does not die at once is waiting for a disk
SLOWEST_BLOW_S = 0.2
STUCK_BLOWS = 20  # after about 3 s
GIVE_UP_S = 30.0  # after the server's death: what is unkillable (setuid, a dead disk) is left to init
LOOK_SHARE = 10  # a look may take one part in so many of the time
IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE)


class Output:
    """An output file that is held to its cap as long as anything may write to it."""

    __slots__ = ("cap", "descriptor", "file", "id", "truncated")

    def __init__(self, number: int, descriptor: int, cap: int | None) -> None:
        self.id = number
        self.descriptor = descriptor
        self.cap = cap
        self.truncated = False
        about = os.fstat(descriptor)
        self.file = (about.st_dev, about.st_ino)

    def trim(self) -> bool:
        """Cut what is beyond the cap; True the first time that there was any."""
        if self.cap is None or os.fstat(self.descriptor).st_size <= self.cap:
            return False
        os.ftruncate(self.descriptor, self.cap)
        first, self.truncated = not self.truncated, True
        return first


class Child:
    """A process that was asked for, the leader of a session, and where its end stands."""

    __slots__ = ("deadline", "end", "id", "memory_mb", "over", "peak_mb", "pid", "tree")

    def __init__(self, number: int, pid: int, memory_mb: float | None) -> None:
        self.id = number
        self.pid = pid
        self.memory_mb = memory_mb
        self.over = False
        self.peak_mb = 0.0  # of all that lives here, seen while there is a limit
        self.deadline: float | None = None  # monotonic: when a termination stops being kind
        self.tree: dict[int, int] = {pid: 0}  # pid -> start: what was ever seen of it since its termination began
        self.end: dict[str, Any] | None = None  # the `exited` message, while the rest of its tree is still dying


class Launcher:
    """The state of one launcher; `run` is its life."""

    def __init__(self, *, shared: bool) -> None:
        self.shared = shared  # several unrelated children: terminating one must not hit what others left behind
        self.leaders: dict[int, Child] = {}  # by pid, until reaped
        self.terminating: list[Child] = []
        self.outputs: list[Output] = []
        self.ending: list[int] = []  # `end` messages to be answered when nothing is left
        self.empty = True
        self.orphaned = False  # the server is gone
        self.next_look = self.next_blow = 0.0
        self.blows = 0  # since there was nothing here
        self.unsent: list[bytes] = []
        self.unpacker = Unpacker()
        self.wakeup = self._catch_signals()

    @staticmethod
    def _catch_signals() -> int:
        """Every SIGCHLD makes the returned descriptor readable."""
        for number in IGNORED:
            signal.signal(number, signal.SIG_IGN)
        readable, writable = os.pipe()
        os.set_blocking(readable, False)
        os.set_blocking(writable, False)
        signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        return readable

    def run(self) -> None:
        """Until the server has gone and nothing is left."""
        poll = select.poll()
        poll.register(CHANNEL, select.POLLIN)
        poll.register(self.wakeup, select.POLLIN)
        give_up = 0.0
        self.say("ready")
        while not (self.orphaned and (self.empty or time.monotonic() > give_up)):
            self.flush()
            for descriptor, _ in poll.poll(self.patience_ms()):
                if descriptor == CHANNEL and not self.receive():
                    poll.unregister(CHANNEL)
                    self.orphaned = True
                    give_up = time.monotonic() + GIVE_UP_S
                elif descriptor == self.wakeup:
                    os.read(self.wakeup, 4096)
            self.reap()
            self.look()
            self.finish()
        self.flush()

    def patience_ms(self) -> float | None:
        """How long nothing needs to be done by itself."""
        if self.empty:
            return None
        now = time.monotonic()
        if self.ending or self.orphaned or any(now >= (child.deadline or 0.0) for child in self.terminating):
            return max(0.0, self.next_blow - now) * 1000 + 1
        times = [self.next_look, *(child.deadline or 0.0 for child in self.terminating)]
        return max(0.0, min(times) - now) * 1000 + 1

    # ---- talking

    def say(self, what: str, **rest: "Any") -> None:
        self.unsent.append(pack({"say": what, **rest}))

    def flush(self) -> None:
        """Blocking: a server that does not read makes us wait; one that is dead does not."""
        data = b"".join(self.unsent)
        self.unsent.clear()
        try:
            while data:
                data = data[os.write(CHANNEL, data) :]
        except (BrokenPipeError, ConnectionResetError):
            self.orphaned = True

    def receive(self) -> bool:
        """False: the server has closed the socket, or died."""
        try:
            data = os.read(CHANNEL, 1 << 18)
        except ConnectionResetError:
            data = b""
        for message in self.unpacker.feed(data):
            getattr(self, "do_" + message["do"])(message)
        return bool(data)

    # ---- what the server may ask for

    def do_spawn(self, order: "dict[str, Any]") -> None:
        number = order["id"]
        try:
            output = Output(number, open_output(order["output"]), order["cap"])
            try:
                pid = spawn(order, output.descriptor)
            except BaseException:
                os.close(output.descriptor)
                raise
        except Refused as reason:
            self.say("refused", id=number, at=reason.at, errno=reason.errno, path=reason.path)
            return
        except (TypeError, ValueError) as error:
            self.say("refused", id=number, at="order", errno=0, path=str(error))
            return
        if self.empty:
            self.next_look = time.monotonic() + LOOK_S
            self.blows = 0
            self.empty = False
        self.leaders[pid] = Child(number, pid, order["memory_mb"])
        self.keep_output(output)
        self.say("started", id=number, pid=pid)

    def do_terminate(self, order: "dict[str, Any]") -> None:
        deadline = time.monotonic() + order["grace_s"]
        known = {child.id: child for child in (*self.terminating, *self.leaders.values())}
        child = known.get(order["id"])
        if child is None:
            return
        if child.deadline is None:
            self.terminating.append(child)
            self.ask_to_end(child)
        child.deadline = min(deadline, child.deadline or deadline)

    def ask_to_end(self, child: Child) -> None:
        """SIGTERM to its group at once, then to what of its tree has left the group."""
        tree = self.tree_of(child)
        send(-child.pid, signal.SIGTERM)  # its group; not reaped yet, so the number is still its own
        for pid, process in tree.items():
            if process.group != child.pid:
                send(pid, signal.SIGTERM)
            send(pid, signal.SIGCONT)  # a stopped one would not hear it

    def do_end(self, order: "dict[str, Any]") -> None:
        self.ending.append(order["id"])

    def do_ping(self, order: "dict[str, Any]") -> None:
        seen = [read_process(pid) for pid, child in self.leaders.items() if child.deadline is None]
        self.say("pong", id=order["id"], stopped=any(p is not None and p.state == "T" for p in seen))

    # ---- what happens by itself

    def reap(self) -> None:
        """Collect the dead. As a subreaper, having no child at all means that nothing lives below."""
        ended = []
        while not self.empty:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                self.empty = True
                break
            if not pid:
                break
            child = self.leaders.pop(pid, None)
            if child is not None:
                child.end = self.describe_end(child, status, usage)
                ended.append(child)
        if self.empty and self.outputs:
            self.close_outputs()
        elif ended:
            self.trim()
        for child in ended:
            if child.deadline is None:
                self.say_exited(child)

    @staticmethod
    def describe_end(child: Child, status: int, usage: "Any") -> "dict[str, Any]":
        code = os.waitstatus_to_exitcode(status)
        return {
            "id": child.id,
            "code": code if code >= 0 else None,
            "signal": -code if code < 0 else None,
            "max_rss_mb": max(usage.ru_maxrss / 1024, child.peak_mb),
            "cpu_s": usage.ru_utime + usage.ru_stime,
        }

    def say_exited(self, child: Child) -> None:
        self.say("exited", **(child.end or {}), empty=self.empty)

    def look(self) -> None:
        """From time to time: hold outputs to their caps and memory to its limits."""
        now = time.monotonic()
        if self.empty or now < self.next_look:
            return
        self.trim()
        if any(child.memory_mb for child in self.leaders.values()):
            self.weigh()
        self.next_look = now + max(LOOK_S, LOOK_SHARE * (time.monotonic() - now))

    def trim(self) -> None:
        for output in self.outputs:
            if output.trim():
                self.say("truncated", id=output.id)

    def keep_output(self, output: Output) -> None:
        """Instead of an earlier one of the same file whose child has ended: a shared scope writes to one for ever."""
        living = {child.id for child in self.leaders.values()}
        for old in [o for o in self.outputs if o.file == output.file and o.id not in living]:
            os.close(old.descriptor)
            self.outputs.remove(old)
        self.outputs.append(output)

    def close_outputs(self) -> None:
        self.trim()
        for output in self.outputs:
            os.close(output.descriptor)
        self.outputs.clear()

    def weigh(self) -> None:
        """The limit holds for the sum of all that lives here: a job's memory is its tree's."""
        used = sum(process.rss_mb for process in self.everything().values())
        for child in self.leaders.values():
            child.peak_mb = max(child.peak_mb, used)
            if child.memory_mb and used > child.memory_mb and not child.over:
                child.over = True
                self.say("over_memory", id=child.id)

    def finish(self) -> None:
        """Kill what has to die now, and answer for what has died."""
        if self.ending or self.orphaned:
            self.blow(None)
        for child in list(self.terminating):
            if child.end is not None and not self.tree_of(child):
                self.terminating.remove(child)
                self.say_exited(child)
            elif time.monotonic() >= (child.deadline or 0.0):
                self.blow(None if self.owns_all(child) else child)
        if self.ending and self.empty and not self.terminating:
            for number in self.ending:
                self.say("ended", id=number)
            self.ending.clear()

    def blow(self, child: Child | None) -> None:
        """One round of killing `child`'s tree, or all, if the last is long enough ago for its dead to be gone."""
        if self.empty or time.monotonic() < self.next_blow:
            return
        if child is not None:
            strike(partial(self.tree_of, child), self.reap)
        else:
            strike(self.everything, self.reap)
            chase(partial(children, os.getpid()), self.reap)
        self.next_blow = time.monotonic() + min(BLOW_S * 2**self.blows, SLOWEST_BLOW_S)
        self.blows += 1
        if self.blows == STUCK_BLOWS and not self.empty:
            self.say("stuck", pids=list(self.everything()))

    # ---- who belongs to whom

    def everything(self) -> dict[int, Process]:
        """All that lives below this process."""
        found = {} if self.empty else below(read_table(), [os.getpid()])
        return {pid: process for pid, process in found.items() if not process.dead}

    def owns_all(self, child: Child) -> bool:
        """Whether all that lives here is `child`'s, also what has left both its parent and its session."""
        return not self.shared and not any(other is not child for other in self.leaders.values())

    def tree_of(self, child: Child) -> dict[int, Process]:
        """What lives of one child's tree: by parent, by session, by having been seen there before.

        What has left both its parent and its session can be anybody's: it counts where this child is the only one.
        """
        mine = self.everything()
        if self.owns_all(child):
            return mine
        known = child.tree
        found = {p.pid for p in mine.values() if known.get(p.pid, -1) in (0, p.start) or p.session in known}
        found |= below(mine, found).keys()
        known.update((pid, mine[pid].start) for pid in found)
        return {pid: mine[pid] for pid in found}


def main(kind: str) -> None:
    """The whole life of a launcher, "shared" or "single", whose standard input is its socket to the server."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGCONT, 0, 0, 0)  # a stopped launcher, too, sees the server's end
    os.set_inheritable(CHANNEL, False)
    os.chdir("/")
    launcher = Launcher(shared=kind == "shared")
    try:
        launcher.run()
    except BaseException:
        launcher.orphaned = True  # a fault of our own: leave nothing behind either
        while not launcher.empty:
            launcher.blow(None)
            time.sleep(BLOW_S)
        raise
