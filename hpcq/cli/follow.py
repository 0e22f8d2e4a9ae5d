"""Show what jobs print while they run, and how they ended."""

import errno
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from hpcq.cli.output import Cleaner, clean, compact, duration, say, silence, title

if TYPE_CHECKING:
    from hpcq.client import Client, Job

Write = Callable[[bytes], None]


def writer(*, raw: bool, stderr: bool = False, unread: bool = False) -> Write:
    """Writes a job's bytes to stdout: as they are, or made harmless. An empty chunk ends an attempt.

    What is promised for the end outlasts the terminal; with `unread` also who reads from a pipe (`| head`)."""
    cleaner = Cleaner()

    def write(chunk: bytes) -> None:
        try:
            click.echo(chunk if raw else cleaner.feed(chunk, last=not chunk), nl=False, err=stderr)
        except OSError as error:
            if error.errno != errno.EIO and not unread:
                raise
            silence(sys.stderr if stderr else sys.stdout)

    return write


async def follow(client: "Client", job_id: str, write: Write, *, attempt: int = 1) -> "Job":
    """Write what `attempt` and all later ones print, until the job is final; then the job."""
    while True:
        async for chunk in client.output(job_id, attempt=attempt, follow=True):
            write(chunk)
        write(b"")
        job = await client.job(job_id)
        if job.get("finished_at") and job["attempt"] <= attempt:
            return job
        attempt += 1


def ending(job: "Job") -> str:
    """One line: how a job ended."""
    tries = f", attempt {job['attempt']}" if job["attempt"] > 1 else ""
    took = f" in {duration(job.get('run_s'))}" if job.get("run_s") is not None else ""
    error = job.get("error") or {}
    why = f": {error.get('type')}: {error.get('message')}" if error else ""
    return clean(f"#{job['number']} {title(job)} {job['state']}{took}{tries}{why}")


def say_endings(jobs: "list[Job]", most: int = 20) -> None:
    """A line for each job that did not succeed, and the count."""
    bad = [job for job in jobs if job["state"] != "succeeded"]
    for job in bad[:most]:
        say(ending(job))
    if len(bad) > most:
        say(f"… and {len(bad) - most} more that did not succeed")
    if len(jobs) == 1 and not bad and (result := compact(jobs[0].get("result"))):
        say(f"result: {result}")
    say(f"{len(jobs) - len(bad)} of {len(jobs)} succeeded")
