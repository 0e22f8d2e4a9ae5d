"""The smart-queue front: typed jobs with priorities, dependencies, logs and a stream of changes."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from aiohttp import web
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

from hpcq.api.compat.front import WORDS, Lenient, Whole, error_of, route, submit, tags_of, taken, without_nulls
from hpcq.api.events import converse
from hpcq.api.jobs import find
from hpcq.api.problem import Problem
from hpcq.api.query import StreamQuery
from hpcq.api.schema import Answer, Timestamp
from hpcq.api.table import Call, reply
from hpcq.core.job import State
from hpcq.engine.errors import Conflict
from hpcq.engine.files import job_folder
from hpcq.engine.spec import PRIORITIES
from hpcq.engine.times import timestamp
from hpcq.store.filter import Filter
from hpcq.store.rows import EventRow, JobRow

TYPE = "type"  # the tag that keeps the type
QUEUES: Mapping[str, str] = {"command": "local", "test_path": "local", "operation": "compute"}  # by a payload's key
RESOURCES: Mapping[str, str] = {"cpu_units": "cpus"}  # others have the same name here
USUAL = 50  # jobs of a list
LOG_BYTES = 256 * 1024  # of the end of what a job printed
LOG_LINES = 1000
CUT = "(only the end of what it printed is shown: GET /v1/jobs/{id}/output has all)"
PLACES = {
    "/name": "/type",
    f"/tags/{TYPE}": "/type",
    "/params": "/payload",
    "/resources": "/resource_requirements",
    "/resources/cpus": "/resource_requirements/cpu_units",
    "/retries/max": "/retry_config/max_attempts",
    "/retries/factor": "/retry_config/backoff_multiplier",
    "/timeout_s": "/timeout_seconds",
}
NOOP = {"duration_seconds": "duration_s", "should_fail": "fail"}  # a payload's keys, as params
NOOP_PLACES = {f"/params/{ours}": f"/payload/{theirs}" for theirs, ours in NOOP.items()}

Level = Literal["critical", "high", "normal", "low"]


class RetryConfig(Lenient):
    """`max_attempts` counts tries."""

    max_attempts: Annotated[Whole, Field(ge=1)] = 3
    backoff_multiplier: float | None = None


class Submit(Lenient):
    """A job; `type` is a label."""

    type: Annotated[str, Field(min_length=1, max_length=200)]
    priority: Level = "normal"
    payload: dict[str, Any] | None = None
    resource_requirements: dict[str, float | None] | None = None
    depends_on: list[str] | None = None
    retry_config: RetryConfig | None = None
    timeout_seconds: float | None = None
    idempotency_key: str | None = None


class Shown(Answer):
    job_id: str
    type: str
    status: str
    priority: str
    created_at: Timestamp
    updated_at: Timestamp
    started_at: Timestamp | None
    completed_at: Timestamp | None
    attempts: int
    max_attempts: int
    depends_on: list[str]
    result: Any
    error: str | None


class LogLine(Answer):
    timestamp: Timestamp
    message: str


class Change(Answer):
    job_id: str
    status: str
    event: str
    timestamp: Timestamp


def _known(status: str) -> str:
    words = dict.fromkeys(words.smart_queue for words in WORDS.values())
    if status and status not in words:
        raise ValueError(f"there is no status {status!r}; there are {', '.join(words)}")
    return status


class ListQuery(Lenient):
    status: Annotated[str, AfterValidator(_known)] = ""
    job_type: Annotated[str, Field(max_length=500)] = ""
    limit: Annotated[int, BeforeValidator(lambda given: given or USUAL), Field(ge=1, le=1000)] = USUAL


class ChangesQuery(StreamQuery):
    """Of the stream."""

    model_config = ConfigDict(extra="ignore")


async def submit_job(call: Call[Lenient, None]) -> web.Response:
    """A payload with `command`, `test_path` or `operation` runs as that; any other is a `noop` job."""
    job = await taken(call, Submit)
    payload = without_nulls(job.payload or {})
    queue = next((queue for key, queue in QUEUES.items() if key in payload), None)
    spec: dict[str, Any] = {
        "queue": queue or "noop",
        "params": payload if queue else {NOOP[name]: value for name, value in payload.items() if name in NOOP},
        "name": job.type,
        "tags": {TYPE: job.type},
        "priority": job.priority,
        "resources": {RESOURCES.get(name, name): n for name, n in (job.resource_requirements or {}).items() if n},
        "depends_on": job.depends_on or [],
        "timeout_s": job.timeout_seconds,
        "idempotency_key": job.idempotency_key,
    }
    if (retry := job.retry_config) is not None:
        factor = {} if retry.backoff_multiplier is None else {"factor": retry.backoff_multiplier}
        spec["retries"] = {"max": retry.max_attempts - 1, **factor}
    if queue:
        row = await submit(call, spec, PLACES)
    else:
        unread = {name: value for name, value in payload.items() if name not in NOOP}
        row = await submit(call, spec, {**PLACES, **NOOP_PLACES}, unread)
    return reply(_shown(row), 201)


async def show(call: Call[Lenient, None]) -> web.Response:
    """The job."""
    return reply(_shown(await find(call)))


async def list_jobs(call: Call[ListQuery, None]) -> web.Response:
    """Jobs, newest first."""
    query = call.query
    states = tuple(state for state, words in WORDS.items() if words.smart_queue == query.status)
    tags = ((TYPE, query.job_type),) if query.job_type else ()
    rows, _ = await call.engine.reader.jobs(call.caller.org, Filter(states=states, tags=tags), query.limit)
    return reply([_shown(row) for row in rows])


async def logs(call: Call[Lenient, None]) -> web.Response:
    """What happened to the job, then what its newest attempt printed."""
    row = await find(call)
    events = await call.engine.reader.events_of(call.caller.org, row.id)
    lines = [{"timestamp": timestamp(event.at), "message": _sentence(event)} for event in events]
    path = job_folder(call.engine.around.data_dir, row.id).output(max(1, row.history.attempt))
    printed, cut = await asyncio.to_thread(_end_of, path)
    when = timestamp(events[-1].at if events else row.updated_at)
    texts = ([CUT.replace("{id}", row.id)] if cut else []) + printed
    return reply(lines + [{"timestamp": when, "message": text} for text in texts])


async def cancel(call: Call[Lenient, None]) -> web.Response:
    """End a job that waits; one that runs is left alone."""
    row = await find(call)
    try:
        await call.engine.cancel(call.caller.org, row.id, waiting_only=True)
    except Conflict:
        said = WORDS[(await find(call)).state].smart_queue
        text = f"job {row.id} is {said}; only a job that waits (blocked, pending) can be cancelled here"
        raise Problem(400, text) from None
    return await show(call)


async def changes(call: Call[ChangesQuery, None]) -> web.StreamResponse:
    """A WebSocket: a JSON text message for every change of a job."""
    return await converse(call, _change)


def _shown(row: JobRow) -> dict[str, Any]:
    spec = orjson.loads(row.spec)
    return {
        "job_id": row.id,
        "type": tags_of(row).get(TYPE) or row.name or row.queue,
        "status": WORDS[row.state].smart_queue,
        "priority": _level(row.priority),
        "created_at": timestamp(row.created_at),
        "updated_at": timestamp(row.updated_at),
        "started_at": timestamp(row.started_at),
        "completed_at": timestamp(row.finished_at),
        "attempts": row.history.attempt,
        "max_attempts": row.treatment.retries.max + 1,
        "depends_on": [need["job"] for need in spec.get("depends_on", ())],
        "result": orjson.loads(row.result) if row.result else None,
        "error": error_of(row),
    }


def _level(priority: int) -> str:
    """The word for a number, or for what is next below it."""
    reached = [level for level, number in PRIORITIES.items() if number <= priority]
    return reached[-1] if reached else "low"


def _sentence(event: EventRow) -> str:
    """What happened, for people."""
    error = orjson.loads(event.detail).get("error") if event.detail else None
    why = f": {error['message']} ({error['type']})" if error else ""
    what = event.type.removeprefix("job.")
    if what == "submitted":
        return f"submitted to queue {event.queue}"
    return f"{what}{f', attempt {event.attempt}' if event.attempt else ''}{why}"


def _end_of(path: Path) -> tuple[list[str], bool]:
    """The last lines of a file, and whether there are more; none when there is no file."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return [], False
    try:
        begin = max(0, os.fstat(file).st_size - LOG_BYTES)
        lines = os.pread(file, LOG_BYTES, begin).decode(errors="replace").split("\n")
    finally:
        os.close(file)
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines[-LOG_LINES:]], begin > 0 or len(lines) > LOG_LINES


