"""An operator's own functions, for the matrix runner's `modules`."""

import ctypes
import os
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_info  # type: ignore[import-untyped]

HOARD: list[Any] = []


def scaled(a: NDArray[Any], factor: float = 1.0) -> NDArray[Any]:
    """An array in, an array out."""
    print("scaling by", factor, flush=True)
    return a * factor


def parts(n: int) -> dict[str, Any]:
    """Several arrays under their names, and a number."""
    return {"low": np.zeros(n), "high": np.ones((n, n)), "count": np.int64(n)}


def greet(name: str) -> dict[str, str]:
    """No array at all."""
    print(f"hello {name}", flush=True)
    return {"greeting": f"hello {name}"}


def rest(seconds: float) -> None:
    time.sleep(seconds)


def broken() -> None:
    raise RuntimeError("broken on purpose")


def leave() -> None:
    """As sys.exit() in somebody's script."""
    raise SystemExit(3)


def vanish(code: int) -> None:
    os._exit(code)


def segfault() -> None:
    ctypes.string_at(0)


def poison() -> None:
    os.kill(os.getpid(), 9)


def hold_the_gil(seconds: int) -> None:
    """A C call that never lets go of the GIL."""
    ctypes.PyDLL(None).sleep(seconds)


def no_json() -> object:
    return lambda: None


def too_much() -> str:
    return "x" * 70_000


def grab(mib: int) -> float:
    return float(np.ones(mib << 17).sum())


def surroundings() -> dict[str, Any]:
    """Where a worker lives."""
    blas = [entry["num_threads"] for entry in threadpool_info() if entry["user_api"] == "blas"]
    return {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "blas_threads": blas,
        "secrets": sorted(name for name in os.environ if name.startswith("HPCQ_")),
    }
