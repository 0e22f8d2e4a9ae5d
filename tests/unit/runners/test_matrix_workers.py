"""Workers do the jobs, and what befalls one worker costs one attempt of one job."""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpcq.plugin import Failure, Handle, Outcome
from hpcq.plugin.testing_stage import Stage, StageRequest
from hpcq_runners.matrix.runner import MatrixRunner
from tests.support.processes import is_alive, stat_fields
from tests.support.wait import wait_until

KERNELS = "tests.support.kernels"
LIMIT_S = 30.0
SQUARES = {"operation": "square_sum", "data": [1, 2, 3]}


def kernel(name: str, /, **args: Any) -> dict[str, Any]:
    return {"operation": f"{KERNELS}:{name}", "args": args}


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    MatrixRunner.early(None)
    stage = Stage(tmp_path, MatrixRunner, {"modules": [KERNELS], "max_size": 1000})
    await stage.open()
    yield stage
    await stage.close()


async def result(stage: Stage, params: Mapping[str, Any]) -> Any:
    _, outcome = await stage.run(params, LIMIT_S)
    assert outcome.error is None, outcome.error
    return outcome.result


async def failure(stage: Stage, params: Mapping[str, Any]) -> Failure:
    _, outcome = await stage.run(params, LIMIT_S)
    assert outcome.error is not None, outcome.result
    return outcome.error


class Line:
    """A running job on slot 0, and some small ones behind it."""

    def __init__(self, stage: Stage, first: Mapping[str, Any]) -> None:
        self.stage = stage
        self.requests = [stage.request(first), *(stage.request(SQUARES) for _ in range(20))]
        self.handles: list[Handle] = []

    async def start(self) -> "Line":
        """Returns when the first job has begun."""
        assert isinstance(self.stage.runner, MatrixRunner)
        pool = self.stage.runner._pool(self.requests[0].slot.name)
        before = pool._worker.cells.running if pool._worker else 0
        self.handles = await self.stage.runner.start_many(self.requests)
        await wait_until(lambda: pool._worker is not None and pool._worker.cells.running > before, what="a begun job")
        return self

    async def outcome(self, index: int) -> Outcome:
        return await self.stage.wait(self.requests[index], self.handles[index], LIMIT_S)

    async def all_behind_succeed(self, but: tuple[int, ...] = ()) -> None:
        for index in range(1, len(self.requests)):
            if index not in but:
                assert (await self.outcome(index)).result == {"value": 14}


async def worker_of(stage: Stage, slot: int = 0) -> dict[str, Any]:
    """What a job sees of its worker."""
    _, outcome = await stage.run(kernel("surroundings"), LIMIT_S, slot)
    assert isinstance(outcome.result, dict)
    return outcome.result


# Jobs.


async def test_a_product_lies_in_its_artifact_and_matches_numpy(stage: Stage) -> None:
    request, outcome = await stage.run({"operation": "matmul", "size": 64, "seed": 7}, LIMIT_S)
    rng = np.random.default_rng(7)
    a, b = rng.random((64, 64)), rng.random((64, 64))
    product = np.load(request.artifacts_dir / "result.npy")
    np.testing.assert_allclose(product, a @ b, rtol=1e-12)
    assert outcome.result["shape"] == [64, 64]
    assert outcome.result["trace"] == pytest.approx(np.trace(a @ b))
    assert outcome.result["frobenius_norm"] == pytest.approx(np.linalg.norm(a @ b))
    assert outcome.usage is not None
    assert outcome.usage.cpu_s is not None
    assert outcome.usage.max_rss_mb is not None


async def test_a_job_computes_with_the_artifact_of_another(stage: Stage) -> None:
    first, _ = await stage.run({"operation": "matmul", "a": [[1, 2], [3, 4]], "b": [[1, 0], [0, 2]]}, LIMIT_S)
    reference = {"job": first.job_id}
    second, outcome = await stage.run({"operation": "matmul", "a": reference, "b": [[1], [1]]}, LIMIT_S)
    assert outcome.result["shape"] == [2, 1]
    np.testing.assert_array_equal(np.load(second.artifacts_dir / "result.npy"), [[5.0], [11.0]])
    third, _ = await stage.run(kernel("scaled", a=reference, factor=10), LIMIT_S)
    np.testing.assert_array_equal(np.load(third.artifacts_dir / "result.npy"), [[10.0, 40.0], [30.0, 80.0]])


async def test_a_missing_artifact_fails_the_job_with_a_sentence(stage: Stage) -> None:
    first, _ = await stage.run(SQUARES, LIMIT_S)
    error = await failure(stage, {"operation": "svd", "a": {"job": first.job_id}})
    assert (error.type, error.message) == ("exception", f"job {first.job_id} has no artifact 'result.npy'")


async def test_a_size_over_the_limit_fails_as_rejected_and_is_never_computed(stage: Stage) -> None:
    request, outcome = await stage.run({"operation": "matmul", "size": 1001}, LIMIT_S)
    assert outcome.error is not None
    assert (outcome.error.type, outcome.error.message) == (
        "rejected",
        "size 1001 is over this queue's `max_size` of 1000",
    )
    assert request.artifacts() == []
    assert (await failure(stage, {"operation": "svd", "a": [[1.0] * 1001]})).type == "rejected"


