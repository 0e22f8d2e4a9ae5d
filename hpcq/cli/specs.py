"""From the words of a command line, or a file, to JobSpecs."""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from hpcq.cli.jobfiles import expand, parse_json, read_jobs, read_rows, read_text
from hpcq.cli.options import DURATION, JOB, PAIR, WHEN

if TYPE_CHECKING:
    from hpcq.client import Client

Spec = dict[str, Any]
CONDITIONS = ("success", "failure", "any")
NAMED_PRIORITIES = ("low", "normal", "high", "critical")


class Priority(click.ParamType[int | str]):
    """A whole number, or a name."""

    name = "priority"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        if value in NAMED_PRIORITIES:
            return str(value)
        try:
            return int(value)
        except ValueError:
            self.fail(
                f"{value!r} is no priority: a number from -100 to 100, or {', '.join(NAMED_PRIORITIES)}", param, ctx
            )


TREATMENT = (
    click.option("--name", help="What to call it."),
    click.option("--priority", type=Priority(), help="-100 to 100, or low, normal, high, critical."),
    click.option("--tag", "tags", multiple=True, type=PAIR, metavar="K=V", help="Mark it; may be repeated."),
    click.option("--retries", type=click.IntRange(0), help="Try again so often when it fails."),
    click.option("--resource", "resources", multiple=True, type=PAIR, metavar="NAME=N", help="What it needs: cpus=2."),
    click.option("--require", "requires", multiple=True, type=PAIR, metavar="LABEL=V", help="Only on such a slot."),
    click.option("--at", "run_at", type=WHEN, help="Not before this time: 08:00, RFC 3339, +10m."),
    click.option("--delay", "delay_s", type=DURATION, help="Not before so long: 90, 5m, 1h30m."),
    click.option("--expires", "expires_at", type=WHEN, help="Fail it when it has not started by then."),
    click.option("--batch-key", help="Jobs of one key run in a row on one slot."),
)

SOURCE = (
    click.option("--queue", help="The queue.  [default: local]"),
    click.option("--params", help="Parameters as JSON; @FILE reads them, - takes stdin."),
    click.option("-f", "--file", help="Jobs from a .toml, .json or .ndjson file; - takes stdin."),
    click.option("--each", help="One job for each row of a .csv or .ndjson file; {column} stands for its value."),
    click.option("--cwd", help="Folder to run in; '' for a private one.  [default: this one, if the server is here]"),
    click.option("--env", multiple=True, metavar="K=V|K", help="Environment; K alone copies it from here."),
    click.option("--stdin", help="Its standard input: a file; - takes ours."),
    click.option("--artifact", "artifacts", multiple=True, metavar="GLOB", help="Keep the files that match."),
    click.option(
        "--depends-on", multiple=True, type=JOB, metavar="ID[:success|failure|any]", help="Run after this job."
    ),
    click.option("--idempotency-key", help="The same key again is the same job, for 24 h."),
    click.option("--org-id", help="The org that it belongs to."),
)


