"""What the fronts share: words for states, bodies as their clients send them, and the way to the engine."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator

from hpcq.api.problem import SAID, Problem, in_body
from hpcq.api.table import Call, Handler, Route, json_of
from hpcq.core.job import FRESH, State
from hpcq.engine import splitting
from hpcq.engine.errors import BadSpec, FieldError
from hpcq.engine.intake import field_errors
from hpcq.store.rows import JobRow

TAG = "compat"
ONE_JOB = "a front answers with one job, and split makes several of it; submit it with POST /v1/jobs"
BODY_ERRORS = (408, 413, 422, 429, 503, 507)

B = TypeVar("B", bound=BaseModel)


class Words(NamedTuple):
    """One state, as each front says it."""

    matrix: str
    test_queue: str
    smart_queue: str
    math: str


WORDS: Mapping[State, Words] = {
    State.BLOCKED: Words("pending", "queued", "blocked", "PENDING"),
    State.DELAYED: Words("pending", "queued", "pending", "PENDING"),
    State.QUEUED: Words("pending", "queued", "pending", "PENDING"),
    State.STARTING: Words("running", "running", "running", "IN_PROGRESS"),
    State.RUNNING: Words("running", "running", "running", "IN_PROGRESS"),
    State.CANCELLING: Words("running", "running", "running", "IN_PROGRESS"),
    State.SUCCEEDED: Words("completed", "done", "success", "SUCCESS"),
    State.FAILED: Words("failed", "failed", "failed", "FAILED"),
    State.CANCELLED: Words("failed", "failed", "cancelled", "FAILED"),
}


class Lenient(BaseModel):
    """Of a body or query, as earlier clients send it: numbers may be text, null is as good as nothing, and what is not
    read may be there."""

    model_config = ConfigDict(extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: Any) -> Any:
        return without_nulls(value) if isinstance(value, dict) else value


def without_nulls(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What there is."""
    return {name: value for name, value in fields.items() if value is not None}


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"must be a whole number; found {str(value).lower()}")
    return int(value) if isinstance(value, float) and value.is_integer() else value  # 1e99 is whole


Whole = Annotated[int, BeforeValidator(_number)]


async def taken(call: Call[Any, Any], model: type[B]) -> B:
    """The request's body. Raises Problem: 422 for whatever is wrong with it, be it no JSON at all."""
    try:
        value = await json_of(call.request, call.settings.limits.body_bytes)
    except Problem as bad:
        if bad.status not in (400, 422):
            raise
        named = [FieldError(error["pointer"], error["detail"]) for error in bad.errors]
        raise _refused(named or [FieldError("", bad.detail)]) from None
    if not isinstance(value, dict):
        raise _refused([FieldError("", "the body must be a JSON object")])
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise _refused(field_errors(error, value)) from None


async def submit(
    call: Call[Any, Any], spec: dict[str, Any], places: Mapping[str, str], unread: Mapping[str, Any] | None = None
) -> JobRow:
    """Submit a JobSpec; the job, or the one that its key was used for before.

    One that found a free slot at once is shown as it was submitted, queued. `places`: where the body has what the spec
    has elsewhere, as JSON pointers. `unread`: what the job does not keep, but what tells one body from another.
    Raises Problem: 422 that names the body's own fields; EngineError.
    """
    engine, org = call.engine, call.caller.org
    try:
        (prepared,) = await engine.intake.accept([spec], org=org)
        if splitting.asks(spec, prepared):
            raise BadSpec([FieldError(splitting.POINTER, ONE_JOB)])
        if unread:
            prepared = prepared._replace(unread=orjson.dumps(unread, option=orjson.OPT_SORT_KEYS))
        done = await engine.submit([prepared], org=org)
    except BadSpec as bad:
        raise _refused([FieldError(_place(error.pointer, places), error.detail) for error in bad.errors]) from None
    row = done.row or await engine.reader.job(org, done.ids[0])
    assert row is not None, "it was submitted just now"
    begun = done.created and row.state is State.STARTING
    return replace(row, state=State.QUEUED, history=FRESH, slot=None) if begun else row


def params_of(row: JobRow) -> dict[str, Any]:
    """The job's params."""
    params: dict[str, Any] = orjson.loads(row.spec)["params"]
    return params


def tags_of(row: JobRow) -> dict[str, str]:
    """The job's tags."""
    tags: dict[str, str] = orjson.loads(row.spec).get("tags", {})
    return tags


def error_of(row: JobRow) -> str | None:
    """Why the job did not succeed, as one text; None: it did, or nobody knows yet."""
    if row.state is State.CANCELLED:
        return "cancelled"
    return str(orjson.loads(row.error)["message"]) if row.error else None


def route(
    method: Literal["GET", "POST", "PATCH"],
    path: str,
    handler: Handler,
    summary: str,
    returns: Any,
    *,
    body: type[BaseModel] | None = None,
    status: int = 200,
    query: type[BaseModel] = Lenient,
    errors: Sequence[int] = (),
) -> Route:
    """A front's route: it answers with and without a slash at the end, and has a tag of its own."""
    return Route(
        method,
        path,
        handler,
        summary,
        returns=returns,
        status=status,
        query=query,
        body=body,
        reads_itself=True,
        errors=(*errors, *(BODY_ERRORS if body else (422,))),
        tag=TAG,
        any_slash=True,
    )


def _refused(errors: Sequence[FieldError]) -> Problem:
    """422 whose `detail` says it all: these clients read nothing else."""
    errors = list(dict.fromkeys(errors))  # what stands in one place there may stand in several here
    problem = in_body(errors)
    problem.detail = "; ".join(f"{error.pointer[1:]}: {error.detail}".removeprefix(": ") for error in errors[:SAID])
    return problem


def _place(pointer: str, places: Mapping[str, str]) -> str:
    for ours in sorted(places, key=len, reverse=True):
        if pointer == ours or pointer.startswith(f"{ours}/"):
            return places[ours] + pointer.removeprefix(ours)
    return pointer
