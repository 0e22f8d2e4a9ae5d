"""The files that `hpcq run` writes at its end. Each is checked before anything is sent, and one that fails in the end
stops no other."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpcq.cli.gather import fetch_artifacts, make_report
from hpcq.cli.merging import fits
from hpcq.cli.output import clean, many, say
from hpcq.cli.report import default_name, write_junit, write_results
from hpcq.cli.sent import cause
from hpcq.cli.watch import FINAL

if TYPE_CHECKING:
    from hpcq.client import Client, Job

FILES, FOLDERS = ("junit", "out"), ("report_dir", "artifacts_dir")


def refuse_targets(options: Mapping[str, Any]) -> None:
    """What could not be written after the tests is said before them. Raises click.UsageError."""
    for name in (*FILES, *FOLDERS):
        path = options[name]
        if path is not None and (why := unwritable(Path(path or "."), folder=name in FOLDERS or not str(path))):
            raise click.UsageError(f"--{name.removesuffix('_dir')} {path}: {why}")
    report = options["report_dir"]
    try:
        if report is not None and not fits(report):
            raise click.UsageError(f"--report {report}: holds something else than a report; name a folder of its own")
    except OSError as error:
        raise click.UsageError(f"--report {report}: {error.strerror}") from None


def unwritable(path: Path, *, folder: bool) -> str | None:
    """Why a file, or files in a folder, cannot be written there; None: as far as can be seen, they can."""
    path = path.absolute()
    if os.path.exists(path) and folder != path.is_dir():  # noqa: PTH110 Path.exists raises for a closed folder above
        return "that is a file, not a folder" if folder else "that is a folder, not a file"
    there = next(place for place in (path, *path.parents) if os.path.exists(place))  # noqa: PTH110
    if there != path and not there.is_dir():
        return f"{there} is no folder"
    if os.access(there, os.W_OK | (os.X_OK if there.is_dir() else 0)):
        return None
    return f"{there} may not be written, by you or at all"


class Outputs:
    """Writes what the options ask for; `failed` names the options of what could not be written."""

    def __init__(self, options: Mapping[str, Any], started: datetime) -> None:
        self._options = options
        self._started = started
        out = options["out"]
        self._out = None if out is None else Path(out or default_name(started))
        self.failed: list[str] = []

    def write(self, jobs: "Sequence[Job]", content: dict[str, Any], why: str = "") -> None:
        """JUnit and results. `why`: there are no jobs, for this reason."""
        junit = self._options["junit"]
        if junit:
            with self._one("junit", junit):
                write_junit(junit, jobs, self._started, why)
                say(f"JUnit: {junit}")
        if self._out:
            with self._one("out", self._out):
                write_results(self._out, content)
                say(f"results: {self._out}")

    def again(self, content: dict[str, Any]) -> None:
        """The results, now that the exit code is another."""
        if self._out and "out" not in self.failed:
            with self._one("out", self._out):
                write_results(self._out, content)

    async def fetch(self, client: "Client", jobs: "Sequence[Job] | None") -> None:
        """The report and the artifacts of the jobs that have ended; None: the server does not answer."""
        report, artifacts = self._options["report_dir"], self._options["artifacts_dir"]
        if jobs is None:
            for name, path in (("report", report), ("artifacts", artifacts)):
                if path is not None:
                    say(f"hpcq: --{name} {clean(path)}: not written: the server does not answer")
            return
        ended = [job for job in jobs if job["state"] in FINAL]
        if report is not None:
            with self._one("report", report):
                project = self._options["project_dir"] or Path(self._options["cwd"] or ".")
                await make_report(client, ended, report, project)
        if artifacts is not None:
            with self._one("artifacts", artifacts):
                count, missing = await fetch_artifacts(client, ended, artifacts)
                say(f"artifacts: {many(count, 'file')} in {artifacts}")
                if missing:
                    self.failed.append("artifacts")

    @contextmanager
    def _one(self, option: str, path: Path) -> Iterator[None]:
        from hpcq.client import ClientError

        try:
            yield
        except (OSError, ClientError) as error:
            self.failed.append(option)
            say(f"hpcq: --{option} {clean(path)}: not written: {cause(error)}")
