"""Keywords that submit jobs, change them, and wait for what becomes of them."""

import json
from collections.abc import Awaitable, Mapping
from datetime import timedelta
from typing import Any

from robot.api.deco import keyword

from hpcq.client import Job, Problem

from .polling import until
from .session import Session

A_MINUTE = timedelta(minutes=1)
FINAL = ("succeeded", "failed", "cancelled")
OF_EVERY_JOB = frozenset(
    {
        *("name", "tags", "priority", "timeout_s", "retries", "resources", "requires", "depends_on", "run_at"),
        *("delay_s", "expires_at", "batch_key", "idempotency_key", "org_id"),
    }
)


class Jobs(Session):
    """Submit, cancel, retry, edit, wait."""

    @keyword
    async def submit_job(self, queue: str, **fields: Any) -> str:
        """Submit a job and return its id.

        | ${job} =    Submit Job    local      command=exit 3    retries={"max": 2}
        | ${job} =    Submit Job    compute    operation=matmul    size=256    seed=7    priority=high
        """
        return str((await self.client.submit(_spec(queue, fields)))["id"])

    @keyword
    async def submit_jobs(self, count: int, queue: str, **fields: Any) -> list[str]:
        """Submit so many equal jobs at once, all or none; returns their ids. ``{n}`` in a name is the job's number."""
        specs = [_spec(queue, fields) for _ in range(count)]
        for number, spec in enumerate(specs, 1):
            if "name" in spec:
                spec["name"] = str(spec["name"]).replace("{n}", str(number))
        return await self.client.submit_many(specs)

    @keyword
    async def submit_should_be_refused(self, status: int, field: str, queue: str, **fields: Any) -> str:
        """The server refuses the job with this HTTP status and names the field, a JSON pointer; returns the reason."""
        problem = await _refusal(self.client.submit(_spec(queue, fields)), status)
        found = {error["pointer"]: error["detail"] for error in problem.errors}
        assert field in found, f"the server complains about {found}, not about {field}"
        return found[field]

    @keyword
    async def job_should_be(self, job: str, state: str, timeout: timedelta = A_MINUTE) -> Job:
        """The job comes into this state of itself; returns the job. Fails at once when it ends in another."""
        return await until(
            lambda: self._on_its_way(job, state),
            lambda found: found["state"] == state,
            timeout_s=timeout.total_seconds(),
            what=f"job {job} is {state}",
            explain=lambda: self.explained(job),
        )

    async def _on_its_way(self, job_id: str, state: str) -> Job:
        found = await self.client.job(job_id, wait_s=1 if state in FINAL else None)
        if found["state"] in FINAL and found["state"] != state:
            why = await self.explained(job_id)
            raise AssertionError(f"job {job_id} is {found['state']}, not {state}: {found['error']}\n{why}")
        return found

    @keyword
    async def job_should_succeed(self, job: str, timeout: timedelta = A_MINUTE) -> Job:
        """The job ends well; returns it."""
        return await self.job_should_be(job, "succeeded", timeout)

    @keyword
    async def jobs_should_succeed(self, *jobs: str, timeout: timedelta = A_MINUTE) -> None:
        """All of them end well."""
        for job in jobs:
            await self.job_should_be(job, "succeeded", timeout)

    @keyword
    async def job_should_fail(self, job: str, kind: str, *words: str, timeout: timedelta = A_MINUTE) -> Job:
        """The job fails with this ``error.type``, and its message has these words; returns the job."""
        found = await self.job_should_be(job, "failed", timeout)
        error = found["error"] or {"type": "", "message": ""}
        assert error["type"] == kind, f"the error is {error}, not of type {kind}"
        missing = [word for word in words if word not in error["message"]]
        assert not missing, f"the message does not say {missing}: {error['message']}"
        return found

    @keyword
    async def explanation_should_be(
        self, job: str, code: str, *words: str, timeout: timedelta = A_MINUTE
    ) -> dict[str, Any]:
        """The decisive reason why the job is not running comes to be this one; returns it.

        Codes: ``paused``, ``slots_busy``, ``resources``, ``dependency``, ``delayed``, ``backoff`` and others.
        """

        async def first() -> dict[str, Any]:
            reasons = (await self.client.explain(job))["reasons"]
            return dict(reasons[0]) if reasons else {"code": None, "message": ""}

        found = await until(
            first,
            lambda reason: reason["code"] == code,
            timeout_s=timeout.total_seconds(),
            what=f"job {job} is explained by {code}",
            explain=lambda: self.explained(job),
        )
        missing = [word for word in words if word not in found["message"]]
        assert not missing, f"the explanation does not say {missing}: {found['message']}"
        return found

    @keyword
    async def cancel_job(self, job: str) -> str:
        """Cancel a job that is not final; returns its state right after: ``cancelled``, or ``cancelling``."""
        return (await self.client.cancel(job))["state"]

    @keyword
    async def cancelling_should_be_refused(self, job: str) -> str:
        """The job is final, so that cancelling it is 409; returns the reason."""
        return (await _refusal(self.client.cancel(job), 409)).detail

    @keyword
    async def retry_job(self, job: str) -> None:
        """Run a final job again, under the same id."""
        await self.client.retry(job)

    @keyword
    async def edit_job(self, job: str, **fields: Any) -> None:
        """Change fields of a job that is not final."""
        await self.client.edit(job, {name: _value(value) for name, value in fields.items()})


async def _refusal(call: Awaitable[Job], status: int) -> Problem:
    """The server's refusal with this HTTP status."""
    refusal: Problem | None = None
    try:
        job = await call
    except Problem as problem:
        refusal = problem
    if refusal is None:
        raise AssertionError(f"it was not refused; job {job['id']} is {job['state']}")
    if refusal.status != status:
        raise AssertionError(f"refused with {refusal.status}, not {status}: {refusal}")
    return refusal


def _spec(queue: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """What every job has, and what only the queue's runner knows."""
    values = {name: _value(value) for name, value in fields.items()}
    own = {name: value for name, value in values.items() if name in OF_EVERY_JOB}
    return {"queue": queue, **own, "params": {name: value for name, value in values.items() if name not in own}}


def _value(given: Any) -> Any:
    """Text that spells a number, a list or an object in JSON is that; any other text is text, `true` is a command."""
    if not isinstance(given, str):
        return given
    try:
        value = json.loads(given)
    except ValueError:
        return given
    return given if isinstance(value, bool | str | None) else value
