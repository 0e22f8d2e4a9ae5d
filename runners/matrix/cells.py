"""A few integers that a worker and the server share, so that the server knows at any time, also after a crash, which
job the worker has begun, and can tell it to skip one that it has not."""

import ctypes
import threading

RUNNING, FORKSERVER, SKIPS = 0, 1, 2
SKIP_CELLS = 64  # more than can be in a worker's hands at once
SIZE = SKIPS + SKIP_CELLS


class Cells:
    """Job numbers are above 0 and increase.

    Each side writes its own cell before it reads the other's, so that at least one of them notices: either the worker
    skips the job, or the server sees that it has begun.
    """

    def __init__(self, array: "ctypes.Array[ctypes.c_longlong]") -> None:
        self._array = array
        self._fence = threading.Lock()  # taking a lock keeps the processor from reading before it has written

    @property
    def running(self) -> int:
        """The last job that was begun; 0: none yet."""
        return self._array[RUNNING]

    @property
    def forkserver(self) -> int:
        """The pid of the worker's parent."""
        return self._array[FORKSERVER]

    @forkserver.setter
    def forkserver(self, pid: int) -> None:
        self._array[FORKSERVER] = pid

    def enter(self, number: int) -> bool:
        """By the worker: begin this job. False: it is to be skipped."""
        self._array[RUNNING] = number
        with self._fence:
            return self._array[SKIPS + number % SKIP_CELLS] != number

    def skip(self, number: int) -> bool:
        """By the server: do not begin this job. False: too late, it has begun or is about to."""
        self._array[SKIPS + number % SKIP_CELLS] = number
        with self._fence:
            return self._array[RUNNING] < number
