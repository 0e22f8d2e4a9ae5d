"""Uploads: files by their SHA-256, and names of builds."""

from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from hpcq.api import json_body, schema
from hpcq.api.files import SAFE
from hpcq.api.guard import BYTES
from hpcq.api.problem import Problem, at_parameter, not_found
from hpcq.api.query import PageQuery
from hpcq.api.table import Call, Route, reply
from hpcq.engine.alarm import now
from hpcq.engine.blobs import WrongSum
from hpcq.engine.errors import Forbidden
from hpcq.engine.inputs import SHA256
from hpcq.engine.spec import Model, Word
from hpcq.engine.times import timestamp
from hpcq.store.cursor import BadCursor
from hpcq.store.rows import AppRow, BlobRow

GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"
NAME_CHARS = 200


class AppSpec(Model):
    """A build: an uploaded file, and the org whose name it is."""

    blob: Annotated[str, Field(pattern=f"^{SHA256.pattern}$", description="SHA-256 of an uploaded file")]
    org_id: Word | None = None


async def put(call: Call[None, None]) -> web.Response:
    """201, or 200 if it is known; 422 when the body's sum is another. With `Expect: 100-continue` what is known, too
    large or does not fit on the disk is answered before the body is sent."""
    request, sha256 = call.request, call.id
    if not SHA256.fullmatch(sha256):
        raise _wrong(f"{sha256[:100]!r} is no SHA-256: 64 hexadecimal digits in lower case")
    blobs, org = call.engine.blobs, call.caller.org
    known = await blobs.find(org, sha256)
    expects = "Expect" in request.headers
    if known is not None and expects:
        answer = _shown(known, 200)
        answer.force_close()  # the body, which nobody wants, would be taken for the next request
        return answer
    limit = call.settings.limits.blob_bytes
    if (request.content_length or 0) > limit:
        raise json_body.too_large(limit)
    blobs.make_room(0 if known else request.content_length or 0)
    if expects:
        await _go_on(request)
    try:
        row = await blobs.receive(org, sha256, json_body.chunks(request, limit))
    except WrongSum as wrong:
        raise _wrong(str(wrong), sha256=wrong.found) from None
    return _shown(row, 200 if known else 201)


async def get(call: Call[None, None]) -> web.StreamResponse:
    """The file; parts of it by `Range`. HEAD says whether it is known, so that it need not be sent again."""
    row = await call.engine.blobs.find(call.caller.org, call.id) if SHA256.fullmatch(call.id) else None
    if row is None:
        raise not_found(f"there is no blob {call.id[:100]}")
    headers = {**SAFE, "Content-Type": BYTES, "Content-Disposition": f'attachment; filename="{row.sha256}"'}
    return web.FileResponse(call.engine.blobs.path(row.sha256), headers=headers)


async def name_app(call: Call[None, AppSpec]) -> web.Response:
    """From now on `app_version_id` in a job's params stands for this file. 201 for a new name, 200 for a known one.

    Jobs that were submitted before keep the file that they were submitted with.
    """
    name, caller, spec = call.id, call.caller, call.body
    if not (len(name) <= NAME_CHARS and name.isprintable()):
        raise Problem(422, f"an app_version_id has 1 to {NAME_CHARS} printable characters")
    if caller.org is not None and spec.org_id not in (None, caller.org):
        raise Forbidden(f"org {spec.org_id} is not yours; leave org_id out, or make it {caller.org}")
    app = AppRow(caller.org or spec.org_id or "default", name, spec.blob, now().wall)
    new = await call.engine.blobs.name(caller.org, app)
    row = await call.engine.reader.blob(None, spec.blob)
    return reply(_app(app._replace(size=row.size if row else None)), 201 if new else 200)


async def apps(call: Call[PageQuery, None]) -> web.Response:
    """Names of builds, those given last first."""
    try:
        rows, cursor = await call.engine.reader.apps(call.caller.org, call.query.limit, call.query.cursor)
    except BadCursor as bad:
        raise at_parameter("cursor", str(bad)) from None
    return reply({"apps": [_app(row) for row in rows], "next_cursor": cursor})


async def ask_first(request: web.Request) -> None:
    """In the place of aiohttp's own answer to `Expect`: the handler says when the body may come."""


def _wrong(detail: str, **more: Any) -> Problem:
    return Problem(422, detail, [{"parameter": "sha256", "detail": detail}], **more)


async def _go_on(request: web.Request) -> None:
    expected = request.headers["Expect"]
    if expected.lower() != "100-continue":
        raise Problem(417, f"Expect: {expected[:100]} is not known here, only 100-continue")
    await request.writer.write(GO_ON)
    request.writer.output_size = 0  # it is no part of the answer


def _shown(row: BlobRow, status: int) -> web.Response:
    return reply({"sha256": row.sha256, "size": row.size}, status, {"Location": f"/v1/blobs/{row.sha256}"})


def _app(row: AppRow) -> dict[str, Any]:
    shown = {"app_version_id": row.name, "org_id": row.org_id, "blob": row.sha256, "size": row.size}
    return {**shown, "updated_at": timestamp(row.at)}


UPLOAD = (400, 408, 413, 415, 417, 422, 503, 507)
ROUTES = (
    Route(
        "PUT",
        "/v1/blobs/{sha256}",
        put,
        "Upload a file: a build, a project (tar), a matrix (.npy)",
        returns=schema.Blob,
        status=201,
        takes=BYTES,
        expect=ask_first,
        also=((200, "it is known already"),),
        errors=UPLOAD,
    ),
    Route("HEAD", "/v1/blobs/{sha256}", get, "Whether a file is known", media=BYTES, errors=(404,)),
    Route("GET", "/v1/blobs/{sha256}", get, "An uploaded file", media=BYTES, errors=(404,)),
    Route(
        "PUT",
        "/v1/apps/{app_version_id}",
        name_app,
        "Name a build",
        returns=schema.App,
        body=AppSpec,
        status=201,
        also=((200, "the name stood for another file before, or for the same"),),
        errors=(400, 403, 408, 413, 422, 503, 507),
    ),
    Route("GET", "/v1/apps", apps, "Names of builds", returns=schema.Apps, query=PageQuery, errors=(422,)),
)
