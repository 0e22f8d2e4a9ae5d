"""Queues: what stands in them, and pausing and scaling them."""

from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from hpcq.api import schema
from hpcq.api.table import Call, Route, reply
from hpcq.engine.spec import Int, Model

MOST_SLOTS = 10_000


class QueuePatch(Model):
    """Absent fields stay. `slots` null: as many as the file says."""

    paused: Annotated[bool, Field(strict=True)] = False
    slots: (
        Annotated[Int, Field(ge=0, le=MOST_SLOTS, json_schema_extra={"minimum": 0, "maximum": MOST_SLOTS})] | None
    ) = None


async def list_queues(call: Call[None, None]) -> web.Response:
    return reply({"queues": await call.engine.views.queues()})


async def show(call: Call[None, None]) -> web.Response:
    return reply(await call.engine.views.queue(call.id))


async def change(call: Call[None, QueuePatch]) -> web.Response:
    """Pause, resume, scale; kept over restarts."""
    given: set[str] = call.body.model_fields_set
    paused = call.body.paused if "paused" in given else None
    slots: Any = call.body.slots if "slots" in given else ...
    await call.engine.change_queue(call.id, paused, slots)
    return await show(call)  # type: ignore[arg-type]


ROUTES = (
    Route("GET", "/v1/queues", list_queues, "All queues", returns=schema.Queues),
    Route("GET", "/v1/queues/{name}", show, "A queue", returns=schema.Queue, errors=(404,)),
    Route(
        "PATCH",
        "/v1/queues/{name}",
        change,
        "Pause, resume or scale a queue",
        returns=schema.Queue,
        body=QueuePatch,
        body_optional=True,
        errors=(400, 404, 408, 413, 422, 503, 507),
    ),
)
