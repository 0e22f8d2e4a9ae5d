"""`hpcq show`: all about a job."""

from typing import TYPE_CHECKING, Any

import click

from hpcq.cli.calls import json_option, remote
from hpcq.cli.options import JOB
from hpcq.cli.output import compact, duration, pairs, print_json, table, title

if TYPE_CHECKING:
    from hpcq.client import Client, Job

TIMES = ("created_at", "run_at", "expires_at", "started_at", "finished_at")


@click.command()
@click.argument("ids", nargs=-1, required=True, type=JOB)
@json_option
@remote
async def show(client: "Client", *, ids: tuple[str, ...], as_json: bool) -> None:
    """Show jobs: what they are, how they stand, every attempt."""
    jobs = [await client.job(await client.find(word)) for word in ids]
    if as_json:
        print_json(jobs[0] if len(jobs) == 1 else jobs)
        return
    for place, job in enumerate(jobs):
        if place:
            click.echo()
        pairs(_pairs(job))
        if job["attempt"] > 1:
            tries = await client.attempts(job["id"])
            table(("attempt", "state", "slot", "ran", "why"), [_attempt(one) for one in tries])


def _pairs(job: "Job") -> list[tuple[str, object]]:
    error = job.get("error") or {}
    usage = job.get("usage") or {}
    return [
        ("job", f"#{job['number']}  {job['id']}"),
        ("name", title(job)),
        ("state", job["state"]),
        ("why", f"{error.get('type')}: {error.get('message')}" if error else None),
        ("queue", f"{job['queue']} ({job.get('runner')})"),
        ("slot", job.get("slot")),
        ("priority", job["priority"]),
        ("org", job.get("org_id")),
        ("tags", ", ".join(f"{key}={value}" for key, value in (job.get("tags") or {}).items())),
        ("params", compact(job.get("params"))),
        ("depends on", compact(job.get("depends_on"))),
        ("resources", compact(job.get("resources"))),
        ("requires", compact(job.get("requires"))),
        ("attempt", f"{job['attempt']} ({job.get('retries_left')} retries left)"),
        ("timeout", duration(job["timeout_s"]) if job.get("timeout_s") else None),
        *((name.removesuffix("_at"), job.get(name)) for name in TIMES),
        ("waited", duration(job.get("wait_s"))),
        ("ran", duration(job["run_s"]) if job.get("run_s") is not None else None),
        ("usage", ", ".join(f"{key} {value:g}" for key, value in usage.items() if value is not None)),
        ("progress", compact(job.get("progress"))),
        ("result", compact(job.get("result"))),
        ("artifacts", ", ".join(str(one.get("name")) for one in job.get("artifacts") or [])),
    ]


def _attempt(one: dict[str, Any]) -> tuple[object, ...]:
    error = one.get("error") or {}
    why = f"{error.get('type')}: {error.get('message')}" if error else "-"
    return one.get("attempt"), one.get("state"), one.get("slot"), duration(one.get("run_s")), why
