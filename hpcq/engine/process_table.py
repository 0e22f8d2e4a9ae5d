"""The system's processes, from one pass over /proc, and how to kill a whole tree of them.

Standard library only, and little of it: the launcher imports this.
"""

import os
import signal
import time

TYPE_CHECKING = False  # importing typing costs the launcher 8 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20
PASSES = 30  # looks for newcomers in one blow; a bomb that is faster than all of them meets the next blow
CHASE_S = 0.02


class Process:
    """One line of /proc: `start` (clock ticks since boot) tells two owners of one pid apart."""

    __slots__ = ("group", "parent", "pid", "rss_mb", "session", "start", "state", "threads")

    def __init__(self, pid: int, fields: list[bytes]) -> None:
        self.pid = pid
        self.state = fields[0].decode()
        self.parent = int(fields[1])
        self.group = int(fields[2])
        self.session = int(fields[3])
        self.threads = int(fields[17])
        self.start = int(fields[19])
        self.rss_mb = int(fields[21]) * PAGE_MB

    @property
    def dead(self) -> bool:
        """A zombie. One whose other threads run on after the first has left looks like it, and is not."""
        return self.state == "Z" and self.threads <= 1


def read_process(pid: int) -> "Process | None":
    """None: there is no such process (any more)."""
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
    except OSError:
        return None
    try:
        text = os.read(descriptor, 4096)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    # the name in parentheses may hold anything, also spaces and parentheses
    return Process(pid, text[text.rindex(b")") + 2 :].split())


def read_table() -> dict[int, Process]:
    """Every process that this user can see, by pid; about 15 µs each."""
    found = (read_process(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return {process.pid: process for process in found if process is not None}


def below(table: dict[int, Process], roots: "Iterable[int]") -> dict[int, Process]:
    """All descendants of `roots`, without the roots themselves."""
    offspring: dict[int, list[Process]] = {}
    for process in table.values():
        offspring.setdefault(process.parent, []).append(process)
    found: dict[int, Process] = {}
    todo = list(roots)
    while todo:
        for process in offspring.get(todo.pop(), ()):
            if process.pid not in found:
                found[process.pid] = process
                todo.append(process.pid)
    return found


def send(pid: int, number: int) -> bool:
    """Signal a process, or a group (negative). False: it is gone, or is not ours to signal (setuid)."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def strike(victims: "Callable[[], Iterable[int]]", reap: "Callable[[], object]") -> None:
    """Stop all of `victims()` until a look finds no newcomers, so that none forks away from the blow; then kill all.

    One blow may miss what was being born: the caller repeats until nothing is left. `reap` collects the dead, lest
    they slow down the next look.
    """
    stopped: set[int] = set()
    for _ in range(PASSES):
        newcomers = set(victims()) - stopped
        if not newcomers:
            break
        for pid in newcomers:
            send(pid, signal.SIGSTOP)
        stopped |= newcomers
        reap()
    for pid in stopped:
        send(pid, signal.SIGKILL)
    reap()


def children(pid: int) -> list[int]:
    """Its direct children, zombies among them: from the kernel's own list, 20 µs, or from /proc where it keeps none."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as listed:  # noqa: PTH123  (pathlib is slow to import)
                found += map(int, listed.read().split())
    except OSError:
        return [process.pid for process in read_table().values() if process.parent == pid]
    return found


def chase(prey: "Callable[[], Iterable[int]]", reap: "Callable[[], object]") -> None:
    """Kill what `prey()` names, over and over, until it names nothing; for at most 20 ms, then come back.

    For what forks and exits for ever: a look at all of /proc finds only the pid that it had a moment ago. But its
    parents exit, so a subreaper has it as a direct child most of the time, and finds that fast.
    """
    until = time.monotonic() + CHASE_S
    while (pids := list(prey())) and time.monotonic() < until:
        for pid in pids:
            send(pid, signal.SIGKILL)
        reap()
