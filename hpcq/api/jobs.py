"""Jobs: submit, list, show, change."""

from collections.abc import AsyncIterator
from typing import Any

import orjson
from aiohttp import web
from pydantic import JsonValue

from hpcq.api import bulk, jobview, json_body, schema
from hpcq.api.guard import JSON, NDJSON
from hpcq.api.problem import Problem, at_parameter, not_found
from hpcq.api.query import ListQuery, WaitQuery
from hpcq.api.table import Call, Route, reply
from hpcq.core.job import FINAL
from hpcq.engine import splitting
from hpcq.engine.slices import let_go
from hpcq.engine.spec import JobPatch, JobSpec
from hpcq.store.cursor import BadCursor

ONE = "/v1/jobs/{id:(?!(?:actions|summary)$)[^/]+}"  # those two are addresses of their own
KEY_HEADER = "Idempotency-Key"
KEY_LONGEST = 255


async def submit(call: Call[WaitQuery, None]) -> web.Response:
    """One job, or an array or NDJSON of them, all or none."""
    request, limits = call.request, call.settings.limits
    body = json_body.at_hand(request, limits.body_bytes)
    if body and body[0] == ord("{") and request.headers["Content-Type"] == JSON:
        return await _submit_one(call, json_body.parse(body))
    stream = json_body.chunks(request, limits.bulk_bytes) if body is None else _again(body)
    if request.content_type == NDJSON:
        return await _submit_many(call, stream, bulk.Lines(limits.body_bytes))
    head = b""
    async for chunk in stream:
        head += chunk
        if len(head) > limits.body_bytes or head.lstrip()[:1] == b"[":
            break
    if head.lstrip()[:1] == b"[":
        return await _submit_many(call, _again(head, stream), bulk.Elements(limits.body_bytes))
    if len(head) > limits.body_bytes:
        raise json_body.too_large(limits.body_bytes)
    if not head:
        raise Problem(400, "the body is empty; it must be a job, or an array of jobs")
    return await _submit_one(call, json_body.parse(head))


async def _submit_one(call: Call[WaitQuery, None], raw: Any) -> web.Response:
    engine, org = call.engine, call.caller.org
    accepted = await splitting.accept(engine, [raw], org=org, key=_key(call.request))
    if accepted.digest is not None:
        return await _keep_many(call, accepted)
    done = await engine.submit(accepted.jobs, org=org, key=accepted.key)
    job_id = done.ids[0]
    if call.query.wait:
        look = done.row is None or done.row.state in FINAL
        await engine.watchers.wait_final([job_id], call.query.wait, look=look)
    fresh = None if call.query.wait else done.row  # no need to read what has just been written
    shown = jobview.job(fresh) if fresh else await _show(call, job_id)
    return reply(shown, 201 if done.created else 200, {"Location": f"/v1/jobs/{job_id}"})


async def _submit_many(call: Call[WaitQuery, None], body: AsyncIterator[bytes], parser: bulk.Parser) -> web.Response:
    key = _key(call.request)
    raws = await bulk.collect(body, parser, call.settings.limits.bulk_jobs)
    accepted = await splitting.accept(call.engine, raws, org=call.caller.org, key=key, bulk=True)
    await let_go(raws)
    return await _keep_many(call, accepted)


async def _keep_many(call: Call[WaitQuery, None], accepted: splitting.Accepted) -> web.Response:
    engine, org = call.engine, call.caller.org
    done = await engine.submit(accepted.jobs, org=org, key=accepted.key, bulk=True, digest=accepted.digest)
    if call.query.wait:
        await engine.watchers.wait_final(done.ids, call.query.wait)
    return reply({"count": len(done.ids), "ids": done.ids}, 201 if done.created else 200)


async def list_jobs(call: Call[ListQuery, None]) -> web.Response:
    """A page of jobs, newest first unless told otherwise."""
    query = call.query
    ascending = query.order == "asc"
    try:
        rows, cursor = await call.engine.reader.jobs(
            call.caller.org, query.filter(), query.limit, query.cursor, ascending
        )
    except BadCursor as bad:
        raise at_parameter("cursor", str(bad)) from None
    jobs = [jobview.job(row, call.engine.progress(row.job)) for row in rows]
    return reply({"jobs": jobs, "next_cursor": cursor})


async def show(call: Call[WaitQuery, None]) -> web.Response:
    """The job; with `wait` once it is final, or when the time is over."""
    shown = await _show(call, call.id)
    if call.query.wait and not shown["finished_at"]:
        await call.engine.watchers.wait_final([call.id], call.query.wait)
        shown = await _show(call, call.id)
    return reply(shown)


