"""`hpcq logs`: what a job printed."""

from typing import TYPE_CHECKING

import click

from hpcq.cli.calls import remote, verdict
from hpcq.cli.follow import ending, follow, writer
from hpcq.cli.options import JOB
from hpcq.cli.output import say

if TYPE_CHECKING:
    from hpcq.client import Client


@click.command()
@click.argument("job", type=JOB)
@click.option("-f", "--follow", "live", is_flag=True, help="Go on until it is final; the exit code says how it ended.")
@click.option("--attempt", type=click.IntRange(1), help="Of this attempt.  [default: the newest]")
@click.option("--raw", is_flag=True, help="The bytes as they are, control characters included.")
@remote
async def logs(client: "Client", *, job: str, live: bool, attempt: int | None, raw: bool) -> int | None:
    """Print a job's output (stdout and stderr are one)."""
    job_id = await client.find(job)
    write = writer(raw=raw)
    shown = await client.job(job_id)
    if live and attempt is None:
        ended = await follow(client, job_id, write, attempt=max(1, shown["attempt"]))
        say(ending(ended))
        return verdict([ended])
    if not shown["attempt"]:
        say(f"#{shown['number']} has not run: {shown['state']}; see why: hpcq explain {shown['number']}")
        return None
    async for chunk in client.output(job_id, attempt=attempt, follow=live):
        write(chunk)
    write(b"")
    return None
