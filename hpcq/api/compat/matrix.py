"""The matrix front: the simulated HPC job queue. A complexity of 5 is a product of two matrices of 2500 by 2500."""

import random
from typing import Annotated, Any

import orjson
from aiohttp import web
from pydantic import Field

from hpcq.api.compat.front import WORDS, Lenient, Whole, error_of, params_of, route, submit, taken
from hpcq.api.jobs import find
from hpcq.api.schema import Answer, Timestamp
from hpcq.api.table import Call, reply
from hpcq.core.job import FINAL, ErrorType, State
from hpcq.engine.spec import MAX_INT
from hpcq.engine.times import timestamp
from hpcq.store.rows import JobRow

SIDE = 500  # of the matrices, for each step of complexity
MOST = 20  # steps; beyond it the runner fails the job
NAME_CHARS = 200  # of a job
TOO_HIGH = "Complexity too high"
PLACES = {"/name": "/task_name", "/params": "/complexity"}


class Work(Lenient):
    """A product of two random square matrices."""

    complexity: Annotated[Whole, Field(ge=1, description=f"Times {SIDE} is the side; over {MOST} the job fails")]
    task_name: str | None = None


class Accepted(Answer):
    job_id: str
    status: str


class Shown(Answer):
    """A finished job has the rest, a failed one its `error`."""

    job_id: str
    status: str
    duration_seconds: float | None = None
    matrix_size: str | None = None
    processed_at: Timestamp | None = None
    error: str | None = None


async def submit_job(call: Call[Lenient, None]) -> web.Response:
    """A `matmul` of two random matrices on the queue `compute`."""
    work = await taken(call, Work)
    params = {
        "operation": "matmul",
        "size": min(work.complexity * SIDE, MAX_INT),
        "seed": random.getrandbits(32),
        "max_size": MOST * SIDE,
    }
    spec = {"queue": "compute", "params": params, "name": (work.task_name or "")[:NAME_CHARS] or None}
    row = await submit(call, spec, PLACES)
    return reply({"job_id": row.id, "status": "queued"})


async def show_job(call: Call[Lenient, None]) -> web.Response:
    """How far the job is."""
    row = await find(call)
    shown: dict[str, Any] = {"job_id": row.id, "status": WORDS[row.state].matrix}
    if row.state is State.SUCCEEDED:
        shown |= {
            "duration_seconds": round(row.finished_at - row.started_at, 3),
            "matrix_size": _matrix_size(params_of(row)),
            "processed_at": timestamp(row.finished_at),
        }
    elif row.state in FINAL:
        shown["error"] = _error(row)
    return reply(shown)


def _matrix_size(params: dict[str, Any]) -> str | None:
    size = params.get("size")
    return None if size is None else f"{size}x{size}"


def _error(row: JobRow) -> str | None:
    """What the runner rejects is too complex, whatever its own words."""
    rejected = row.error is not None and orjson.loads(row.error)["type"] == ErrorType.REJECTED
    return TOO_HIGH if rejected and "max_size" in params_of(row) else error_of(row)


ROUTES = (
    route("POST", "/submit-job", submit_job, "Matrix front: submit a matrix product", Accepted, body=Work),
    route("GET", "/job/{job_id}", show_job, "Matrix front: how far a job is", Shown, errors=(404,)),
)
