"""The verdicts of a run that was killed before Playwright could write its report: what our own reporter has noted."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hpcq.plugin import TestCase
from hpcq_runners.appwright.reading import read_start
from hpcq_runners.appwright.report import NOT_RUN, TITLE_CHARS, UNFINISHED, VERDICTS, About, Report, shown
from hpcq_runners.appwright.words import plain, relative

EVENTS_BYTES = 64 << 20


def read(events: Path, about: About) -> Report:
    """What has become of the tests in `about.begun`, of a run whose time was over. Those that had not ended failed."""
    latest = {str(event.get("id")): event for event in _events(events)}
    tests = [_case(test, latest.get(str(test["id"])), about) for test in about.begun]
    running = tuple(f"{test.file}:{test.line} {test.title}" for test in tests if test.error == UNFINISHED)
    return Report(tuple(tests), (), sum(test.duration_s for test in tests), running, over=True)


def _events(path: Path) -> Iterator[Mapping[str, Any]]:
    """In their order; a line that was cut off is none."""
    try:
        lines = read_start(path, EVENTS_BYTES).splitlines()
    except OSError:
        return
    for line in lines:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict):
            yield event


def _case(test: Mapping[str, Any], event: Mapping[str, Any] | None, about: About) -> TestCase:
    file, title = shown(test["file"], about.folder), str(test.get("name") or test["title"])[:TITLE_CHARS]
    status, error, spent_s, retries = VERDICTS["skipped"], NOT_RUN, 0.0, 0
    if event is not None and event.get("ended") not in VERDICTS:
        status, error = VERDICTS["unexpected"], UNFINISHED
    elif event is not None:
        status, error = VERDICTS[event["ended"]], relative(plain(str(event.get("error") or "")), about.folder)
        spent_s, retries = max(0.0, event.get("ms") or 0) / 1000, int(event.get("retry") or 0)
    if status == "passed" or (event is not None and status == "skipped"):
        error = ""
    return TestCase(
        str(test["id"]), title, file, int(test["line"]), status, spent_s, retries, error or None, suite=about.suite
    )
