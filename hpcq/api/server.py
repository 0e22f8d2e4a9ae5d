"""The server itself: root, health, runners, figures."""

from dataclasses import asdict
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from hpcq.api import schema
from hpcq.api.caller import CALLER
from hpcq.api.table import Call, Route, reply
from hpcq.engine.spec import Model


class PruneSpec(Model):
    """How to prune."""

    dry_run: Annotated[bool, Field(strict=True)] = False


async def root(call: Call[None, None]) -> web.Response:
    """A sign of life for programs; a browser is led to the docs."""
    headers = call.request.headers
    browser = "text/html" in headers.get("Accept", "") or headers.get("Sec-Fetch-Dest") == "document"
    if not browser:  # programs often say no more than */*
        return reply({"status": "API is ready"})
    return web.Response(status=302, headers={"Location": "/docs"})


async def health(call: Call[None, None]) -> web.Response:
    """200 with `ok` or `degraded` and the parts; 503 only when no job can be taken. Strangers see the status alone."""
    found: dict[str, Any] = call.engine.views.health()
    shown = found if CALLER in call.request else {"status": found["status"]}
    return reply(shown, 200 if found["accepting"] else 503, {"Cache-Control": "no-store"})


async def runners(call: Call[None, None]) -> web.Response:
    """All runners, the broken ones with the reason."""
    return reply({"runners": call.engine.views.runners()})


async def stats(call: Call[None, None]) -> web.Response:
    """Figures of the whole server."""
    return reply(await call.engine.views.stats())


async def prune(call: Call[None, PruneSpec]) -> web.Response:
    """Remove what retention does not keep, now; `dry_run`: only say how much that would be."""
    freed = await call.engine.supervision.prune(dry_run=call.body.dry_run)
    return reply(asdict(freed))


ROUTES = (
    Route(
        "POST",
        "/v1/prune",
        prune,
        "Remove what retention does not keep",
        returns=schema.Freed,
        body=PruneSpec,
        body_optional=True,
        errors=(400, 408, 413, 422, 503, 507),
    ),
    Route(
        "GET", "/", root, "Whether the API is ready", returns=schema.Root, also=((302, "a browser is led to /docs"),)
    ),
    Route("GET", "/health", health, "Health, with parts", returns=schema.Health, errors=()),
    Route("GET", "/v1/runners", runners, "All runners", returns=schema.Runners),
    Route("GET", "/v1/stats", stats, "Figures of the server", returns=schema.Stats),
)
