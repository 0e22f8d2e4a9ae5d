"""The test-queue front: the AppWright queue, with its runs by build and target."""

from collections.abc import Mapping
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from hpcq.api.compat.front import WORDS, Lenient, Whole, error_of, params_of, route, submit, tags_of, taken
from hpcq.api.jobs import find
from hpcq.api.problem import at
from hpcq.api.schema import Answer, Timestamp
from hpcq.api.table import Call, reply
from hpcq.core.job import WAITING
from hpcq.engine.spec import JobSpec
from hpcq.engine.times import timestamp

QUEUES: Mapping[str, str] = {  # by target
    "local": "local",
    "emulator": "emulator",
    "device_farm": "device_farm",
    "device": "emulator",
    "browserstack": "device_farm",
}
HIGHEST = 100  # priority, on either side of 0
BUILD = "build:"  # begins the batch key
LONGEST_ID = 200 - len(BUILD)  # of a build: the batch key must be short enough too
TARGET = "target"  # the tag that keeps the target as it was sent
PLACES = {
    "/params": "",
    "/batch_key": "/app_version_id",
    "/retries/max": "/max_retries",
    "/queue": "/target",
    f"/tags/{TARGET}": "/target",
}


class Run(Lenient):
    """One test file of one build."""

    app_version_id: Annotated[str, Field(min_length=1, max_length=LONGEST_ID)]
    test_path: str
    org_id: str = JobSpec.model_fields["org_id"].default
    target: str = "local"
    priority: Annotated[Whole, Field(description=f"Higher runs first; clamped to ±{HIGHEST}")] = 0
    max_retries: Whole = 3


class Accepted(Answer):
    job_id: str
    status: str


class Shown(Answer):
    job_id: str
    status: str
    org_id: str
    app_version_id: str | None
    test_path: str | None
    target: str
    priority: int
    retries: int
    max_retries: int
    created_at: Timestamp
    error: str | None
    reason: Annotated[str | None, Field(description="Why it still waits")]


async def submit_run(call: Call[Lenient, None]) -> web.Response:
    """An AppWright job on the queue that the target names; jobs of one build and target run in batches."""
    run = await taken(call, Run)
    queue = QUEUES.get(run.target)
    if queue not in call.engine.lanes:
        known = ", ".join(name for name, other in QUEUES.items() if other in call.engine.lanes)
        raise at("/target", f"there is no target {run.target!r}; there are {known}")
    spec = {
        "queue": queue,
        "params": {"test_path": run.test_path, "app_version_id": run.app_version_id},
        "org_id": run.org_id,
        "priority": max(-HIGHEST, min(run.priority, HIGHEST)),
        "retries": {"max": run.max_retries},
        "batch_key": BUILD + run.app_version_id,  # as device runners say it: one session for jobs of either origin
        "tags": {TARGET: run.target},
    }
    row = await submit(call, spec, PLACES)
    return reply({"job_id": row.id, "status": "queued"})


async def status(call: Call[Lenient, None]) -> web.Response:
    """The job; while it waits, also why."""
    row = await find(call)
    params = params_of(row)
    return reply(
        {
            "job_id": row.id,
            "status": WORDS[row.state].test_queue,
            "org_id": row.org_id,
            "app_version_id": params.get("app_version_id"),
            "test_path": params.get("test_path"),
            "target": tags_of(row).get(TARGET, row.queue),
            "priority": row.priority,
            "retries": row.history.retries_used,
            "max_retries": row.treatment.retries.max,
            "created_at": timestamp(row.created_at),
            "error": error_of(row),
            "reason": await _reason(call, row.id) if row.state in WAITING else None,
        }
    )


async def _reason(call: Call[Any, Any], job_id: str) -> str | None:
    explained = await call.engine.views.explain(call.caller.org, job_id)
    return explained["reasons"][0]["message"] if explained["reasons"] else None


ROUTES = (
    route("POST", "/submit", submit_run, "Test-queue front: submit a test run", Accepted, body=Run, errors=(403,)),
    route("GET", "/status/{job_id}", status, "Test-queue front: how far a run is", Shown, errors=(404,)),
)