async def edit(call: Call[None, JobPatch]) -> web.Response:
    """Change how a job that is not final is treated."""
    await call.engine.edit(call.caller.org, call.id, call.body)
    return reply(await _show(call, call.id))


async def cancel(call: Call[None, schema.Nothing]) -> web.Response:
    """End a job, also a running one: its whole process tree."""
    await call.engine.cancel(call.caller.org, call.id)
    return reply(await _show(call, call.id))


async def retry(call: Call[None, schema.Nothing]) -> web.Response:
    """Run a final job again, under the same id."""
    await call.engine.retry(call.caller.org, call.id)
    return reply(await _show(call, call.id))


async def explain(call: Call[None, None]) -> web.Response:
    """Every reason why the job is not running."""
    return reply(await call.engine.views.explain(call.caller.org, call.id))


async def result(call: Call[None, None]) -> web.Response:
    """The job's result alone; null until there is one."""
    row = await find(call)
    return reply(jobview.embedded(row.result))


async def attempts(call: Call[None, None]) -> web.Response:
    """Every try at the job, oldest first."""
    await find(call)
    rows = await call.engine.reader.attempts(call.caller.org, call.id)
    return reply({"attempts": [jobview.attempt(row) for row in rows]})


async def events(call: Call[None, None]) -> web.Response:
    """What happened to the job, oldest first."""
    await find(call)
    rows = await call.engine.reader.events_of(call.caller.org, call.id)
    return reply({"events": [orjson.Fragment(jobview.event(row)) for row in rows]})


async def find(call: Call[Any, Any]) -> Any:
    """The row of the job in the path. Raises Problem 404, also when it is another org's."""
    row = await call.engine.reader.job(call.caller.org, call.id)
    if row is None:
        raise not_found(f"there is no job {call.id}")
    return row


async def _show(call: Call[Any, Any], job_id: str) -> dict[str, Any]:
    row = await call.engine.reader.job(call.caller.org, job_id)
    if row is None:
        raise not_found(f"there is no job {job_id}")
    return jobview.job(row, call.engine.progress(row.job))


def _key(request: web.Request) -> str | None:
    key = request.headers.get(KEY_HEADER)
    if key is not None and not (0 < len(key) <= KEY_LONGEST and key.isprintable()):
        raise Problem(400, f"{KEY_HEADER} must have 1 to {KEY_LONGEST} printable characters")
    return key


async def _again(head: bytes, rest: AsyncIterator[bytes] | None = None) -> AsyncIterator[bytes]:
    yield head
    if rest is not None:
        async for chunk in rest:
            yield chunk


ROUTES = (
    Route(
        "POST",
        "/v1/jobs",
        submit,
        "Submit one job, or up to 100,000 as an array or as NDJSON, all or none",
        returns=schema.Job | schema.Submitted,
        status=201,
        query=WaitQuery,
        body=JobSpec,
        reads_itself=True,
        also=((200, "the same idempotency key and body came before"),),
        errors=(400, 408, 413, 422, 429, 503, 507),
    ),
    Route("GET", "/v1/jobs", list_jobs, "List jobs", returns=schema.JobPage, query=ListQuery, errors=(422,)),
    Route("GET", ONE, show, "Show a job", returns=schema.Job, query=WaitQuery, errors=(404, 422)),
    Route(
        "PATCH",
        ONE,
        edit,
        "Change a job that is not final",
        returns=schema.Job,
        body=JobPatch,
        body_optional=True,
        errors=(400, 404, 408, 409, 413, 422, 503, 507),
    ),
    Route(
        "POST",
        "/v1/jobs/{id}/cancel",
        cancel,
        "End a job, also a running one",
        returns=schema.Job,
        body=schema.Nothing,
        body_optional=True,
        errors=(400, 404, 408, 409, 413, 422, 503, 507),
    ),
    Route(
        "POST",
        "/v1/jobs/{id}/retry",
        retry,
        "Run a final job again, under the same id",
        returns=schema.Job,
        body=schema.Nothing,
        body_optional=True,
        errors=(400, 404, 408, 409, 413, 422, 503, 507),
    ),
    Route(
        "GET",
        "/v1/jobs/{id}/explain",
        explain,
        "Every reason why a job is not running",
        returns=schema.Explanation,
        errors=(404,),
    ),
    Route("GET", "/v1/jobs/{id}/result", result, "A job's result", returns=JsonValue, errors=(404,)),
    Route("GET", "/v1/jobs/{id}/attempts", attempts, "A job's attempts", returns=schema.Attempts, errors=(404,)),
    Route("GET", "/v1/jobs/{id}/events", events, "What happened to a job", returns=schema.Events, errors=(404,)),
)
