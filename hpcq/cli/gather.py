"""What the jobs of one `hpcq run` left: their files, one merged report of their tests, and the tests' verdicts."""

import errno
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpcq.cli.artifacts import fetch_into, place
from hpcq.cli.calls import GONE
from hpcq.cli.merging import NoReport, clear, merge
from hpcq.cli.output import busy, clean, say, title
from hpcq.cli.report import tests_of

if TYPE_CHECKING:
    from hpcq.client import Client, Job

BLOB = re.compile(r"attempt-(\d+)/blob-report/[^/]+\.zip")
UNSAFE = re.compile(r"[^\w.-]+")
NO_MORE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)  # after which writing further files is no use
FAILED_MOST = 50  # failed tests that are named
ORDER = ("passed", "failed", "flaky", "skipped")

KEPT = (
    click.option(
        "--artifacts",
        "artifacts_dir",
        type=click.Path(file_okay=False, path_type=Path),
        help="Fetch the files that the jobs left into here, a folder for each job.",
    ),
    click.option(
        "--report",
        "report_dir",
        type=click.Path(file_okay=False, path_type=Path),
        help="Write one merged Playwright report of all tests into here.",
    ),
    click.option("--fail-on-flaky", is_flag=True, help="Exit code 1 also for tests that passed only in a further try."),
)


def kept_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say what is kept of a run, and judged."""
    for option in reversed(KEPT):
        function = option(function)
    return function


def folder_of(job: "Job") -> str:
    """`12-tests_login.spec.js`: a name that every file system takes."""
    name = UNSAFE.sub("_", title(job)).strip("._")[:60]
    return f"{job['number']}-{name}" if name else str(job["number"])


async def fetch_artifacts(client: "Client", jobs: "Sequence[Job]", folder: Path) -> tuple[int, int]:
    """Fetch the files that the jobs left, each job's into a folder of its own: how many are there, and how many could
    not be fetched, which is said. Raises OSError where no further one could be written, and NoServer."""
    count = missing = 0
    with busy("fetching artifacts") as words:
        for job in jobs:
            for one in await _files_of(client, job):
                words[0] = f"fetching {one['name']} of #{job['number']}"
                path = place(folder / folder_of(job), one["name"])
                if path is None:
                    say(f"hpcq: left out {clean(one['name'])} of #{job['number']}: not a name of a file below a folder")
                elif await _fetched(client, job, one["name"], path):
                    count += 1
                else:
                    missing += 1
    return count, missing


async def _files_of(client: "Client", job: "Job") -> list[dict[str, Any]]:
    """None of a job that is pruned meanwhile."""
    from hpcq.client import Problem

    try:
        return await client.artifacts(job["id"])
    except Problem as problem:
        if problem.status not in GONE:
            raise
        return []


async def _fetched(client: "Client", job: "Job", name: str, path: Path) -> bool:
    from hpcq.client import Problem

    try:
        await fetch_into(client, job["id"], name, path)
    except OSError as error:
        if error.errno in NO_MORE:
            raise
        say(f"hpcq: {clean(path)}: not written: {error.strerror}")
    except Problem as problem:
        say(f"hpcq: {clean(path)}: not fetched: {clean(problem.detail or problem.title)}")
    else:
        return True
    return False


async def make_report(client: "Client", jobs: "Sequence[Job]", target: Path, project: Path) -> None:
    """Merge the jobs' reports with the Playwright of `project`; say where it is, or what is missing. Raises OSError."""
    with tempfile.TemporaryDirectory(prefix="hpcq-") as name, busy("merging the reports"):
        every = [await _blobs(client, job, Path(name, str(job["number"]))) for job in jobs]
        found = [paths for paths in every if paths]
        if not found:
            say("report: none, for no job left one")
            return
        try:
            await merge(found, project, target)
        except NoReport as missing:
            kept = _keep(found, target)
            say(f"report: not made: {clean(missing)}")
            say(f"  its parts are kept; later: npx playwright merge-reports --reporter html {kept}")
            return
    say(f"report: {target / 'index.html'}")


async def _blobs(client: "Client", job: "Job", folder: Path) -> list[Path]:
    """The blob reports of a job's attempts, the first first."""
    names = [str(one["name"]) for one in await _files_of(client, job)]
    numbered = sorted((int(found[1]), name) for name in names if (found := BLOB.fullmatch(name)))
    paths: list[Path] = []
    for number, name in numbered:
        paths.append(folder / f"{number}-{len(paths)}.zip")
        await fetch_into(client, job["id"], name, paths[-1])
    return paths


def _keep(found: Sequence[Sequence[Path]], target: Path) -> Path:
    clear(target)  # an old report would be taken for this one
    kept = target / "blobs"
    kept.mkdir()
    for path in (path for paths in found for path in paths):
        (kept / f"report-{path.parent.name}-{path.name}").write_bytes(path.read_bytes())
    return kept


# The verdicts.


def counts(jobs: "Sequence[Job]") -> Counter[str]:
    """How many tests of all jobs ended how."""
    total: Counter[str] = Counter()
    for job in jobs:
        if tests_of(job):
            total.update({status: int(job["result"].get(status) or 0) for status in ORDER})
    return total


def lines_of_tests(jobs: "Sequence[Job]") -> Iterator[str]:
    """The sum of all tests, if there are any, after those that failed or were flaky."""
    total = counts(jobs)
    if not total:
        return
    bad = [(job, test) for job in jobs for test in tests_of(job) if test["status"] in ("failed", "flaky")]
    for job, test in bad[:FAILED_MOST]:
        said = str(test.get("error") or "").strip().partition("\n")[0]
        where = f"{test.get('file')}:{test.get('line')}"
        yield clean(f"{test['status'].upper():<10}  #{job['number']} {where} {test.get('title')}: {said}")
    if len(bad) > FAILED_MOST:
        yield f"… and {len(bad) - FAILED_MOST} more"
    yield "tests: " + ", ".join(f"{total[status]} {status}" for status in ORDER if total[status])
