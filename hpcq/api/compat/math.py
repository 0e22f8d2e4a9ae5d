"""The math front: sums of squares and cubes. A job's `id` is its number, which counts within the org."""

from typing import Annotated, Any, Literal

import orjson
from aiohttp import web
from pydantic import Field

from hpcq.api.compat.front import WORDS, Lenient, error_of, params_of, route, submit, taken
from hpcq.api.problem import Problem, not_found
from hpcq.api.schema import Answer, Timestamp
from hpcq.api.table import Call, reply
from hpcq.core.job import FINAL, State
from hpcq.engine.spec import JobSpec
from hpcq.engine.times import timestamp
from hpcq.store.filter import Filter
from hpcq.store.rows import JobRow

LONGEST = 18  # digits of a number that the store can look for
AGAIN_S = 1  # what a client is told to wait for a result
PLACES = {"/params": ""}


class Sum(Lenient):
    """What to add up, and how."""

    operation: Literal["square_sum", "cube_sum"]
    data: Annotated[Any, Field(json_schema_extra={"type": "array", "items": {"type": "number"}, "minItems": 1})]


class Shown(Answer):
    id: int
    status: str
    operation: str | None
    created_at: Timestamp
    updated_at: Timestamp


class Value(Answer):
    """`result` and `value` are the same; null when the job failed."""

    result: Any
    value: Any
    error: str | None


class ShownWithResult(Shown):
    result: Value


async def submit_sum(call: Call[Lenient, None]) -> web.Response:
    """A scalar job on the queue `compute`."""
    wanted = await taken(call, Sum)
    spec = {"queue": "compute", "params": {"operation": wanted.operation, "data": wanted.data}}
    return reply(_shown(await submit(call, spec, PLACES)), 201)


async def status(call: Call[Lenient, None]) -> web.Response:
    """The job, without its result."""
    row = await _find(call)
    return reply(_shown(row))


async def result(call: Call[Lenient, None]) -> web.Response:
    """The job with its result; 400 while there is none."""
    row = await _find(call)
    if row.state not in FINAL:
        detail = f"job {row.number} is {WORDS[row.state].math}: it has no result yet"
        raise Problem(400, detail, headers={"Retry-After": str(AGAIN_S)})
    value = orjson.loads(row.result) if row.result and row.state is State.SUCCEEDED else None
    if isinstance(value, dict) and "value" in value:
        value = value["value"]
    shown = _shown(row)
    return reply({**shown, "result": {"result": value, "value": value, "error": error_of(row)}})


def _shown(row: JobRow) -> dict[str, Any]:
    return {
        "id": row.number,
        "status": WORDS[row.state].math,
        "operation": params_of(row).get("operation"),
        "created_at": timestamp(row.created_at),
        "updated_at": timestamp(row.updated_at),
    }


async def _find(call: Call[Any, Any]) -> JobRow:
    """The job with this number in the org where this caller's jobs are. Raises Problem 404."""
    org = call.caller.org or JobSpec.model_fields["org_id"].default
    if call.id.isascii() and call.id.isdigit() and len(call.id) <= LONGEST:
        rows, _ = await call.engine.reader.jobs(call.caller.org, Filter(number=int(call.id), org_id=org), 1)
        if rows:
            return rows[0]
    raise not_found(f"there is no job {call.id}; the id is a number, as the submit answered it")


ROUTES = (
    route("POST", "/api/v1/jobs/", submit_sum, "Math front: submit a sum", Shown, body=Sum, status=201),
    route("GET", "/api/v1/jobs/{id}/status", status, "Math front: how far a sum is", Shown, errors=(404,)),
    route("GET", "/api/v1/jobs/{id}/result", result, "Math front: a sum", ShownWithResult, errors=(404,)),
)
