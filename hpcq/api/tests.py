"""Tests: what a job's tests reported, and how each test has fared over the jobs."""

from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from hpcq.api import schema
from hpcq.api.jobs import find
from hpcq.api.problem import at_parameter, not_found
from hpcq.api.query import Name, Query, Text, Whole
from hpcq.api.table import Call, Route, reply
from hpcq.engine.floor import outcome_of
from hpcq.engine.testcases import from_json, merged
from hpcq.engine.times import timestamp
from hpcq.store.cursor import BadCursor
from hpcq.store.tests import CaseFilter, CaseStats

RATE_DIGITS = 4


class TestsQuery(Query):
    """Which tests; all that is given must hold."""

    suite: Annotated[Name | None, Field(description="The project they belong to; empty: none")] = None
    file: Annotated[Text | None, Field(description="A file with tests, or a folder of such")] = None
    text: Annotated[Text | None, Field(description="Part of the title")] = None
    flaky: Annotated[bool | None, Field(description="Failed and passed on the same commit")] = None
    org_id: Text | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 50
    cursor: Annotated[str, Field(max_length=8000)] | None = None


class JobTestsQuery(Query):
    attempt: Annotated[Whole | None, Field(ge=1, description="Only what this attempt reported")] = None


async def list_tests(call: Call[TestsQuery, None]) -> web.Response:
    """Every test that was ever reported, by suite, file and title, with the figures of its newest 200 runs.

    A run is what a job found, over all of its attempts. Failed, then passed within a job counts as flaky alone.
    """
    query = call.query
    wanted = CaseFilter(query.org_id, query.suite, query.file, query.text, query.flaky)
    try:
        found, cursor = await call.engine.reader.tests(call.caller.org, wanted, query.limit, query.cursor)
    except BadCursor as bad:
        raise at_parameter("cursor", str(bad)) from None
    return reply({"tests": [shown(stats) for stats in found], "next_cursor": cursor})


async def of_job(call: Call[JobTestsQuery, None]) -> web.Response:
    """What the job's tests reported: the union of its attempts, or one attempt's own."""
    row = await find(call)
    attempts = await call.engine.reader.attempts(call.caller.org, call.id)
    number = call.query.attempt
    if number is not None:
        attempts = [attempt for attempt in attempts if attempt.attempt == number]
        if not attempts:
            raise not_found(f"no attempt {number} of job {row.id} has ended; its newest is {row.history.attempt}")
        return reply({"tests": from_json(attempts[0].tests)})
    return reply({"tests": merged(map(outcome_of, attempts))})


def shown(stats: CaseStats) -> dict[str, Any]:
    """A test and its figures; rates are of the runs that were not skipped, None where there were none."""
    runs = stats.passed + stats.failed + stats.flaky
    return {
        "suite": stats.suite,
        "id": stats.id,
        "title": stats.title,
        "file": stats.file,
        "line": stats.line,
        "org_id": stats.org_id,
        "runs": runs,
        "counts": {name: getattr(stats, name) for name in ("passed", "failed", "flaky", "skipped")},
        "failure_rate": round(stats.failed / runs, RATE_DIGITS) if runs else None,
        "flaky_rate": round(stats.flaky / runs, RATE_DIGITS) if runs else None,
        "p50_duration_s": stats.p50_duration_s,
        "flaky": stats.unsteady,
        "last_status": stats.last_status,
        "last_commit": stats.last_commit,
        "last_at": timestamp(stats.last_at),
        "last_job": stats.last_job,
    }


ROUTES = (
    Route(
        "GET", "/v1/tests", list_tests, "Tests and their history", returns=schema.Tests, query=TestsQuery, errors=(422,)
    ),
    Route(
        "GET",
        "/v1/jobs/{id}/tests",
        of_job,
        "What a job's tests reported",
        returns=schema.JobTests,
        query=JobTestsQuery,
        errors=(404, 422),
    ),
)
