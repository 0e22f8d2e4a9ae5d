"""Schedules: jobs that are submitted by the clock."""

from typing import Any

from aiohttp import web
from pydantic import ConfigDict

from hpcq.api import schema
from hpcq.api.table import Call, Route, json_of, reply
from hpcq.engine.schedule_spec import ScheduleSpec

CHANGES = (400, 404, 408, 409, 413, 422, 429, 503, 507)


def _all_optional(schema: dict[str, Any]) -> None:
    schema.pop("required", None)
    for field in schema["properties"].values():
        field.pop("default", None)


class SchedulePatch(ScheduleSpec):
    """What a change may name; absent fields stay."""

    model_config = ConfigDict(json_schema_extra=_all_optional)


async def list_schedules(call: Call[None, None]) -> web.Response:
    """All schedules, oldest first."""
    return reply({"schedules": await call.engine.schedules.list(call.caller.org)})


async def show(call: Call[None, None]) -> web.Response:
    """One schedule, with its last 20 runs."""
    return reply(await call.engine.schedules.get(call.caller.org, call.id))


async def create(call: Call[None, None]) -> web.Response:
    """Make one; its jobs are checked to the last field."""
    made = await call.engine.schedules.create(call.caller.org, await _raw(call))
    return reply(made, 201, {"Location": f"/v1/schedules/{made['id']}"})


async def change(call: Call[None, None]) -> web.Response:
    """Change what the body names; the rest stays."""
    return reply(await call.engine.schedules.patch(call.caller.org, call.id, await _raw(call)))


async def delete(call: Call[None, None]) -> web.Response:
    """Forget it; its jobs stay."""
    await call.engine.schedules.delete(call.caller.org, call.id)
    return web.Response(status=204)


async def run(call: Call[None, schema.Nothing]) -> web.Response:
    """Submit its jobs now, also while it is paused."""
    ids = await call.engine.schedules.run(call.caller.org, call.id)
    return reply({"count": len(ids), "ids": ids}, 201)


async def _raw(call: Call[Any, Any]) -> Any:
    return await json_of(call.request, call.settings.limits.body_bytes)


ROUTES = (
    Route("GET", "/v1/schedules", list_schedules, "All schedules", returns=schema.Schedules),
    Route(
        "POST",
        "/v1/schedules",
        create,
        "Make a schedule",
        returns=schema.Schedule,
        status=201,
        body=ScheduleSpec,
        reads_itself=True,
        errors=CHANGES,
    ),
    Route(
        "GET", "/v1/schedules/{id}", show, "A schedule and its last runs", returns=schema.ScheduleShown, errors=(404,)
    ),
    Route(
        "PATCH",
        "/v1/schedules/{id}",
        change,
        "Change a schedule",
        returns=schema.Schedule,
        body=SchedulePatch,
        reads_itself=True,
        errors=CHANGES,
    ),
    Route("DELETE", "/v1/schedules/{id}", delete, "Forget a schedule", status=204, errors=(404, 503, 507)),
    Route(
        "POST",
        "/v1/schedules/{id}/run",
        run,
        "Submit a schedule's jobs now",
        returns=schema.Submitted,
        status=201,
        body=schema.Nothing,
        body_optional=True,
        errors=CHANGES,
    ),
)
