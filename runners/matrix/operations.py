"""The built-in operations, on numpy; run in a worker."""

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
TWO_OPERANDS = ("matmul", "solve")


class TooLarge(Exception):
    """A matrix is over the queue's `max_size`."""


def scalar(operation: str, data: list[float]) -> dict[str, Any]:
    """`{"value"}`: the sum of squares or cubes. Exact for integers; a float from 2^63 on, as JSON clients need it."""
    total = sum(x * x for x in data) if operation == "square_sum" else sum(x * x * x for x in data)
    if isinstance(total, int) and abs(total) >= 2**63:
        total = float(total)
    if not math.isfinite(total):
        raise OverflowError(f"{operation}: the sum is beyond the range of a 64-bit float")
    return {"value": total}


def operands(message: Mapping[str, Any]) -> list[Array]:
    """The one or two operands: drawn, given, or read from an earlier job's file. Raises TooLarge, ValueError."""
    size, limit = message["size"], message["max_size"]
    wanted = 2 if message["operation"] in TWO_OPERANDS else 1
    if size is not None:
        rng = np.random.default_rng(message["seed"] or 0)
        return [rng.random((size, size)) for _ in range(wanted)]
    return [_operand(name, message[name], message["paths"], limit) for name in ("a", "b")[:wanted]]


def _operand(name: str, given: Any, paths: Mapping[str, str], limit: int) -> Array:
    array = load(Path(paths[name])) if name in paths else np.asarray(given)
    if max(array.shape, default=0) > limit:
        raise TooLarge(f"`{name}` is {_by(array.shape)}, and this queue's `max_size` is {limit}")
    if array.dtype.kind not in "biufc":
        raise ValueError(f"`{name}` holds {array.dtype}, not numbers")
    if array.ndim not in (1, 2) or (name == "a" and array.ndim != 2):
        raise ValueError(f"`{name}` has {array.ndim} dimensions, expected 2")
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64, copy=False)


def load(path: Path) -> Array:
    """A stored array, mapped and read-only. Never unpickles. Raises ValueError for what is no good .npy file."""
    try:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        pickled = "allow_pickle" in str(error)
        why = "it holds no array, or Python objects, which are never loaded" if pickled else error
        raise ValueError(f"{path.name} is no .npy file that can be read: {why}") from None
    if not isinstance(loaded, np.ndarray):
        raise ValueError(f"{path.name} is no .npy file")
    return loaded


def compute(operation: str, given: list[Array]) -> Any:
    """The result: an array, or a number for `det`. Raises numpy.linalg.LinAlgError, ValueError for misfits."""
    a = given[0]
    if operation not in ("matmul", "svd") and a.shape[0] != a.shape[1]:
        raise ValueError(f"{operation} needs a square matrix, and `a` is {_by(a.shape)}")
    if len(given) == 2 and (a.shape[1] if operation == "matmul" else a.shape[0]) != given[1].shape[0]:
        raise ValueError(f"{operation}: the shapes {_by(a.shape)} and {_by(given[1].shape)} do not fit")
    if operation == "matmul":
        return a @ given[1]
    if operation == "solve":
        return np.linalg.solve(a, given[1])
    if operation == "eigvals":
        return np.linalg.eigvals(a)
    if operation == "svd":
        return np.linalg.svd(a, compute_uv=False)
    return np.linalg.det(a)


def determinant(a: Array, value: Any) -> dict[str, Any]:
    """`{"value"}`; beyond the range of a float it is null, and `sign` and `log_abs` say what it is."""
    if np.isfinite(value):
        return {"value": plain(value)}
    sign, log_abs = np.linalg.slogdet(a)
    return {"value": None, "sign": plain(sign), "log_abs": plain(log_abs)}


def plain(value: Any) -> Any:
    """A number as JSON has it: complex ones as `[real, imaginary]`."""
    number = value.item() if isinstance(value, np.generic) else value
    return [number.real, number.imag] if isinstance(number, complex) else number


def store(array: Array, message: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Write the array as the artifact `name`, whole or not at all, and say what it is.

    `checksum`: SHA-256 of its bytes in C order. `trace`: null unless it is a square matrix.
    """
    array = np.ascontiguousarray(array) if array.ndim else array
    part = Path(message["work_dir"]) / name
    with part.open("wb") as file:
        np.save(file, array, allow_pickle=False)
    part.replace(Path(message["artifacts_dir"]) / name)
    square = array.ndim == 2 and array.shape[0] == array.shape[1]
    numbers = array.dtype.kind in "biufc"
    return {
        "shape": list(array.shape),
        "trace": plain(np.trace(array)) if square and numbers else None,
        "frobenius_norm": float(np.linalg.norm(array.ravel())) if numbers else None,
        "checksum": hashlib.sha256(array.reshape(-1).view(np.uint8).data).hexdigest(),
        "artifact": name,
    }


def _by(shape: tuple[int, ...]) -> str:
    return " by ".join(map(str, shape)) if len(shape) > 1 else f"{shape[0]} long" if shape else "a number"
