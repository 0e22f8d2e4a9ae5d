"""`hpcq doctor`: what is missing, and what mends it."""

from typing import TYPE_CHECKING, Any

import click

from hpcq.cli.calls import Code, json_option, remote
from hpcq.cli.output import many, print_json, say, table
from hpcq.cli.queues import unserved

if TYPE_CHECKING:
    from hpcq.client import Client

Finding = dict[str, str]


@click.command()
@json_option
@remote
async def doctor(client: "Client", *, as_json: bool) -> int:
    """Examine the server; exit code 0 when every queue in use could run, else 1."""
    health = await client.health()
    found = findings(health, await client.queues(), await client.runners())
    sick = [one for one in found if one["state"] == "missing"]
    if as_json:
        print_json({"ok": not sick, "findings": found, "health": health})
    else:
        table(("part", "state", "what, and what mends it"), [(one["part"], one["state"], one["note"]) for one in found])
        say(f"{many(len(sick), 'thing')} to mend" if sick else "all is well")
    return Code.FAILED if sick else Code.OK


def findings(health: dict[str, Any], queues: list[dict[str, Any]], runners: list[dict[str, Any]]) -> list[Finding]:
    """A line for each part: `missing` counts against the server; `unused` and `paused` do not."""
    parts = health.get("parts") or {}
    server = [
        _finding(name, "ok" if part.get("status") == "ok" else "missing", part.get("message"))
        for name, part in parts.items()
        if name not in ("queues", "runners")
    ]
    lanes = [_of_queue(queue, (parts.get("queues") or {}).get(queue["name"]) or {}) for queue in queues]
    broken = [
        _finding(f"runner {runner['name']}", "unused", runner.get("message"))
        for runner in runners
        if not runner.get("ready") and not runner.get("queues")
    ]
    return server + lanes + broken


def _of_queue(queue: dict[str, Any], part: dict[str, Any]) -> Finding:
    name, status = f"queue {queue['name']}", str(part.get("status") or "ok")
    if status == "degraded":
        return _finding(name, "missing", part.get("message") or queue.get("message"))
    if status != "unused" and (trouble := unserved(queue)):
        return _finding(name, "paused", trouble)
    return _finding(name, status, part.get("message"))


def _finding(part: str, state: str, note: object) -> Finding:
    return {"part": part, "state": state, "note": str(note or "")}
