"""`hpcq devices`: the phones and emulators, and what became of them."""

from typing import TYPE_CHECKING, Any

import click

from hpcq.cli.calls import json_option, remote
from hpcq.cli.groups import ListingGroup
from hpcq.cli.output import clean, print_json, table

if TYPE_CHECKING:
    from hpcq.client import Client

LABELS = ("model", "api", "abi")
SUM_CHARS = 12  # of a build's


@click.group(cls=ListingGroup)
def devices() -> None:
    """Show the devices; put one back to work."""


@devices.command(name="list")
@json_option
@remote
async def show(client: "Client", *, as_json: bool) -> None:
    """Show all devices."""
    found = await client.devices()
    if as_json:
        print_json(found)
    else:
        table(
            ("device", "queue", "kind", "state", "labels", "serial", "battery", "app", "job", "note"), map(_row, found)
        )


def _row(device: dict[str, Any]) -> tuple[object, ...]:
    labels = device.get("labels") or {}
    own = [f"{name}={value}" for name, value in sorted(labels.items()) if name not in (*LABELS, "kind", "device")]
    battery = device.get("battery")
    return (
        device["name"],
        device.get("queue"),
        device.get("kind"),
        device.get("state"),
        " ".join([*(labels[name] for name in LABELS if labels.get(name)), *own]),
        device.get("serial") or "",
        "" if battery is None else f"{battery} %",
        _app(device.get("app") or {}),
        device.get("job") or "",
        device.get("reason") or "",
    )


def _app(app: dict[str, Any]) -> str:
    words = (app.get("package"), app.get("version"), str(app.get("sha256") or "")[:SUM_CHARS])
    return " ".join(word for word in words if word)


@devices.command()
@click.argument("name")
@json_option
@remote
async def ready(client: "Client", *, name: str, as_json: bool) -> None:
    """Say that a device is fit again, after it was put into quarantine."""
    device = await client.change_device(name, state="ready")
    if as_json:
        print_json(device)
    else:
        note = f": {device['reason']}" if device.get("reason") else ""
        click.echo(clean(f"{device['name']}: {device['state']}{note}"))
