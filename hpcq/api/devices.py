"""Devices: what they are, how they are, and putting one back to work that was put aside."""

from typing import Literal

from aiohttp import web

from hpcq.api import schema
from hpcq.api.table import Call, Route, reply
from hpcq.engine import devices
from hpcq.engine.spec import Model


class DevicePatch(Model):
    """`ready`: it is fit again; its runner tries it."""

    state: Literal["ready"]


async def list_devices(call: Call[None, None]) -> web.Response:
    return reply({"devices": devices.devices(call.engine, call.caller.org)})


async def show(call: Call[None, None]) -> web.Response:
    return reply(devices.device(call.engine, call.caller.org, call.id))


async def change(call: Call[None, DevicePatch]) -> web.Response:
    """Release it from quarantine."""
    await devices.readmit(call.engine, call.id)
    return await show(call)  # type: ignore[arg-type]


ROUTES = (
    Route("GET", "/v1/devices", list_devices, "All devices", returns=schema.Devices),
    Route("GET", "/v1/devices/{name}", show, "A device", returns=schema.Device, errors=(404,)),
    Route(
        "PATCH",
        "/v1/devices/{name}",
        change,
        "Say that a device is fit again",
        returns=schema.Device,
        body=DevicePatch,
        errors=(400, 404, 408, 413, 422, 503),
    ),
)
