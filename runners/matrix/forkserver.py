"""The forkserver that all matrix workers come from: numpy is loaded there once, and each worker is a fork of it."""

import multiprocessing
import multiprocessing.forkserver
import time
from multiprocessing.context import ForkServerContext
from pathlib import Path

PRELOAD = "hpcq_runners.matrix.preload"
DYING_S = 0.5


def start() -> ForkServerContext:
    """Start it unless it runs; returns at once, while it still loads.

    To be called from the main thread, since it dies with the thread that started it; and before there are sockets and
    threads, so that it inherits none.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([PRELOAD])
    multiprocessing.forkserver.ensure_running()
    return context


def gone(pid: int) -> bool:
    """Whether that process is dead, or dies now: its pipes close a little before it is seen to be."""
    deadline = time.monotonic() + DYING_S
    while state(pid) not in ("", "Z", "X"):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def state(pid: int) -> str:
    """The state letter of a process in /proc; empty when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return stat[stat.rindex(")") + 2]