def _change(event: EventRow) -> str | None:
    """One change in the words of this front; None for what is no change of a job's status."""
    if not event.seq or event.job_id is None or event.state is None:
        return None
    status = WORDS[State(event.state)].smart_queue
    change = {"job_id": event.job_id, "status": status, "event": event.type, "timestamp": timestamp(event.at)}
    return orjson.dumps(change).decode()


ROUTES = (
    route("POST", "/jobs/", submit_job, "Smart-queue front: submit a job", Shown, body=Submit, status=201),
    route("GET", "/jobs/", list_jobs, "Smart-queue front: list jobs", list[Shown], query=ListQuery),
    route(
        "GET",
        "/jobs/stream",
        changes,
        "Smart-queue front: every change, over a WebSocket",
        Change,
        query=ChangesQuery,
        status=101,
        errors=(410,),
    ),
    route("GET", "/jobs/{job_id}", show, "Smart-queue front: a job", Shown, errors=(404,)),
    route("GET", "/jobs/{job_id}/logs", logs, "Smart-queue front: a job's log", list[LogLine], errors=(404,)),
    route(
        "PATCH",
        "/jobs/{job_id}/cancel",
        cancel,
        "Smart-queue front: cancel a job that waits",
        Shown,
        errors=(404, 503, 507),
    ),
)
