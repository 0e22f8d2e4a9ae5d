"""What runs in a worker process: jobs come in as JSON, small replies go out, arrays lie in files."""

import contextlib
import ctypes
import gc
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from hpcq_runners.matrix import kernels, operations, parent
from hpcq_runners.matrix.cells import Cells

RESULT_CAP = 64 * 1024
SCALARS = ("square_sum", "cube_sum")
MIB = 1 << 20

Item = tuple[int, bytes | str]  # its number and its message: JSON, or the path of a file of it
Reply = tuple[str, bytes, float, float | None]  # "ok" or a failure's type; JSON or text; CPU s; peak MiB if measured
SKIPPED: Reply = ("skipped", b"", 0.0, None)

_controller = ThreadpoolController()  # finding the libraries takes milliseconds: once, in the forkserver
_threads = 1
_cells: Cells


def begin(array: "ctypes.Array[ctypes.c_longlong]") -> None:
    """The initializer: die with the server, and leave its signals to it."""
    global _cells  # noqa: PLW0603
    parent.die_with_parent()
    parent.watch_server()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _cells = Cells(array)
    _cells.forkserver = os.getppid()


def warm() -> None:
    """The first call of a new worker."""


def run(items: Sequence[Item]) -> list[Reply]:
    """Run the jobs in order."""
    return [_run_one(body) if _cells.enter(number) else SKIPPED for number, body in items]


def _run_one(body: bytes | str) -> Reply:
    cpu = time.process_time()
    try:
        message = orjson.loads(body if isinstance(body, bytes) else Path(body).read_bytes())
        if message["operation"] in SCALARS:
            value = operations.scalar(message["operation"], message["data"])
            return "ok", orjson.dumps(value), time.process_time() - cpu, None
        _use_cpus(max(1, int(message["cpus"])))
        with _measured() as peak, _limited(message["memory_mb"]):
            result = _encoded(_array_job(message))
        return "ok", result, time.process_time() - cpu, peak()
    except BaseException as error:
        reply = _failure(error)
    gc.collect()  # the arrays that the traceback held
    return (*reply, time.process_time() - cpu, None)


def _array_job(message: Mapping[str, Any]) -> Any:
    if ":" in message["operation"]:
        return kernels.call(message)
    with np.errstate(all="ignore"):
        given = operations.operands(message)
        result = operations.compute(message["operation"], given)
        if not isinstance(result, np.ndarray):
            return operations.determinant(given[0], result)
        return operations.store(result, message, kernels.RESULT_NAME)


def _encoded(result: Any) -> bytes:
    try:
        body = orjson.dumps(result, default=_scalar)
    except TypeError as error:
        raise TypeError(f"the function returned something that is neither an array nor JSON: {error}") from None
    if len(body) > RESULT_CAP:
        raise ValueError(f"the result is {len(body)} bytes of JSON; the limit is {RESULT_CAP}, arrays excepted")
    return body


def _scalar(value: Any) -> Any:
    if isinstance(value, np.generic | complex):
        return operations.plain(value)
    raise TypeError(f"a {type(value).__name__} is not JSON")


def _failure(error: BaseException) -> tuple[str, bytes]:
    kind = type(error).__name__
    if isinstance(error, MemoryError):
        return "oom", f"out of memory: {error or kind}".encode(errors="replace")
    if isinstance(error, operations.TooLarge):
        return "rejected", str(error).encode()
    text = f"{kind}: {error}" if str(error) else kind
    return "exception", text[:4000].encode(errors="replace")


def _use_cpus(wanted: int) -> None:
    """BLAS threads as the job's cpus; kept until another job wants another number, for changing it costs."""
    global _threads  # noqa: PLW0603
    if wanted != _threads:
        _controller.limit(limits=wanted)
        _threads = wanted


@contextlib.contextmanager
def _limited(memory_mb: float | None) -> Iterator[None]:
    """At most so much more address space than the worker has now; beyond it comes a MemoryError."""
    if memory_mb is None:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + int(memory_mb * MIB), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@contextlib.contextmanager
def _measured() -> Iterator[Callable[[], float | None]]:
    """Yields a function that says the peak of resident memory since here, in MiB."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # 5: the peak starts again from what is resident now

    def peak() -> float | None:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
        return None

    yield peak
