"""What a job wrote: its output, also while it is being written, and its artifacts."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
from aiohttp import web

from hpcq.api import schema
from hpcq.api.jobs import find
from hpcq.api.problem import not_found
from hpcq.api.query import OutputQuery
from hpcq.api.table import Call, Route, reply
from hpcq.core.job import ACTIVE, FINAL
from hpcq.engine.files import JobFolder, job_folder
from hpcq.store.rows import JobRow

CHUNK = 256 * 1024
LOOK_S = 0.2  # how often an output that is followed is looked at
STUCK_S = 30.0  # a reader that takes nothing for so long is cut off
MARKER = b"\n[hpcq: the output was cut here; more than is kept was written]\n"
SAFE = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox; default-src 'none'"}


async def output(call: Call[OutputQuery, None]) -> web.StreamResponse:
    """stdout and stderr of the newest attempt, or of `attempt`; with `follow` of all that come until the job is final.

    The header Hpcq-Attempt says which attempt the answer begins with.
    """
    row, query = await find(call), call.query
    number = query.attempt or row.history.attempt
    if query.attempt and query.attempt > row.history.attempt and not (query.follow and row.state not in FINAL):
        raise not_found(f"job {row.id} has no attempt {query.attempt}; its newest is {row.history.attempt}")
    response = web.StreamResponse(
        headers={**SAFE, "Content-Type": "text/plain; charset=utf-8", "Hpcq-Attempt": str(max(1, number))}
    )
    await response.prepare(call.request)
    pieces = _followed(call, row, number) if query.follow else _written(call, row, number, query.offset)
    with contextlib.suppress(ConnectionError):  # a reader may leave at any time
        async for piece in pieces:
            async with asyncio.timeout(STUCK_S):
                await response.write(piece)
        await response.write_eof()
    return response


async def artifacts(call: Call[None, None]) -> web.Response:
    """The files that the job left."""
    return reply({"artifacts": _listed(await find(call))})


async def artifact(call: Call[None, None]) -> web.StreamResponse:
    """One of them, as a download; `name` may contain /."""
    row, name = await find(call), call.request.match_info["name"]
    folder = _folder(call, row).artifacts
    path = folder / name
    if not any(entry["name"] == name for entry in _listed(row)) or not await asyncio.to_thread(_inside, path, folder):
        raise not_found(f"job {row.id} has no artifact {name}")
    disposition = f"attachment; filename*=UTF-8''{quote(path.name, safe='')}"
    headers = {**SAFE, "Content-Disposition": disposition, "Content-Type": "application/octet-stream"}
    return web.FileResponse(path, headers=headers)


async def _written(call: Call[Any, Any], row: JobRow, number: int, offset: int) -> AsyncIterator[bytes]:
    """What is there now of one attempt's output."""
    async for piece in _pieces(_folder(call, row).output(number), offset):
        yield piece
    if await _is_cut(call, row, number):
        yield MARKER


async def _followed(call: Call[OutputQuery, None], row: JobRow, number: int) -> AsyncIterator[bytes]:
    """The outputs of all attempts from `number` on, as they grow; only one when the request names it."""
    offset, only = call.query.offset, call.query.attempt
    number = max(1, number)
    while True:
        over = row.history.attempt > number or (row.history.attempt == number and row.state not in ACTIVE)
        async for piece in _pieces(_folder(call, row).output(number), offset):
            offset += len(piece)
            yield piece
        if over and await _is_cut(call, row, number):
            yield MARKER
        if (row.state in FINAL and row.history.attempt <= number) or (over and only):
            return
        if over:
            number, offset = number + 1, 0
        else:
            await call.engine.watchers.wait_final([row.id], LOOK_S)
        row = await find(call)


async def _pieces(path: Path, offset: int) -> AsyncIterator[bytes]:
    """A file from `offset` to its present end; nothing when there is no file."""
    while piece := await asyncio.to_thread(_read, path, offset):
        offset += len(piece)
        yield piece


def _read(path: Path, offset: int) -> bytes:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.pread(file, CHUNK, offset)
    except OSError:  # an offset beyond what files can have
        return b""
    finally:
        os.close(file)


async def _is_cut(call: Call[Any, Any], row: JobRow, number: int) -> bool:
    live = call.engine.floor.live.get(row.job)
    if live is not None and live.attempt == number:
        return live.truncated
    tries = await call.engine.reader.attempts(call.caller.org, row.id)
    return any(bool(done.truncated) for done in tries if done.attempt == number)


def _listed(row: JobRow) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = orjson.loads(row.artifacts) if row.artifacts else []
    return found


def _folder(call: Call[Any, Any], row: JobRow) -> JobFolder:
    return job_folder(call.engine.around.data_dir, row.id)


def _inside(path: Path, folder: Path) -> bool:
    """A regular file, reached through no link."""
    return path.is_file() and path.resolve() == folder.resolve() / path.relative_to(folder)


ROUTES = (
    Route(
        "GET",
        "/v1/jobs/{id}/output",
        output,
        "What a job printed",
        query=OutputQuery,
        media="text/plain",
        errors=(404, 422),
    ),
    Route("GET", "/v1/jobs/{id}/artifacts", artifacts, "A job's files", returns=schema.Artifacts, errors=(404,)),
    Route(
        "GET",
        "/v1/jobs/{id}/artifacts/{name:.+}",
        artifact,
        "One of a job's files",
        media="application/octet-stream",
        errors=(404,),
    ),
)
