"""Keywords that verify: mathematics by numpy on this side, order and attempts by what the server has on record."""

import asyncio
import io
import re
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from robot.api.deco import keyword

from hpcq.client import Job

from .house import GONE_S
from .jobs import A_MINUTE
from .polling import until
from .session import Session


class Checks(Session):
    """Results, outputs, attempts, order."""

    # Mathematics.

    @keyword
    async def product_should_be_what_numpy_computes(self, job: str) -> None:
        """Every element of the artifact, and the figures of the result, against numpy's own product of the operands."""
        await self.should_equal_product_of_operands(await self.client.job(job))

    async def should_equal_product_of_operands(self, job: Job) -> None:
        """The same, of a job that was read already."""
        a, b = _operands(job)
        await self._should_equal(job, a @ b)

    @keyword
    async def solution_should_be_what_numpy_computes(self, job: str) -> None:
        """The ``x`` of ``a x = b``, against numpy; and put into the equation, it gives ``b``."""
        found = await self.client.job(job)
        a, b = _operands(found)
        np.testing.assert_allclose(a @ await self._array(found), b, rtol=1e-9, atol=1e-9)
        await self._should_equal(found, np.linalg.solve(a, b))

    async def _should_equal(self, job: Job, expected: Any) -> None:
        theirs, result = await self._array(job), job["result"]
        np.testing.assert_allclose(theirs, expected, rtol=1e-9)
        assert result["shape"] == list(expected.shape), f"the shape is {result['shape']}, not {expected.shape}"
        np.testing.assert_allclose(result["frobenius_norm"], np.linalg.norm(expected), rtol=1e-9)
        if expected.ndim == 2:
            np.testing.assert_allclose(result["trace"], np.trace(expected), rtol=1e-9)

    async def _array(self, job: Job) -> Any:
        file = b"".join([chunk async for chunk in self.client.artifact(job["id"], job["result"]["artifact"])])
        return np.load(io.BytesIO(file), allow_pickle=False)

    @keyword
    async def sum_should_be_what_numpy_computes(self, job: str) -> None:
        """The value of a ``square_sum`` or a ``cube_sum``, against numpy."""
        found = await self.client.job(job)
        power = {"square_sum": 2, "cube_sum": 3}[found["params"]["operation"]]
        expected = np.sum(np.power(np.array(found["params"]["data"]), power))
        np.testing.assert_allclose(found["result"]["value"], expected, rtol=1e-12)

    # What a job left.

    @keyword
    async def result_should_be(self, job: str, expected: Any) -> None:
        """The job's result is exactly this value."""
        found = await self.client.result(job)
        assert found == expected, f"the result is {found!r}, not {expected!r}"

    @keyword
    async def output_should_be(self, job: str, expected: str) -> None:
        """All that the newest attempt has printed."""
        printed = await self._printed(job)
        assert printed == expected, f"the job printed {printed!r}, not {expected!r}"

    async def _printed(self, job: str, attempt: int | None = None) -> str:
        return b"".join([chunk async for chunk in self.client.output(job, attempt=attempt)]).decode()

    @keyword
    async def job_should_have_printed(self, job: str, text: str, timeout: timedelta = A_MINUTE) -> str:
        """What the job has printed so far comes to hold this text; returns all of it."""
        return await until(
            lambda: self._printed(job),
            lambda printed: text in printed,
            timeout_s=timeout.total_seconds(),
            what=f"job {job} has printed {text!r}",
            explain=lambda: self.explained(job),
        )

    @keyword
    async def processes_of_job_should_be_gone(self, job: str, count: int, attempt: int | None = None) -> None:
        """The job, or this attempt, printed so many lines ``pid N``; 5 s later none of these processes is alive."""
        pids = [int(pid) for pid in re.findall(r"^pid (\d+)$", await self._printed(job, attempt), re.MULTILINE)]
        assert len(pids) == count, f"the job printed the pids {pids}, not {count} of them"

        async def look() -> list[int]:
            return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]

        await until(look, lambda alive: not alive, timeout_s=GONE_S, what=f"the processes of job {job} are gone")

    @keyword
    async def verdicts_should_be(self, job: str, *, attempt: int | None = None, **verdicts: str) -> None:
        """How the job's tests fared: those of one attempt, or of all together.

        | Verdicts Should Be    ${job}    logs in=passed    pays=flaky
        """
        results = [tried["result"] for tried in await self.client.attempts(job)]
        result = await self.client.result(job) if attempt is None else results[attempt - 1]
        found = {test["title"]: test["status"] for test in result["tests"]}
        assert found == verdicts, f"the verdicts are {found}, not {verdicts}"

    # Attempts and order.

    @keyword
    async def attempts_should_be(self, job: str, *states: str) -> None:
        """How the tries at the job ended, the first first: ``succeeded``, ``cancelled``, or the type of the error.

        | Attempts Should Be    ${job}    exit    timeout    succeeded
        """
        tried = await self.client.attempts(job)
        found = [_end(attempt) for attempt in tried]
        assert found == list(states), f"the attempts are {found}, not {list(states)}"

    @keyword
    async def starts_should_be_in_order(self, *jobs: str) -> None:
        """The jobs began in this order, by the server's record of events."""
        starts = await self._starts(*jobs)
        order = sorted(jobs, key=starts.__getitem__)
        names = {job: (await self.client.job(job))["name"] or job for job in jobs}
        assert order == list(jobs), f"they started as {[names[job] for job in order]}, not {list(names.values())}"

    @keyword
    async def names_in_order_of_start(self, *jobs: str) -> list[str]:
        """The names of the jobs, the one that began first first."""
        starts = await self._starts(*jobs)
        return [(await self.client.job(job))["name"] or "" for job in sorted(jobs, key=starts.__getitem__)]

    async def _starts(self, *jobs: str) -> dict[str, int]:
        """The seq of each job's first start."""
        found = {}
        for job in jobs:
            seqs = [event["seq"] for event in await self.client.job_events(job) if event["type"] == "job.started"]
            assert seqs, f"job {job} never started"
            found[job] = seqs[0]
        return found

    @keyword
    async def job_should_start_after(self, job: str, other: str) -> None:
        """The job began when the other had ended."""
        began = (await self._starts(job))[job]
        ended = [event["seq"] for event in await self.client.job_events(other) if event["type"] in ENDS]
        assert ended, f"job {other} never ended"
        assert ended[0] < began, f"job {job} began before job {other} ended"

    @keyword
    async def every_job_should_have_ended_once(self, *jobs: str) -> None:
        """None of them is lost, and none has two ends."""
        for job in jobs:
            ends = [event["type"] for event in await self.client.job_events(job) if event["type"] in ENDS]
            assert len(ends) == 1, f"job {job} has the ends {ends}, not exactly one"

    @keyword
    async def every_job_should_have_run_once_a_try(self, file: str, *jobs: str) -> None:
        """Each job's command has written the job's id into this file: once, or at most once for each of its tries."""
        runs = Counter((await asyncio.to_thread(Path(file).read_text)).split())
        for job in jobs:
            tries = int((await self.client.job(job))["attempt"])
            assert 1 <= runs[job] <= tries, f"job {job} has run {runs[job]} times, and was tried {tries} times"


ENDS = ("job.succeeded", "job.failed", "job.cancelled")


def _end(attempt: dict[str, Any]) -> str:
    """How an attempt ended: its state, or the kind of its failure."""
    state = str(attempt["state"])
    return state if state in ("succeeded", "cancelled") else str((attempt["error"] or {}).get("type") or state)


def _operands(job: Job) -> tuple[Any, Any]:
    """As the manual says: given as `a` and `b`, or drawn by numpy's generator from `seed`, `a` first."""
    params = job["params"]
    if params.get("a") is not None:
        return np.array(params["a"], dtype=float), np.array(params["b"], dtype=float)
    rng, size = np.random.default_rng(params["seed"]), params["size"]
    return rng.random((size, size)), rng.random((size, size))
