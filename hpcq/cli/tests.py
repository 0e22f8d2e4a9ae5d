"""`hpcq tests`: how tests have fared."""

import posixpath
from typing import TYPE_CHECKING, Any

import click

from hpcq.cli.calls import json_option, remote
from hpcq.cli.output import busy, clean, duration, print_json, say, table

if TYPE_CHECKING:
    from hpcq.client import Client

SUITE = "suite"  # a column where there are several
COLUMNS = ("file", "title", "runs", "failed", "flaky", "p50", "last", "commit", "label")
TITLE = 60
COMMIT = 10


@click.command()
@click.option("--suite", help="Of this suite: the project's name; '' for those of none.")
@click.option("--file", help="Of this file, or of the files in this folder.")
@click.option("--text", help="With this text in the title.")
@click.option("--flaky/--steady", "flaky", default=None, help="That failed and passed on the same commit, or never.")
@click.option("--org-id", help="Of this org.")
@click.option("-n", "--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many.")
@click.option("--all", "everything", is_flag=True, help="However many there are.")
@json_option
@remote
async def tests(client: "Client", *, limit: int, everything: bool, as_json: bool, **options: Any) -> None:
    """List tests with their history: runs, failure rate, flaky rate, usual duration.

    A run is what a job found of a test, over all of its attempts. The label `flaky` says that it failed and passed on
    the same commit.
    """
    most = None if everything else limit
    options["file"] = _known(options["file"])
    with busy("reading"):
        found = [test async for test in client.tests(limit=most, **options)]
    if as_json:
        print_json(found)
        return
    several = len({test["suite"] for test in found}) > 1
    suites = [(test["suite"] or None,) if several else () for test in found]
    rows = [(*suite, *_row(test)) for suite, test in zip(suites, found, strict=True)]
    table((SUITE, *COLUMNS) if several else COLUMNS, rows, empty="no test")
    if len(found) == most:
        say(f"the first {most}; more with --limit N or --all")


def _known(file: str | None) -> str | None:
    """As the history has it: `./tests/`, which a shell completes, is `tests`, and `.` is all."""
    name = posixpath.normpath(file) if file else "."
    return None if name == "." else name


def _row(test: dict[str, Any]) -> tuple[object, ...]:
    title = clean(test["title"])
    return (
        test["file"],
        title if len(title) <= TITLE else title[: TITLE - 1] + "…",
        test["runs"],
        _percent(test["failure_rate"]),
        _percent(test["flaky_rate"]),
        duration(test["p50_duration_s"]),
        test["last_status"],
        (test["last_commit"] or "-")[:COMMIT],
        "flaky" if test["flaky"] else "",
    )


def _percent(rate: float | None) -> str | None:
    return None if rate is None else f"{100 * rate:.0f}%"
