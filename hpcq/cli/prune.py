"""`hpcq prune`: remove now what the server's retention does not keep."""

from typing import TYPE_CHECKING

import click

from hpcq.cli.calls import json_option, remote
from hpcq.cli.output import print_json

if TYPE_CHECKING:
    from hpcq.client import Client


@click.command()
@click.option("--dry-run", is_flag=True, help="Remove nothing; only say how much would go.")
@json_option
@remote
async def prune(client: "Client", *, dry_run: bool, as_json: bool) -> None:
    """Remove old jobs, events, outputs, artifacts and uploads, as `[retention]` says.

    The server does this by itself every hour.
    """
    freed = await client.prune(dry_run=dry_run)
    if as_json:
        print_json(freed)
        return
    verb = "would go" if dry_run else "gone"
    jobs, folders, size = freed["jobs"], freed["folders"], freed["bytes"]
    files = f"{folders} folders and {freed['blobs']} uploads with {size:,} bytes"
    click.echo(f"{verb}: {jobs} jobs, {freed['events']} events, {files}")
