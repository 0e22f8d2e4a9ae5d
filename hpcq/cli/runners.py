"""`hpcq runners` and `hpcq stats`."""

from typing import TYPE_CHECKING, Any

import click

from hpcq.cli.calls import json_option, remote
from hpcq.cli.output import compact, pairs, print_json, table

if TYPE_CHECKING:
    from hpcq.client import Client


@click.command()
@json_option
@remote
async def runners(client: "Client", *, as_json: bool) -> None:
    """Show the runners: which kinds of work this server knows, and what they lack."""
    found = await client.runners()
    if as_json:
        print_json(found)
    else:
        table(("runner", "state", "version", "queues", "note"), map(_row, found), empty="no runner")


def _row(runner: dict[str, Any]) -> tuple[object, ...]:
    return (
        runner.get("name"),
        "ready" if runner.get("ready") else "missing",
        runner.get("version"),
        ", ".join(str(queue) for queue in runner.get("queues") or []),
        runner.get("message") or "",
    )


@click.command()
@json_option
@remote
async def stats(client: "Client", *, as_json: bool) -> None:
    """Show figures about the server's work."""
    found = await client.stats()
    if as_json:
        print_json(found)
    else:
        pairs(_flat(found))


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    for key, value in values.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{key}.")
        else:
            rows.append((prefix + key, compact(value)))
    return rows
