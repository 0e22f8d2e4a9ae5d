"""What the server inherits when a launcher dies: as a subreaper it becomes the parent of all that lived below."""

import asyncio
import ctypes
import os
import time

from hpcq.engine.process_table import Process, below, chase, children, read_process, read_table, strike

PR_SET_CHILD_SUBREAPER = 36
BLOW_S = 0.005  # between two rounds of killing
GIVE_UP_S = 10.0  # what is unkillable by then (setuid, a dead disk) stays

launchers: set[int] = set()  # pids of the living ones of this process


def become_subreaper() -> None:
    """Orphans of dead launchers come to us and not to init, from now on. Twice is once."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _is_inherited(process: Process | None) -> bool:
    """A child of ours that we did not make.

    Every child of a launcher leads a session of its own, nothing below it can enter ours, and what we make ourselves
    (the forkserver, the resource tracker) stays in ours; launchers are known.
    """
    return (
        process is not None
        and process.parent == os.getpid()
        and process.session != os.getsid(0)
        and process.pid not in launchers
    )


def _inherited() -> list[int]:
    return [pid for pid in children(os.getpid()) if _is_inherited(read_process(pid))]


def _victims() -> set[int]:
    table = read_table()
    roots = [process.pid for process in table.values() if _is_inherited(process)]
    found = {pid: table[pid] for pid in roots} | below(table, roots)
    return {pid for pid, process in found.items() if not process.dead}


def _reap() -> None:
    """Only what we inherited: the others' ends belong to those who wait for them."""
    for pid in _inherited():
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:  # somebody else was faster
            continue


async def reap_orphans(give_up_s: float = GIVE_UP_S) -> bool:
    """Kill and reap all that dead launchers left to us; False: something is still there after `give_up_s`."""
    deadline = time.monotonic() + give_up_s
    while _inherited():
        if time.monotonic() > deadline:
            return False
        strike(_victims, _reap)
        chase(_inherited, _reap)
        await asyncio.sleep(BLOW_S)
    return True
