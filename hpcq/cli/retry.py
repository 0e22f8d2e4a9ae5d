"""`hpcq retry`: run final jobs again."""

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
async def retry(client: "Client", *, ids: tuple[str, ...], as_json: bool, **options: Any) -> int:
    """Run jobs that are final again, under the same ids.

    \b
    hpcq retry 7
    hpcq retry --tag night=12 --state failed        # all that failed
    """
    return await each_job(client, "retry", ids, options, as_json=as_json)
