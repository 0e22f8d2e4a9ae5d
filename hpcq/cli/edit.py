"""`hpcq edit`: change how jobs are treated."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from hpcq.cli.calls import json_option, remote
from hpcq.cli.change import each_job
from hpcq.cli.options import DURATION, JOB
from hpcq.cli.specs import TREATMENT, treatment

if TYPE_CHECKING:
    from hpcq.client import Client


def _changes(function: Callable[..., Any]) -> Callable[..., Any]:
    limit = click.option("--timeout", "timeout_s", type=DURATION, help="Kill the job after so long.")
    for option in reversed((*TREATMENT, limit)):
        function = option(function)
    return function


@click.command()
@click.argument("ids", nargs=-1, required=True, type=JOB)
@_changes
@click.option("--untag", multiple=True, metavar="KEY", help="Take this tag away.")
@json_option
@remote
async def edit(client: "Client", *, ids: tuple[str, ...], as_json: bool, untag: tuple[str, ...], **options: Any) -> int:
    """Change jobs that are not final: priority, timeout, tags, …

    \b
    hpcq edit 7 --priority critical
    """
    patch = treatment(options)
    if not patch and not untag:
        raise click.UsageError("nothing to change: give an option, for instance --priority high")
    tags = patch.pop("tags", {})
    code = 0
    for word in ids:
        change = dict(patch)
        if tags or untag:  # a patch replaces all tags
            job = await client.job(await client.find(word))
            kept = {key: value for key, value in (job.get("tags") or {}).items() if key not in untag}
            change["tags"] = {**kept, **tags}
        code = max(code, await each_job(client, "patch", (word,), {}, as_json=as_json, patch=change))
    return code
