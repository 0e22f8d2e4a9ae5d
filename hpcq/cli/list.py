"""`hpcq list`: which jobs there are."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from hpcq.cli.calls import json_option, remote
from hpcq.cli.options import chosen, filter_options
from hpcq.cli.output import busy, clean, duration, print_json, say, table, title

if TYPE_CHECKING:
    from hpcq.client import Client, Job

COLUMNS = ("job", "state", "queue", "name", "prio", "try", "age", "ran", "note")
NAME = 40
NOTE = 60


@click.command(name="list")
@filter_options
@click.option("-n", "--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many.")
@click.option("--all", "everything", is_flag=True, help="However many there are.")
@click.option("--oldest-first", is_flag=True, help="Begin with the oldest.")
@click.option("--ids", is_flag=True, help="Print ids, one a line, and nothing else.")
@json_option
@remote
async def list_jobs(
    client: "Client", *, limit: int, everything: bool, oldest_first: bool, ids: bool, as_json: bool, **options: Any
) -> None:
    """List jobs, the newest first."""
    which = chosen(options)
    most = None if everything else limit
    with busy("reading") as words:
        jobs = []
        async for job in client.jobs(which, limit=most, oldest_first=oldest_first):
            jobs.append(job)
            words[0] = f"{len(jobs)} jobs"
    if as_json:
        print_json(jobs)
    elif ids:
        click.echo("\n".join(job["id"] for job in jobs), nl=bool(jobs))
    else:
        table(COLUMNS, map(_row, jobs), empty="no job")
        if len(jobs) == most:
            say(f"the first {most}; more with --limit N or --all")


def _row(job: "Job") -> tuple[object, ...]:
    return (
        job["number"],
        job["state"],
        job["queue"],
        _short(title(job), NAME),
        job["priority"],
        job["attempt"],
        _age(job),
        duration(job.get("run_s")),
        _short(note(job), NOTE),
    )


def _age(job: "Job") -> str:
    """Since it was submitted, by this machine's clock."""
    created = datetime.fromisoformat(job["created_at"])
    return duration(max(0, round((datetime.now(UTC) - created).total_seconds())))


def note(job: "Job") -> str:
    """What is worth knowing: why it failed, how far it is."""
    if error := job.get("error"):
        return f"{error.get('type')}: {error.get('message')}"
    progress = job.get("progress")
    if progress and not job.get("finished_at"):
        return f"{progress.get('done')}/{progress.get('total')} {progress.get('message') or ''}".strip()
    return ""


def _short(text: str, most: int) -> str:
    text = clean(text)
    return text if len(text) <= most else text[: most - 1] + "…"
