"""All jobs that a filter finds: one action on them, or their count."""

import time
from typing import Any

from aiohttp import web
from pydantic import ValidationError

from hpcq.api import schema
from hpcq.api.problem import in_body
from hpcq.api.query import FilterQuery, SummaryQuery
from hpcq.api.table import Call, Route, reply
from hpcq.core.job import FINAL, State
from hpcq.engine.errors import BadSpec, FieldError
from hpcq.engine.intake import field_errors
from hpcq.engine.many import act as act_on
from hpcq.engine.spec import ActionSpec
from hpcq.store.filter import Filter

UNFINISHED = tuple(state for state in State if state not in FINAL)


async def act(call: Call[None, ActionSpec]) -> web.Response:
    """Cancel, retry or patch all that the filter finds; jobs with which that cannot be done are left out."""
    spec = call.body
    if (spec.patch is not None) != (spec.action == "patch"):
        raise in_body([FieldError("/patch", "goes with the action patch, and only with it")])
    count = await act_on(call.engine, call.caller.org, spec.action, _filter(spec.filter), spec.patch)
    return reply({"count": count})


async def summary(call: Call[SummaryQuery, None]) -> web.Response:
    """Counts by state; with `wait` once all are final, or when the time is over."""
    found = call.query.filter()
    end = time.monotonic() + (call.query.wait or 0.0)
    counts = await call.engine.reader.summary(call.caller.org, found)
    while not _all_final(counts) and (left := end - time.monotonic()) > 0:
        await _some_final(call, found, left)
        counts = await call.engine.reader.summary(call.caller.org, found)
    return reply({"counts": counts, "total": sum(counts.values()), "final": _all_final(counts)})


async def _some_final(call: Call[SummaryQuery, None], found: Filter, timeout_s: float) -> None:
    """Wait for the newest unfinished one: it is likely to be the last."""
    states = tuple(state for state in UNFINISHED if state in (found.states or UNFINISHED))
    query = call.query.model_copy(update={"state": states})
    rows, _ = await call.engine.reader.jobs(call.caller.org, query.filter(), 1)
    await call.engine.watchers.wait_final([row.id for row in rows], timeout_s)


def _all_final(counts: dict[str, int]) -> bool:
    return not any(count for state, count in counts.items() if State(state) not in FINAL)


def _filter(raw: dict[str, Any]) -> Filter:
    """The list's query parameters as JSON; `state`, `queue` and `tag` may be single values or lists."""
    lists = {key: [raw[key]] for key in ("state", "queue", "tag") if key in raw and not isinstance(raw[key], list)}
    try:
        return FilterQuery.model_validate({**raw, **lists}).filter()
    except ValidationError as error:
        raise BadSpec(field_errors(error, raw, "/filter")) from None


ROUTES = (
    Route(
        "POST",
        "/v1/jobs/actions",
        act,
        "One action on all jobs that a filter finds",
        returns=schema.Count,
        body=ActionSpec,
        errors=(400, 408, 413, 422, 503, 507),
    ),
    Route(
        "GET",
        "/v1/jobs/summary",
        summary,
        "Counts by state of what a filter finds",
        returns=schema.Summary,
        query=SummaryQuery,
        errors=(422,),
    ),
)
