"""The demo's live table; where there is no terminal, a line for each job that starts or ends."""

import sys
import time
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import click

from hpcq.cli.display import message
from hpcq.cli.output import clean, coloured, console, duration, title

if TYPE_CHECKING:
    from rich.live import Live

    from hpcq.client import Job

SHOWN = ("running", "succeeded", "failed", "cancelled")


class Board:
    """Shows jobs as they change."""

    def __init__(self, heading: str) -> None:
        self._heading = heading
        self._began = time.monotonic()
        self._told: dict[str, str] = {}
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if sys.stdout.isatty():
            from rich.live import Live

            self._live = Live(console=console(), refresh_per_second=8)
            self._live.__enter__()
        else:
            click.echo(self._heading)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)

    def show(self, jobs: "Iterable[Job]") -> None:
        """The jobs as they are now."""
        if self._live is not None:
            self._live.update(self._table(jobs))
            return
        for job in jobs:
            if job["state"] != self._told.get(job["id"]) and job["state"] in SHOWN:
                self._told[job["id"]] = job["state"]
                spent = f"{time.monotonic() - self._began:6.2f}s"
                said = f": {clean(message(job))[:100]}" if job.get("finished_at") and message(job) else ""
                click.echo(f"{spent}  {job['state']:<10} #{job['number']} {clean(title(job))}{said}")

    def _table(self, jobs: "Iterable[Job]") -> Any:
        from rich import box
        from rich.table import Table

        grid = Table(title=self._heading, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, expand=False)
        for name, style in (("#", "dim"), ("queue", "cyan"), ("job", ""), ("prio", ""), ("state", ""), ("try", "")):
            grid.add_column(name, style=style, no_wrap=True)
        grid.add_column("took", justify="right", no_wrap=True)
        grid.add_column("what came of it", overflow="ellipsis", no_wrap=True, ratio=1)
        for job in jobs:
            said = clean(message(job)) if job.get("finished_at") else _progress(job)
            took = duration(job.get("run_s")) if job.get("started_at") else ""
            words = [str(job["number"]), job["queue"], clean(title(job))[:34], str(job["priority"])]
            grid.add_row(
                *map(_text, words), coloured(job["state"]), _text(str(job["attempt"])), _text(took), _text(said)
            )
        return grid


def _text(words: str) -> Any:
    """Not markup: a job's name may hold brackets."""
    from rich.text import Text

    return Text(words)


def _progress(job: "Job") -> str:
    progress = job.get("progress")
    return (
        clean(f"{progress.get('done')} of {progress.get('total')} {progress.get('message') or ''}") if progress else ""
    )
