"""`hpcq cancel`: end jobs, also running ones."""

from typing import TYPE_CHECKING, Any

import click

from hpcq.cli.calls import json_option, remote
from hpcq.cli.change import each_job
from hpcq.cli.options import JOB, filter_options

if TYPE_CHECKING:
    from hpcq.client import Client


@click.command()
@click.argument("ids", nargs=-1, type=JOB)
@filter_options
@json_option
@remote
async def cancel(client: "Client", *, ids: tuple[str, ...], as_json: bool, **options: Any) -> int:
    """Cancel jobs: a running one with its whole process tree."""
    return await each_job(client, "cancel", ids, options, as_json=as_json)
