"""`hpcq queues`: the lanes, and what can be done to them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from hpcq.cli.calls import json_option, remote
from hpcq.cli.groups import ListingGroup
from hpcq.cli.output import clean, duration, print_json, table

if TYPE_CHECKING:
    from hpcq.client import Client

WAITING = ("queued", "delayed", "blocked")
ACTIVE = ("starting", "running", "cancelling")


@click.group(cls=ListingGroup)
def queues() -> None:
    """Show the queues; pause, resume or scale one."""


@queues.command(name="list")
@json_option
@remote
async def show(client: "Client", *, as_json: bool) -> None:
    """Show all queues."""
    found = await client.queues()
    if as_json:
        print_json(found)
    else:
        columns = ("queue", "runner", "state", "slots", "active", "waiting", "oldest waits", "note")
        table(columns, map(_row, found))


def _row(queue: dict[str, Any]) -> tuple[object, ...]:
    counts = queue.get("counts") or {}
    return (
        queue["name"],
        queue.get("runner"),
        "paused" if queue.get("paused") else "ready" if queue.get("ready", True) else "missing",
        _slots(queue),
        sum(counts.get(state, 0) for state in ACTIVE),
        sum(counts.get(state, 0) for state in WAITING),
        duration(queue.get("oldest_wait_s")),
        queue.get("paused_reason") or queue.get("message") or "",
    )


def _slots(queue: dict[str, Any]) -> str:
    """`3`, or `3 (file: 2)` where a live change holds."""
    file = queue.get("file_slots")
    return (
        f"{queue.get('slots')} (file: {'auto' if file is None else file})"
        if queue.get("slots_changed")
        else f"{queue.get('slots')}"
    )


def unserved(queue: Mapping[str, Any]) -> str | None:
    """Why nobody serves a queue, if nobody does."""
    if queue.get("paused"):
        because = f" ({queue['paused_reason']})" if queue.get("paused_reason") else ""
        return f"paused{because}: its jobs wait until `hpcq queues resume {queue['name']}`"
    if not queue.get("ready", True):
        why = queue.get("message") or "its runner says no more"
        return f"not ready: {why}: its jobs wait until that is mended (`hpcq doctor`)"
    if not queue.get("slots"):
        return f"no slots: its jobs wait until `hpcq queues scale {queue['name']} N`"
    return None


@queues.command()
@click.argument("name")
@json_option
@remote
async def pause(client: "Client", *, name: str, as_json: bool) -> None:
    """Start no more jobs of a queue; running ones finish."""
    _print(await client.change_queue(name, paused=True), as_json=as_json)


@queues.command()
@click.argument("name")
@json_option
@remote
async def resume(client: "Client", *, name: str, as_json: bool) -> None:
    """Start jobs of a queue again."""
    _print(await client.change_queue(name, paused=False), as_json=as_json)


@queues.command()
@click.argument("name")
@click.argument("slots")
@json_option
@remote
async def scale(client: "Client", *, name: str, slots: str, as_json: bool) -> None:
    """Give a queue SLOTS slots; `auto` is what the configuration says."""
    if slots != "auto" and not slots.isdecimal():
        raise click.UsageError(f"{slots!r}: a whole number of slots, or auto")
    _print(await client.change_queue(name, slots=None if slots == "auto" else int(slots)), as_json=as_json)


def _print(queue: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(queue)
    else:
        state = "paused" if queue.get("paused") else "open"
        click.echo(clean(f"{queue['name']}: {state}, {_slots(queue)} slots"))
