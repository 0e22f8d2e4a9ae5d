"""Which tests a further attempt of a job runs: those that failed, and those that no attempt got to."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hpcq.plugin import Outcome, TestCase
from hpcq_runners.appwright.reading import read_json

BEGUN_BYTES = 64 << 20


def read_begun(path: Path) -> list[Mapping[str, Any]]:
    """What our reporter wrote of the tests that a run was going to make; nothing if it did not get so far."""
    found = read_json(path, BEGUN_BYTES)
    return found if isinstance(found, list) else []


def remaining(previous: Sequence[Outcome], begun: Sequence[Mapping[str, Any]]) -> list[str] | None:
    """The ids of the tests that are left to run; None: all. `begun`: the tests of the first attempt."""
    latest = {test.id: test for outcome in previous for test in outcome.tests}
    if not latest:
        return None
    ids = [str(test["id"]) for test in begun] or list(latest)
    return [test_id for test_id in ids if not _is_settled(latest.get(test_id))] or None


def _is_settled(test: TestCase | None) -> bool:
    """It passed, or is skipped by its own wish. One that was skipped with an error did not run for another's sake."""
    if test is None:
        return False
    return test.status in ("passed", "flaky") or (test.status == "skipped" and test.error is None)


def write_last_run(output: Path, ids: Sequence[str]) -> None:
    """What makes Playwright's `--last-failed` run exactly these tests."""
    output.mkdir(parents=True, exist_ok=True)
    (output / ".last-run.json").write_text(json.dumps({"status": "failed", "failedTests": list(ids)}), encoding="utf-8")