def job_options(walltime: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """All options that describe a job; `walltime` names the one for its own time limit."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        limit = click.option(walltime, "timeout_s", type=DURATION, help="Kill the job after so long.")
        for option in reversed(
            (*SOURCE, *TREATMENT, limit, click.argument("command", nargs=-1, type=click.UNPROCESSED))
        ):
            function = option(function)
        return function

    return add


def build(options: Mapping[str, Any], url: str) -> list[Spec]:
    """The jobs that the options describe. Raises click.UsageError."""
    given = treatment(options)
    if options["file"]:
        if options["command"] or options["params"] or options["each"]:
            raise click.UsageError("-f brings its own jobs: leave out the command, --params and --each")
        tags = given.pop("tags", {})
        return [{**job, **given, **_joined_tags(job, tags)} for job in read_jobs(options["file"])]
    queue = given.pop("queue", "local")
    if queue == "local" and not options["command"] and not options["params"]:
        raise click.UsageError("nothing to submit: give a command after --, --params, or -f FILE")
    spec: Spec = {"queue": queue, "params": parameters(options, url), **given}
    return expand(spec, read_rows(options["each"])) if options["each"] else [spec]


def _joined_tags(job: Spec, tags: Mapping[str, str]) -> Spec:
    both = {**(job.get("tags") or {}), **tags}
    return {"tags": both} if both else {}


def treatment(options: Mapping[str, Any]) -> Spec:
    """What was said about how to treat a job, and nothing else."""
    plain = ("queue", "name", "priority", "timeout_s", "run_at", "delay_s", "expires_at", "batch_key", "org_id")
    spec = {name: options[name] for name in plain if options.get(name) is not None}
    for name in ("tags", "requires"):
        if options.get(name):
            spec[name] = dict(options[name])
    if options.get("resources"):
        spec["resources"] = {name: _amount(name, value) for name, value in options["resources"]}
    if options.get("retries") is not None:
        spec["retries"] = {"max": options["retries"]}
    if options.get("depends_on"):
        spec["depends_on"] = [_dependency(text) for text in options["depends_on"]]
    return spec


def _amount(name: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise click.UsageError(f"--resource {name}={value}: not a number") from None


def _dependency(text: str) -> Spec:
    job, _, on = text.partition(":")
    if on and on not in CONDITIONS:
        raise click.UsageError(f"--depends-on {text}: after the colon stands one of {', '.join(CONDITIONS)}")
    return {"job": job, "on": on or "success"}


def parameters(options: Mapping[str, Any], url: str) -> Spec:
    """The runner's parameters: --params, and the command with what belongs to it."""
    params: Spec = {}
    if options["params"]:
        params = parse_json(_params_text(options["params"]), "--params")
        if not isinstance(params, dict):
            raise click.UsageError(f"--params: a JSON object is needed, not {type(params).__name__}")
    if options["command"]:
        params["command"] = _command(options["command"])
        cwd = _cwd(options["cwd"], url)
    else:
        cwd = options["cwd"]
    if cwd:
        params["cwd"] = cwd
    if options["env"]:
        params["env"] = dict(_variable(text) for text in options["env"])
    if options["stdin"] is not None:
        params["stdin"] = read_text(options["stdin"], "--stdin")
    if options["artifacts"]:
        params["artifacts"] = list(options["artifacts"])
    return params


def _params_text(text: str) -> str:
    if text == "-" or text.startswith("@"):
        return read_text(text.removeprefix("@"), "--params")
    return text


def _command(words: tuple[str, ...]) -> str | list[str]:
    """A single word that is more than a word is a line for `sh -c`."""
    alone = words[0] if len(words) == 1 else ""
    return alone if any(mark in alone for mark in " |&;<>()$`\n") else list(words)


def _cwd(wanted: str | None, url: str) -> str | None:
    """A server on this machine shares our folders; one elsewhere does not."""
    if not is_here(url):
        return wanted
    if wanted == "":
        return None
    return str(Path(wanted or ".").expanduser().absolute())


def is_here(url: str) -> bool:
    """Whether the address is one of this machine's own."""
    host = urlsplit(url if "://" in url else f"http://{url}").hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def _variable(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if separator:
        return name, value
    if name not in os.environ:
        raise click.UsageError(f"--env {name}: not set here; write {name}=value")
    return name, os.environ[name]


async def resolve(client: "Client", specs: list[Spec]) -> None:
    """Replace prefixes and numbers in `depends_on` by ids."""
    known: dict[str, str] = {}
    for spec in specs:
        depends_on = spec.get("depends_on")
        for item in depends_on if isinstance(depends_on, list) else ():
            if isinstance(item, dict) and isinstance(item.get("job"), str):
                text = item["job"]
                if text not in known:
                    known[text] = await client.find(text)
                item["job"] = known[text]


def reads_stdin_twice(options: Mapping[str, Any]) -> bool:
    """Standard input can be only one thing."""
    return [options["params"], options["file"], options["each"], options["stdin"]].count("-") > 1


def refuse_terminal(options: Mapping[str, Any]) -> None:
    """A job file from a terminal is a mistake more often than not: say that we wait for it."""
    if options["file"] == "-" and sys.stdin.isatty():
        click.echo("hpcq: reading jobs from the terminal; end with Ctrl-D", err=True)
