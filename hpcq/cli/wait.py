"""`hpcq wait`: until jobs are final."""

from typing import TYPE_CHECKING

import click

from hpcq.cli.calls import Code, json_option, remote, verdict
from hpcq.cli.follow import say_endings
from hpcq.cli.options import DURATION, JOB, tag_option
from hpcq.cli.output import busy, many, print_json, say
from hpcq.cli.submit import left_running

if TYPE_CHECKING:
    from hpcq.client import Client, Job


@click.command()
@click.argument("ids", nargs=-1, type=JOB)
@tag_option
@click.option("--timeout", "timeout_s", type=DURATION, help="Give up after so long: exit code 124.")
@json_option
@remote
async def wait(
    client: "Client", *, ids: tuple[str, ...], tags: tuple[tuple[str, str], ...], timeout_s: float | None, as_json: bool
) -> int | None:
    """Wait until jobs are final; the exit code says how they ended."""
    if bool(ids) == bool(tags):
        raise click.UsageError("give either job ids or --tag")
    try:
        jobs = await (_by_tag(client, dict(tags), timeout_s) if tags else _by_id(client, ids, timeout_s))
    except TimeoutError:
        say(f"hpcq: gave up waiting after {timeout_s:g} s; the jobs go on")
        return Code.GAVE_UP
    if as_json:
        print_json(jobs)
    elif jobs:
        say_endings(jobs)
    return verdict(jobs)


async def _by_id(client: "Client", words: tuple[str, ...], timeout_s: float | None) -> "list[Job]":
    ids = [await client.find(word) for word in words]
    with busy(f"waiting for {many(len(ids), 'job')}"):
        try:
            return await client.wait(ids, timeout_s)
        except BaseException as error:
            if not isinstance(error, Exception):
                say(f"hpcq: {left_running(ids)}")
            raise


async def _by_tag(client: "Client", tags: dict[str, str], timeout_s: float | None) -> "list[Job]":
    from hpcq.client import Filter

    which = Filter(tags=tags)
    tag = " --tag ".join(f"{key}={value}" for key, value in tags.items())
    with busy("waiting") as words:

        def show(found: "dict[str, int]") -> None:
            words[0] = ", ".join(f"{count} {state}" for state, count in found.items() if count)

        try:
            found = await client.wait_all(which, timeout_s, on_change=lambda summary: show(summary["counts"]))
        except BaseException as error:
            if not isinstance(error, Exception):
                say(f"hpcq: the jobs go on without us; follow: hpcq wait --tag {tag}; end: hpcq cancel --tag {tag}")
            raise
    if not found["total"]:
        raise click.UsageError(f"no job has the tag {tag}")
    return [job async for job in client.jobs(which, oldest_first=True)]