async def test_one_refused_job_does_not_refuse_those_started_with_it(stage: Stage) -> None:
    requests = [stage.request(SQUARES), stage.request({"operation": "det", "size": 1001}), stage.request(SQUARES)]
    handles = await stage.runner.start_many(requests)
    ends = [await stage.wait(request, handle, LIMIT_S) for request, handle in zip(requests, handles, strict=True)]
    assert [end.error.type if end.error else "ok" for end in ends] == ["ok", "rejected", "ok"]


async def test_a_large_body_goes_through_a_file(stage: Stage) -> None:
    data = list(range(30_000))
    assert await result(stage, {"operation": "square_sum", "data": data}) == {"value": sum(x * x for x in data)}
    assert (await result(stage, {"operation": "svd", "a": [[1.5] * 100] * 100}))["shape"] == [100]


async def test_jobs_of_a_slot_run_in_their_order(stage: Stage) -> None:
    started = [stage.request({"operation": "square_sum", "data": [n]}) for n in range(50)]
    handles = await stage.runner.start_many(started)
    waits = [asyncio.ensure_future(stage.wait(r, h, LIMIT_S)) for r, h in zip(started, handles, strict=True)]
    ended: list[int] = []
    for index, wait in enumerate(waits):
        wait.add_done_callback(lambda _, index=index: ended.append(index))  # type: ignore[misc]
    outcomes = await asyncio.gather(*waits)
    assert [outcome.result["value"] for outcome in outcomes] == [n * n for n in range(50)]
    assert ended == sorted(ended)


# Kernels.


async def test_a_module_that_the_queue_does_not_name_is_rejected(stage: Stage) -> None:
    error = await failure(stage, {"operation": "os:getcwd"})
    assert error.type == "rejected"
    assert f"'os' is not among this queue's `modules` ({KERNELS})" in error.message


async def test_a_kernel_prints_into_the_output_and_returns_json(stage: Stage) -> None:
    request, outcome = await stage.run(kernel("greet", name="you"), LIMIT_S)
    assert outcome.result == {"greeting": "hello you"}
    assert request.output.read_text() == "hello you\n"


async def test_arrays_in_a_returned_dict_become_artifacts_under_their_names(stage: Stage) -> None:
    request, outcome = await stage.run(kernel("parts", n=3), LIMIT_S)
    assert outcome.result["count"] == 3
    assert outcome.result["low"]["shape"] == [3]
    assert outcome.result["high"]["artifact"] == "high.npy"
    assert request.artifacts() == ["high.npy", "low.npy"]


@pytest.mark.parametrize(
    ("params", "text"),
    [
        (kernel("broken"), "RuntimeError: broken on purpose"),
        (kernel("leave"), "SystemExit: 3"),
        (kernel("absent"), "has no function 'absent'"),
        (kernel("no_json"), "neither an array nor JSON"),
        (kernel("too_much"), "the limit is 65536, arrays excepted"),
        (kernel("greet", wrong=1), "unexpected keyword argument"),
    ],
)
async def test_a_kernel_that_goes_wrong_fails_its_job_and_the_worker_lives(
    stage: Stage, params: dict[str, Any], text: str
) -> None:
    before = await worker_of(stage)
    error = await failure(stage, params)
    assert error.type == "exception"
    assert text in error.message
    assert (await worker_of(stage))["pid"] == before["pid"]


async def test_blas_has_as_many_threads_as_the_job_has_cpus(stage: Stage) -> None:
    seen = []
    for cpus in (1, 2, 1):
        request = stage.request(kernel("surroundings"))
        request.resources = {"cpus": cpus}
        seen.append((await stage.wait(request, await stage.start(request), LIMIT_S)).result["blas_threads"])
    assert seen == [[1], [2], [1]]


async def test_workers_do_not_see_the_servers_settings(stage: Stage) -> None:
    assert (await worker_of(stage))["secrets"] == []


# Memory.


async def test_a_job_over_its_memory_fails_as_oom_and_the_next_one_is_free_of_the_limit(stage: Stage) -> None:
    request = stage.request(kernel("grab", mib=400))
    request.resources = {"cpus": 1, "memory_mb": 100}
    outcome = await stage.wait(request, await stage.start(request), LIMIT_S)
    assert outcome.error is not None
    assert outcome.error.type == "oom"
    assert await result(stage, kernel("grab", mib=400)) == 400 * 2**17


# Stop and recall.


async def test_stopping_a_begun_job_lets_those_behind_it_go_on(stage: Stage) -> None:
    line = await Line(stage, kernel("rest", seconds=600)).start()
    await stage.stop(line.requests[0], line.handles[0], 1)
    assert (await line.outcome(0)).error is not None
    await line.all_behind_succeed()


