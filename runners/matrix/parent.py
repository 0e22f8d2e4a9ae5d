"""Processes that die with their parent, even when that one is killed."""

import ctypes
import os
import signal
import threading
from multiprocessing import parent_process
from multiprocessing.connection import wait

PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """The kernel kills this process when the thread that made it ends, even in a call that holds the GIL."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")


def watch_server() -> None:
    """A second way, should the forkserver outlive the server: end with the server itself."""
    server = parent_process()
    if server is None:
        return

    def until_gone(sentinel: int) -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=until_gone, args=(server.sentinel,), name="server-watch", daemon=True).start()
