"""The built-in operations give what numpy gives."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpcq_runners.matrix import operations
from hpcq_runners.matrix.operations import TooLarge

DRAWN: dict[str, Any] = {"size": 6, "seed": 7, "a": None, "b": None, "paths": {}, "max_size": 100}


@pytest.mark.parametrize(
    ("operation", "data", "value"),
    [
        ("square_sum", [1, 2, 3], 14),
        ("cube_sum", [1, 2, 3], 36),
        ("cube_sum", [-1, -2], -9),
        ("square_sum", [0.5, 2], 4.25),
        ("square_sum", [2**31 - 1, 2], (2**31 - 1) ** 2 + 4),
        ("square_sum", [3_037_000_500], float(3_037_000_500**2)),
    ],
)
def test_sums_of_integers_are_exact_below_2_63(operation: str, data: list[float], value: float) -> None:
    result = operations.scalar(operation, data)["value"]
    assert result == value
    assert type(result) is type(value)


def test_a_sum_beyond_the_range_of_floats_is_an_error() -> None:
    with pytest.raises(OverflowError, match="cube_sum"):
        operations.scalar("cube_sum", [1e200])


@pytest.mark.parametrize("operation", ["matmul", "solve", "eigvals", "svd", "det"])
def test_drawn_operands_are_those_of_the_seed(operation: str) -> None:
    rng = np.random.default_rng(7)
    a, b = rng.random((6, 6)), rng.random((6, 6))
    expected: dict[str, Any] = {
        "matmul": a @ b,
        "solve": np.linalg.solve(a, b),
        "eigvals": np.linalg.eigvals(a),
        "svd": np.linalg.svd(a, compute_uv=False),
        "det": np.linalg.det(a),
    }
    result = operations.compute(operation, operations.operands({**DRAWN, "operation": operation}))
    np.testing.assert_array_equal(result, expected[operation])


def test_no_seed_is_seed_0() -> None:
    (a,) = operations.operands({**DRAWN, "operation": "det", "seed": None})
    np.testing.assert_array_equal(a, np.random.default_rng(0).random((6, 6)))


@pytest.mark.parametrize(
    ("operation", "a", "b", "complaint"),
    [
        ("matmul", [[1, 2], [3, 4]], [[1, 2, 3]], "2 by 2 and 1 by 3 do not fit"),
        ("matmul", [[1, 2]], [1, 2, 3], "1 by 2 and 3 long do not fit"),
        ("solve", [[1, 2], [3, 4]], [1, 2, 3], "do not fit"),
        ("solve", [[1, 2]], [1], "needs a square matrix, and `a` is 1 by 2"),
        ("eigvals", [[1, 2]], None, "needs a square matrix"),
        ("det", [[1, 2]], None, "needs a square matrix"),
    ],
)
def test_operands_that_do_not_fit_are_named(operation: str, a: Any, b: Any, complaint: str) -> None:
    message = {**DRAWN, "operation": operation, "size": None, "a": a, "b": b}
    with pytest.raises(ValueError, match=complaint):
        operations.compute(operation, operations.operands(message))


def test_a_matrix_over_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    np.save(tmp_path / "big.npy", np.zeros((3, 101)))
    message = {**DRAWN, "operation": "svd", "size": None, "paths": {"a": str(tmp_path / "big.npy")}}
    with pytest.raises(TooLarge, match="`a` is 3 by 101, and this queue's `max_size` is 100"):
        operations.operands(message)


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "evil.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"[Oo]bjects"):
        operations.load(tmp_path / "evil.npy")


def test_an_array_that_holds_no_numbers_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "text.npy", np.array([["a", "b"]]))
    message = {**DRAWN, "operation": "svd", "size": None, "paths": {"a": str(tmp_path / "text.npy")}}
    with pytest.raises(ValueError, match="not numbers"):
        operations.operands(message)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(9.0).reshape(3, 3)),
        np.array([1 + 2j, 3 - 1j]),
        np.zeros((0, 3)),
        np.array(5.0),
        np.arange(4, dtype=np.uint8).reshape(2, 2),
        np.array(["2026-01-01"], dtype="datetime64[D]"),
    ],
    ids=["oblong", "fortran", "complex", "empty", "number", "bytes", "dates"],
)
def test_a_stored_array_is_described_and_can_be_read_back(tmp_path: Path, array: Any) -> None:
    work, artifacts = tmp_path / "work", tmp_path / "artifacts"
    work.mkdir()
    artifacts.mkdir()
    about = operations.store(array, {"work_dir": str(work), "artifacts_dir": str(artifacts)}, "x.npy")
    np.testing.assert_array_equal(np.load(artifacts / "x.npy", allow_pickle=False), array)
    assert about["artifact"] == "x.npy"
    assert about["shape"] == list(array.shape)
    assert about["checksum"] == hashlib.sha256(np.asarray(array, order="C").tobytes()).hexdigest()
    if array.ndim == 2 and array.shape[0] == array.shape[1]:
        assert about["trace"] == np.trace(array)
    else:
        assert about["trace"] is None
    assert list(work.iterdir()) == []


def test_a_determinant_beyond_floats_is_told_by_its_logarithm() -> None:
    a = np.eye(400) * 1e10
    with np.errstate(all="ignore"):
        result = operations.determinant(a, np.linalg.det(a))
    assert result["value"] is None
    assert result["sign"] == 1
    assert result["log_abs"] == pytest.approx(400 * np.log(1e10))