async def test_a_hang_that_holds_the_gil_is_stopped(stage: Stage) -> None:
    line = await Line(stage, kernel("hold_the_gil", seconds=1_000_000)).start()
    await stage.stop(line.requests[0], line.handles[0], 1)
    assert (await line.outcome(0)).error is not None
    await line.all_behind_succeed()


@pytest.mark.parametrize("index", [1, 10, 20], ids=["in the worker's hands", "among others", "last in line"])
async def test_stopping_a_job_that_has_not_begun_spares_the_one_that_runs(stage: Stage, index: int) -> None:
    line = await Line(stage, kernel("rest", seconds=0.3)).start()
    await stage.stop(line.requests[index], line.handles[index], 1)
    assert (await line.outcome(index)).error is not None
    assert (await line.outcome(0)).error is None
    await line.all_behind_succeed(but=(index,))


async def test_a_stop_that_hits_the_next_job_costs_that_one_nothing(stage: Stage) -> None:
    line = await Line(stage, kernel("rest", seconds=0.2)).start()
    assert isinstance(stage.runner, MatrixRunner)
    worker = stage.runner._pool(line.requests[0].slot.name)._worker
    assert worker is not None
    worker.stopped = True  # as if it had begun between the decision to kill and the kill
    worker.kill()
    assert (await line.outcome(0)).error is None
    await line.all_behind_succeed()


async def test_a_job_that_has_not_begun_can_be_recalled_and_then_never_runs(stage: Stage, tmp_path: Path) -> None:
    line = Line(stage, kernel("rest", seconds=0.3))
    late = stage.request({"operation": "matmul", "size": 8})
    line.requests.insert(1, late)
    await line.start()
    assert await stage.runner.recall(late, line.handles[1])
    assert not await stage.runner.recall(line.requests[0], line.handles[0])
    assert (await line.outcome(0)).error is None
    await line.all_behind_succeed(but=(1,))
    assert late.artifacts() == []
    assert not await stage.runner.recall(line.requests[2], line.handles[2])  # it has ended


async def test_a_worker_held_by_sigstop_is_not_alive(stage: Stage) -> None:
    pid = (await worker_of(stage))["pid"]
    line = await Line(stage, kernel("rest", seconds=600)).start()
    assert await stage.runner.alive(line.requests[0], line.handles[0])
    os.kill(pid, signal.SIGSTOP)
    await wait_until(lambda: stat_fields(pid)[0] == "T", what="a stopped worker")
    assert not await stage.runner.alive(line.requests[0], line.handles[0])
    await stage.stop(line.requests[0], line.handles[0], 1)
    await line.all_behind_succeed()


# Deaths.


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        (kernel("poison"), ("signal", 9, None)),
        (kernel("segfault"), ("signal", 11, None)),
        (kernel("vanish", code=3), ("exit", None, 3)),
        (kernel("vanish", code=255), ("exit", None, 255)),
    ],
)
async def test_a_death_costs_one_attempt_of_the_job_that_ran(
    stage: Stage, params: dict[str, Any], expected: tuple[str, int | None, int | None]
) -> None:
    elsewhere = (await worker_of(stage, slot=1))["pid"]
    line = await Line(stage, params).start()
    error = (await line.outcome(0)).error
    assert error is not None
    assert (error.type, error.signal, error.exit_code) == expected
    await line.all_behind_succeed()
    assert (await worker_of(stage, slot=1))["pid"] == elsewhere


async def test_an_idle_worker_that_is_killed_is_replaced_without_a_failed_job(stage: Stage) -> None:
    pid = (await worker_of(stage))["pid"]
    os.kill(pid, signal.SIGKILL)
    await wait_until(lambda: not is_alive(pid), what="the worker's death")
    assert await result(stage, SQUARES) == {"value": 14}
    assert (await worker_of(stage))["pid"] != pid


async def test_when_the_forkserver_is_killed_running_jobs_end_as_infra_and_all_slots_come_back(stage: Stage) -> None:
    first, second = await worker_of(stage, slot=0), await worker_of(stage, slot=1)
    line = await Line(stage, kernel("rest", seconds=600)).start()
    os.kill(first["parent"], signal.SIGKILL)
    error = (await line.outcome(0)).error
    assert error is not None
    assert error.type == "infra"
    await line.all_behind_succeed()
    _, outcome = await stage.run(SQUARES, LIMIT_S, slot=1)
    assert outcome.error is None
    assert (await worker_of(stage, slot=1))["pid"] != second["pid"]
    assert (await stage.runner.health()).ready


async def test_release_ends_the_slots_worker_and_the_next_job_gets_a_new_one(stage: Stage) -> None:
    request: StageRequest = stage.request(SQUARES)
    pid = (await worker_of(stage))["pid"]
    await stage.runner.release(request.slot)
    assert not is_alive(pid)
    assert (await worker_of(stage))["pid"] != pid


def test_no_worker_is_made_by_a_plain_fork() -> None:
    """Threads that hold locks, and fork, are a deadlock."""
    folder = Path(__file__).parents[3] / "runners"
    assert not [path for path in folder.rglob("*.py") if "os.fork(" in path.read_text()]
    assert multiprocessing.get_context("forkserver").get_start_method() == "forkserver"
