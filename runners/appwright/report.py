"""Playwright's JSON report, read: the verdict on each test, and what went wrong beside them."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from hpcq.plugin import TestCase
from hpcq.plugin.types import TestStatus
from hpcq_runners.appwright.words import plain, relative

BETWEEN = " › "  # noqa: RUF001 -- as Playwright writes it
TITLE_CHARS = 500
REPORT_BYTES = 64 << 20  # beyond this a report is not read: tests may attach anything to it
VERDICTS: Mapping[str, TestStatus] = {
    "expected": "passed",
    "unexpected": "failed",
    "flaky": "flaky",
    "skipped": "skipped",
}
NOT_RUN = "did not run"  # the error of a test that was skipped only because another failed
UNFINISHED = "was still running when the job's time was over"

Key = tuple[str, str, int, int, str]  # project, file, line, column, title


class BadReport(Exception):
    """There is no report, or none that can be read."""


@dataclass(frozen=True, slots=True)
class Report:
    """A run's verdicts. `errors`: what belongs to no test: an import that failed, a setup that threw, no tests."""

    tests: tuple[TestCase, ...]
    errors: tuple[str, ...]
    duration_s: float
    interrupted: tuple[str, ...] = ()  # the titles of tests that were under way when the run was stopped
    over: bool = False  # it was stopped because its time was over, and those tests have failed

    @property
    def failed(self) -> tuple[TestCase, ...]:
        return tuple(test for test in self.tests if test.status == "failed")


@dataclass(frozen=True, slots=True)
class About:
    """What is known of a run beside its report."""

    folder: Path  # files are named relative to it
    begun: Sequence[Mapping[str, Any]] = ()  # what our own reporter wrote of the tests
    suite: str = ""  # what they belong to
    over: bool = False  # it was stopped because its time was over


def read(path: Path, about: About) -> Report:
    """The report at `path`. Raises BadReport."""
    try:
        if path.stat().st_size > REPORT_BYTES:
            raise BadReport(f"the report has more than {REPORT_BYTES >> 20} MiB; attach less to the tests")
        return parse(orjson.loads(path.read_bytes()), about)
    except FileNotFoundError:
        raise BadReport("no report was written") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadReport(f"the report cannot be read: {type(error).__name__}: {error}") from None


def parse(report: Mapping[str, Any], about: About) -> Report:
    """As `read`, of what is in the file."""
    root, ids, folder = report["config"]["rootDir"], _Ids(about.begun), about.folder
    several = len({project["name"] for project in report["config"].get("projects") or ()}) > 1
    tests: dict[str, TestCase] = {}
    interrupted = []
    for titles, spec, test in (entry for suite in report["suites"] for entry in _entries(suite, ())):
        file = os.path.normpath(Path(root, spec["file"]))
        project = [f"[{test['projectName']}]"] if several and test["projectName"] else []
        title = BETWEEN.join([*project, *titles, spec["title"]])[:TITLE_CHARS]
        case = _case(spec, test, ids.of(spec, test, file), shown(file, folder), title)
        if test["results"] and test["results"][-1]["status"] == "interrupted":
            interrupted.append(f"{shown(file, folder)}:{spec['line']}{BETWEEN}{title}")
            if not about.over:
                continue  # nothing is known of it
            own = _error(test["results"][-1])
            case = replace(case, status="failed", error="\n\n".join(filter(None, [UNFINISHED, own])))
        error = case.error and relative(case.error, folder)
        tests.setdefault(case.id, replace(case, suite=about.suite, error=error))
    errors = tuple(filter(None, (_beside(error, folder) for error in report["errors"])))
    return Report(tuple(tests.values()), errors, report["stats"]["duration"] / 1000, tuple(interrupted), about.over)


def _beside(error: Mapping[str, Any], folder: Path) -> str:
    """An error of no test, with its place where it says none itself."""
    text = relative(plain(error.get("message") or error.get("value") or ""), folder)
    place = error.get("location") or {}
    if not text or not place.get("file") or not Path(place["file"]).is_relative_to(folder):
        return text
    return f"{text}\n    at {shown(place['file'], folder)}:{place.get('line', 0)}:{place.get('column', 0)}"


def _entries(suite: Mapping[str, Any], titles: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """(titles of the groups it is in, spec, test) of every test; groups are nested as deep as one likes."""
    todo = [(suite, titles)]
    while todo:
        here, above = todo.pop()
        yield from ((above, spec, test) for spec in here["specs"] for test in spec["tests"])
        todo.extend((inner, (*above, inner["title"])) for inner in reversed(here.get("suites") or ()))


class _Ids:
    """The id of each test. A report has one for each spec; where several projects, or repeats, run a spec, each of its
    tests has an id of its own, which only our own reporter tells."""

    def __init__(self, begun: Sequence[Mapping[str, Any]]) -> None:
        self._ids: dict[Key, list[str]] = {}
        for test in begun:
            key = (test["project"], test["file"], test["line"], test["column"], test["title"])
            self._ids.setdefault(key, []).append(test["id"])

    def of(self, spec: Mapping[str, Any], test: Mapping[str, Any], file: str) -> str:
        own: str = spec["id"]
        if len(spec["tests"]) == 1:
            return own
        left = self._ids.get((test["projectName"], file, spec["line"], spec["column"], spec["title"]))
        return left.pop(0) if left else f"{own} {test['projectName']}"


def _case(spec: Mapping[str, Any], test: Mapping[str, Any], test_id: str, file: str, title: str) -> TestCase:
    results = test["results"]
    status = VERDICTS[test["status"]]
    error = next((text for result in reversed(results) if (text := _error(result))), None)
    if status == "skipped":
        error = NOT_RUN if test["expectedStatus"] != "skipped" else None
    elif status == "passed":
        error = None
    elif error is None and status == "failed":
        error = f"expected {test['expectedStatus']}, got {results[-1]['status'] if results else 'nothing'}"
    spent_s = sum(max(0.0, result["duration"]) for result in results) / 1000
    return TestCase(test_id, title, file, spec["line"], status, spent_s, max(0, len(results) - 1), error)


def _error(result: Mapping[str, Any]) -> str:
    messages = [error.get("message") or "" for error in result.get("errors") or ()]
    return plain("\n\n".join(message for message in messages if message))


def shown(file: str, folder: Path) -> str:
    """How a file is called in the project."""
    return os.path.relpath(file, folder).replace(os.sep, "/")
