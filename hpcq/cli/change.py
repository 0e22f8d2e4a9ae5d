"""Doing one thing to jobs that are named by ids, or found by a filter."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from hpcq.cli.calls import Code, refused
from hpcq.cli.options import chosen
from hpcq.cli.output import busy, clean, print_json, title

if TYPE_CHECKING:
    from hpcq.client import Client, Job


async def each_job(
    client: "Client",
    action: str,
    words: tuple[str, ...],
    options: dict[str, Any],
    *,
    as_json: bool,
    patch: Mapping[str, Any] | None = None,
) -> int:
    """`cancel`, `retry` or `patch` the jobs; the exit code is 1 when one could not be."""
    from hpcq.client import Filter

    which = chosen(options)
    if bool(words) == (which != Filter()):
        raise click.UsageError("give either job ids, or options that choose jobs")
    if words:
        return await _named(client, action, words, patch, as_json=as_json)
    with busy(f"{action} …"):
        count = await client.act(action, which, patch)
    if as_json:
        print_json({"count": count})
    else:
        click.echo(f"{count} jobs" if count != 1 else "1 job")
    return Code.OK


async def _named(
    client: "Client", action: str, words: tuple[str, ...], patch: Mapping[str, Any] | None, *, as_json: bool
) -> int:
    from hpcq.client import Problem

    code, jobs = Code.OK, []
    for word in words:
        try:
            jobs.append(await _one(client, action, await client.find(word), patch))
        except Problem as problem:
            code = refused(problem)
    if as_json:
        print_json(jobs[0] if len(words) == 1 and jobs else jobs)
    else:
        for job in jobs:
            click.echo(clean(f"#{job['number']} {title(job)}: {job['state']}"))
    return code


async def _one(client: "Client", action: str, job_id: str, patch: Mapping[str, Any] | None) -> "Job":
    if action == "cancel":
        return await client.cancel(job_id)
    if action == "retry":
        return await client.retry(job_id)
    return await client.edit(job_id, patch or {})
