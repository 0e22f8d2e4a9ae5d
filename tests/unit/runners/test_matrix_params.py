"""What a matrix job may ask for."""

import math
from typing import Any

import orjson
import pytest
from pydantic import TypeAdapter, ValidationError

from hpcq_runners.matrix.params import INT64_MAX, KernelJob, MatrixJob, MatrixParams, ScalarJob
from hpcq_runners.matrix.runner import MatrixRunner

ADAPTER: TypeAdapter[Any] = TypeAdapter(MatrixParams)
JOB = "01890a5d-ac96-774b-bcce-b302099a8057"


def places(params: Any) -> list[str]:
    """Where the mistakes are, union tags left out."""
    with pytest.raises(ValidationError) as caught:
        ADAPTER.validate_python(params)
    return [
        "/".join(str(part) for part in problem["loc"] if not str(part).startswith("<"))
        for problem in caught.value.errors()
    ]


@pytest.mark.parametrize(
    ("params", "model"),
    [
        ({"operation": "matmul", "size": 512, "seed": 7}, MatrixJob),
        ({"operation": "det", "size": 4}, MatrixJob),
        ({"operation": "svd", "size": 4.0}, MatrixJob),
        ({"operation": "eigvals", "a": [[1, 2], [3, 4.5]]}, MatrixJob),
        ({"operation": "solve", "a": [[1, 2], [3, 4]], "b": [5, 6]}, MatrixJob),
        ({"operation": "matmul", "a": {"job": JOB}, "b": {"job": JOB, "name": "x.npy"}}, MatrixJob),
        ({"operation": "square_sum", "data": [1, -2, 3.5]}, ScalarJob),
        ({"operation": "my.kernels:heat", "args": {"n": 3, "grid": {"job": JOB}}}, KernelJob),
        ({"operation": "my:f"}, KernelJob),
    ],
)
def test_good_params_are_taken_and_survive_json(params: dict[str, Any], model: type) -> None:
    taken = ADAPTER.validate_python(params)
    assert type(taken) is model
    again = ADAPTER.validate_python(orjson.loads(orjson.dumps(ADAPTER.dump_python(taken, mode="json"))))
    assert again == taken


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, ["operation"]),
        ({"operation": "conquer"}, ["operation"]),
        ({"operation": 7, "size": 3}, ["operation"]),
        ({"operation": "matmul"}, ["a"]),
        ({"operation": "matmul", "size": 0}, ["size"]),
        ({"operation": "matmul", "size": 1.5}, ["size"]),
        ({"operation": "matmul", "size": "3"}, ["size"]),
        ({"operation": "matmul", "size": True}, ["size"]),
        ({"operation": "matmul", "size": INT64_MAX + 1}, ["size"]),
        ({"operation": "matmul", "size": 3, "seed": -1}, ["seed"]),
        ({"operation": "matmul", "size": 0, "seed": "x"}, ["size", "seed"]),
        ({"operation": "matmul", "size": 3, "colour": 1}, ["colour"]),
        ({"operation": "matmul", "size": 3, "a": [[1]], "b": [[1]]}, ["a"]),
        ({"operation": "matmul", "a": [[1]]}, ["b"]),
        ({"operation": "matmul", "size": 3, "b": [[1]]}, ["b"]),
        ({"operation": "eigvals", "a": [[1]], "b": [[1]]}, ["b"]),
        ({"operation": "eigvals", "a": [[1]], "seed": 1}, ["a"]),
        ({"operation": "eigvals", "a": [[1, 2], [3]]}, ["a"]),
        ({"operation": "eigvals", "a": [[1, 2], [3, "4"]]}, ["a/1/1"]),
        ({"operation": "eigvals", "a": [[1, math.nan], [math.inf, True]]}, ["a/0/1", "a/1/0", "a/1/1"]),
        ({"operation": "eigvals", "a": []}, ["a"]),
        ({"operation": "eigvals", "a": [[]]}, ["a/0"]),
        ({"operation": "eigvals", "a": [1, 2]}, ["a/0", "a/1"]),
        ({"operation": "eigvals", "a": {"job": "../x"}}, ["a/job"]),
        ({"operation": "eigvals", "a": {"job": JOB, "name": "../../secret"}}, ["a/name"]),
        ({"operation": "eigvals", "a": {"job": JOB, "name": "/etc/passwd"}}, ["a/name"]),
        ({"operation": "eigvals", "a": {"blob": "0" * 63}}, ["a/blob"]),
        ({"operation": "eigvals", "a": {"blob": "0" * 64, "job": "x"}}, ["a/job"]),
        ({"operation": "m:f", "args": {"x": {"blob": "A" * 64}}}, ["args/x/blob"]),
        ({"operation": "square_sum"}, ["data"]),
        ({"operation": "square_sum", "data": []}, ["data"]),
        ({"operation": "square_sum", "data": [1, INT64_MAX + 1, None]}, ["data/1", "data/2"]),
        ({"operation": "cube_sum", "data": [1], "size": 3}, ["size"]),
        ({"operation": "my:_private"}, ["operation"]),
        ({"operation": "my:f:g"}, ["operation"]),
        ({"operation": "my:f", "args": [1]}, ["args"]),
        ({"operation": "my:f", "args": {"x": {"job": ""}}}, ["args/x/job"]),
    ],
)
def test_a_mistake_is_named_by_its_field(params: dict[str, Any], expected: list[str]) -> None:
    assert places(params) == expected


def test_an_unknown_operation_is_answered_with_the_known_ones() -> None:
    with pytest.raises(
        ValidationError, match="matmul, solve, eigvals, svd, det, square_sum, cube_sum, or `module:func"
    ):
        ADAPTER.validate_python({"operation": "conquer", "size": 3})


def test_the_artifacts_that_params_name_are_dependencies() -> None:
    runner = MatrixRunner()
    twice = {"operation": "matmul", "a": {"job": JOB}, "b": {"job": JOB, "name": "other.npy"}}
    assert runner.depends_on(ADAPTER.validate_python(twice)) == (JOB,)
    kernel = {"operation": "my:f", "args": {"x": {"job": "one"}, "y": {"job": "two"}, "z": {"job": "three", "n": 1}}}
    assert runner.depends_on(ADAPTER.validate_python(kernel)) == ("one", "two")
    assert runner.depends_on(ADAPTER.validate_python({"operation": "square_sum", "data": [1]})) == ()


def test_the_schema_names_every_form() -> None:
    schema = ADAPTER.json_schema()
    assert {"MatrixJob", "ScalarJob", "KernelJob", "Artifact"} <= schema["$defs"].keys()
    assert schema["$defs"]["ScalarJob"]["properties"]["data"]["items"] == {"type": "number"}
