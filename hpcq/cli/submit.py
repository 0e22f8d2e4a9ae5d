"""`hpcq submit`: put jobs into a queue."""

from typing import TYPE_CHECKING, Any

import click

from hpcq.cli.calls import json_option, remote, verdict
from hpcq.cli.follow import say_endings
from hpcq.cli.output import busy, many, print_json, say
from hpcq.cli.specs import Spec, build, job_options, reads_stdin_twice, refuse_terminal, resolve
from hpcq.cli.testjobs import build_params, options_of_tests, refuse_alone, specs_of_tests

if TYPE_CHECKING:
    from hpcq.client import Client


@click.command(context_settings={"ignore_unknown_options": False})
@job_options("--timeout")
@options_of_tests
@click.option("--wait", is_flag=True, help="Wait until it is final; the exit code says how it ended.")
@json_option
@remote
async def submit(client: "Client", *, as_json: bool, wait: bool, **options: Any) -> int | None:
    """Submit a job, or many, and print their ids.

    \b
    hpcq submit -- make test
    hpcq submit 'grep -c error *.log'               # one word that is a line: for sh -c
    hpcq submit --queue compute --params '{"operation": "matmul", "size": 512}'
    hpcq submit --each grid.csv -- python sim.py --a {a}
    hpcq submit -f jobs.toml
    hpcq submit --test tests/onboarding.spec.js --app-version-id xyz123 --queue emulator --priority high
    """
    specs = await prepared(client, options)
    if not options["file"] and not options["each"] and len(specs) == 1:
        job: dict[str, Any] = dict(await client.submit(specs[0]))
        ids = job.get("ids") or [job["id"]]  # of the jobs that one with split has become
        if as_json and not wait:
            print_json(job)
    else:
        with busy(f"submitting {many(len(specs), 'job')}"):
            ids = await client.submit_many(specs, key=options["idempotency_key"])
        if as_json and not wait:
            print_json({"count": len(ids), "ids": ids})
    if not as_json:
        click.echo("\n".join(ids))
    return await _waited(client, ids, as_json=as_json) if wait else None


async def prepared(client: "Client", options: dict[str, Any]) -> list[Spec]:
    """The jobs that the options describe, ready to be sent."""
    if reads_stdin_twice(options):
        raise click.UsageError("only one option can take standard input")
    refuse_terminal(options)
    specs = await (specs_of_tests(client, options) if options.get("tests") else _plain_specs(client, options))
    if options["idempotency_key"] and not options["file"] and not options["each"] and len(specs) == 1:
        specs[0]["idempotency_key"] = options["idempotency_key"]
    await resolve(client, specs)
    return specs


async def _plain_specs(client: "Client", options: dict[str, Any]) -> list[Spec]:
    refuse_alone(options)
    specs = build(options, client.url)
    if named := await build_params(client, options):
        return [{**spec, "params": {**spec["params"], **named}} for spec in specs]
    return specs


async def _waited(client: "Client", ids: list[str], *, as_json: bool) -> int:
    done = 0
    with busy(f"waiting for {many(len(ids), 'job')}") as words:

        def count(_: object) -> None:
            nonlocal done
            done += 1
            words[0] = f"{done} of {len(ids)} jobs are final"

        try:
            jobs = await client.wait(ids, on_final=count)
        except BaseException:
            say(f"hpcq: {left_running(ids, left=len(ids) - done)}")
            raise
    if as_json:
        print_json(jobs[0] if len(jobs) == 1 else jobs)
    else:
        say_endings(jobs)
    return verdict(jobs)


def left_running(ids: list[str], tag: str | None = None, left: int | None = None) -> str:
    """What to say when we stop watching; `left`: how many are not final."""
    what = f"--tag {tag}" if tag else " ".join(ids[:5]) + (" …" if len(ids) > 5 else "")
    some = f"{left} of the {len(ids)} jobs {'goes' if left == 1 else 'go'}"
    it = "the job goes" if len(ids) == 1 else f"the {len(ids)} jobs go" if left in (None, len(ids)) else some
    again = f"hpcq logs -f {ids[0]}" if len(ids) == 1 else f"hpcq wait {what}"
    return f"{it} on without us; follow: {again}; end: hpcq cancel {what}"
