"""The matrix runner takes the exam: with a calculation that ends soon, an error, and one that takes minutes."""

from hpcq.plugin.testing import RunnerContract
from hpcq_runners.matrix.runner import MatrixRunner


class TestMatrix(RunnerContract):
    runner = MatrixRunner
    succeeds = {"operation": "matmul", "size": 32, "seed": 7}
    fails = {"operation": "solve", "a": [[1, 2], [2, 4]], "b": [1, 2]}  # singular
    lasts = {"operation": "eigvals", "size": 8000}
    fails_with = "exception"
    leaves = ("result.npy",)


class TestMatrixScalars(RunnerContract):
    runner = MatrixRunner
    succeeds = {"operation": "square_sum", "data": [1, 2, 3]}
    fails = {"operation": "cube_sum", "data": [1e300]}
    lasts = {"operation": "svd", "size": 8000}
    result = {"value": 14}
    fails_with = "exception"


class TestMatrixKernels(RunnerContract):
    runner = MatrixRunner
    settings = {"modules": ["tests.support.kernels"]}
    succeeds = {"operation": "tests.support.kernels:greet", "args": {"name": "you"}}
    fails = {"operation": "tests.support.kernels:broken"}
    lasts = {"operation": "tests.support.kernels:rest", "args": {"seconds": 600}}
    result = {"greeting": "hello you"}
    fails_with = "exception"
    prints = b"hello you"
