"""`hpcq explain`: why a job is not running."""

from typing import TYPE_CHECKING, Any

import click

from hpcq.cli.calls import json_option, remote
from hpcq.cli.options import JOB
from hpcq.cli.output import clean, print_json, say, title

if TYPE_CHECKING:
    from hpcq.client import Client, Job

WAITING = ("queued", "blocked", "delayed")


@click.command()
@click.argument("ids", nargs=-1, type=JOB)
@json_option
@remote
async def explain(client: "Client", *, ids: tuple[str, ...], as_json: bool) -> None:
    """Say every reason why a job is not running.

    Without an id: for the oldest waiting job of each queue."""
    jobs = [await client.job(await client.find(word)) for word in ids] if ids else await _oldest(client)
    found = [await client.explain(job["id"]) for job in jobs]
    if as_json:
        print_json(found[0] if len(ids) == 1 else found)
        return
    if not jobs:
        say("no job waits")
    for place, (job, reasons) in enumerate(zip(jobs, found, strict=True)):
        if place:
            click.echo()
        _print(job, reasons)


async def _oldest(client: "Client") -> "list[Job]":
    from hpcq.client import Filter

    jobs = []
    for queue in await client.queues():
        for state in WAITING:  # one that is queued says most
            which = Filter(states=(state,), queues=(queue["name"],))
            first = [job async for job in client.jobs(which, limit=1, oldest_first=True)]
            if first:
                jobs += first
                break
    return jobs


def _print(job: "Job", found: dict[str, Any]) -> None:
    click.echo(clean(f"#{job['number']} {title(job)} in {job['queue']}: {found['state']}"))
    for reason in found["reasons"]:
        until = f" (until {reason['until']})" if reason.get("until") else ""
        click.echo(clean(f"  {reason['code']}: {reason['message']}{until}{_holders(reason)}"))
    if found.get("estimated_start"):
        click.echo(clean(f"  should start: {found['estimated_start']}"))
    for suggestion in found.get("suggestions") or []:
        click.echo(clean(f"  try: {suggestion}"))


def _holders(reason: dict[str, Any]) -> str:
    """Who holds what the job waits for; jobs of other orgs are a count."""
    holders = [str(holder) for holder in reason.get("holders") or []]
    others = int(reason.get("others") or 0)
    named = holders[:3] + ([f"{len(holders) - 3} more"] if len(holders) > 3 else [])
    named += [f"{others} of other orgs"] if others else []
    return f"; held by {', '.join(named)}" if named else ""
