"""What tests report: checked, merged over a job's attempts, and made into its result."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from typing import Any, get_args

import orjson

from hpcq.plugin import Failure, Outcome, TestCase
from hpcq.plugin.types import TestStatus

TESTS_MOST = 10_000  # of one job
TESTS_BYTES = 8 << 20  # of one attempt
ID_CHARS = 500
TITLE_CHARS = 500  # of a title, of a file
SUITE_CHARS = 200
ERROR_CHARS = 4_000
ERRORS_CHARS = 1_000_000  # of all errors of an attempt; the more there are, the shorter each is kept
COMMIT_CHARS = 100
RESULT_BYTES = 64 << 10
STATUSES = get_args(TestStatus)
FIELDS = tuple(field.name for field in fields(TestCase) if field.name != "suite")  # of a test in a job's result


# What a runner hands over.


def wrong_tests(outcome: Outcome) -> str | None:
    """What keeps an outcome's tests from being kept, or None."""
    tests, commit = outcome.tests, outcome.commit
    if type(tests) is tuple and not tests and commit is None:  # as of nearly all jobs
        return None
    if not (commit is None or (isinstance(commit, str) and commit.isprintable() and 0 < len(commit) <= COMMIT_CHARS)):
        return f"the commit {commit!r:.200}, which is not 1 to {COMMIT_CHARS} printable characters"
    if not isinstance(tests, list | tuple):
        return f"tests {tests!r:.200}, which is no list of TestCase"
    if len(tests) > TESTS_MOST:
        return f"{len(tests)} tests, at most {TESTS_MOST} are kept; split the job"
    seen: set[str] = set()
    for test in tests:
        if wrong := _wrong_test(test):
            return wrong
        if test.id in seen:
            return f"two tests with the id {test.id!r:.300}; ids must be distinct"
        seen.add(test.id)
    return None


def _wrong_test(test: Any) -> str | None:
    if not isinstance(test, TestCase):
        return f"the test {test!r:.200}, which is not a TestCase"
    if not (isinstance(test.id, str) and 0 < len(test.id) <= ID_CHARS):
        return f"a TestCase with id {test.id!r:.300}, which is not a str of 1 to {ID_CHARS} characters"
    about = f"the TestCase {test.id!r:.200} with"
    for name, value in (("title", test.title), ("file", test.file), ("suite", test.suite)):
        if not isinstance(value, str):
            return f"{about} {name} {value!r:.200}, which is not a str"
    if test.status not in STATUSES:
        return f"{about} status {test.status!r:.200}; there are {', '.join(STATUSES)}"
    for name, number in (("line", test.line), ("retries", test.retries)):
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 2**31:
            return f"{about} {name} {number!r:.200}, which is no int from 0 up"
    spent: Any = test.duration_s
    if not isinstance(spent, int | float) or isinstance(spent, bool) or not (math.isfinite(spent) and spent >= 0):
        return f"{about} duration_s {spent!r:.200}, which is no number of seconds"
    if not (test.error is None or isinstance(test.error, str)):
        return f"{about} error {test.error!r:.200}, which is neither None nor a str"
    return None


def bounded(tests: Sequence[TestCase]) -> tuple[TestCase, ...]:
    """The same tests, with texts that can be kept: in UTF-8, without NUL, of bounded length."""
    errors = sum(test.error is not None for test in tests)
    each = min(ERROR_CHARS, ERRORS_CHARS // max(1, errors))
    return tuple(
        replace(
            test,
            id=_text(test.id, ID_CHARS),
            title=_text(test.title, TITLE_CHARS),
            file=_text(test.file, TITLE_CHARS),
            suite=_text(test.suite, SUITE_CHARS),
            duration_s=round(float(test.duration_s), 3),
            error=None if test.error is None else _text(test.error, each),
        )
        for test in tests
    )


def _text(text: str, most: int) -> str:
    return text[:most].replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


# Merged over attempts.


def _sound(outcome: Outcome) -> bool:
    """Its tests failed by themselves: nobody stopped the attempt before its time was over, nor did its device break."""
    return outcome.error is None or outcome.error.type in ("exit", "timeout")


def believed(outcome: Outcome, *, stopped: bool) -> tuple[TestCase, ...]:
    """The verdicts that count in a test's history: what was stopped or broke did not fail by itself."""
    if _sound(outcome) and not stopped:
        return tuple(outcome.tests)
    return tuple(test for test in outcome.tests if test.status != "failed")


def merged(outcomes: Iterable[Outcome]) -> list[TestCase]:
    """The union by id, in order of first appearance; the newest verdict counts.

    Failed, then passed in a later attempt, is flaky, with the error that it failed with.
    """
    union: dict[str, TestCase] = {}
    doubtful: set[str] = set()  # failed, in an attempt that was stopped or broke
    for outcome in outcomes:
        sound = _sound(outcome)
        for test in outcome.tests:
            before = union.get(test.id)
            if test.status == "skipped":
                union.setdefault(test.id, test)
                continue
            anew = before is None or before.status == "skipped" or test.id in doubtful
            union[test.id] = test if before is None or anew else _later(before, test)
            (doubtful.discard if sound or test.status != "failed" else doubtful.add)(test.id)
    return list(union.values())


def _later(before: TestCase, test: TestCase) -> TestCase:
    failed = before.status in ("failed", "flaky")
    status: TestStatus = "flaky" if failed and test.status == "passed" else test.status
    retries = before.retries + 1 + test.retries
    return replace(test, status=status, retries=retries, error=test.error or (before.error if failed else None))


def judged(outcome: Outcome, previous: Sequence[Outcome]) -> Outcome:
    """The outcome, with the failure that the union of all attempts' tests makes it.

    What went wrong beside the tests stays as its runner said it.
    """
    if not outcome.tests and not any(before.tests for before in previous):
        return outcome
    union = merged((*previous, outcome))
    if len(union) > TESTS_MOST:
        text = f"the attempts report {len(union)} different tests, at most {TESTS_MOST} are kept; split the job"
        return replace(outcome, error=Failure("exception", text), tests=())
    failed = sum(test.status == "failed" for test in union)
    error, text = outcome.error, f"{failed} of {len(union)} tests failed"
    if error is None:
        return replace(outcome, error=Failure("exit", text)) if failed else outcome
    if error.type == "exit" and any(test.status == "failed" for test in outcome.tests):
        return replace(outcome, error=replace(error, message=text))
    return outcome


# As JSON.


def to_json(tests: Sequence[TestCase]) -> bytes:
    """What the store keeps of an attempt's tests."""
    return orjson.dumps(list(tests))


def from_json(text: bytes | None) -> tuple[TestCase, ...]:
    """The tests that were kept."""
    return tuple(TestCase(**test) for test in orjson.loads(text)) if text else ()


def _shown(test: TestCase) -> dict[str, Any]:
    return {name: getattr(test, name) for name in FIELDS}


def result_of(tests: Sequence[TestCase], own: Any = None) -> Any:
    """The result of a test job, as JSON of at most 64 KiB; `own`: the runner's, whose other fields stay.

    Where not all fits, errors are cut, then tests left out: those that passed go first. `left_out` says how many.
    """
    if not tests:
        return own
    counts = Counter(test.status for test in tests)
    figures: dict[str, Any] = {status: counts[status] for status in STATUSES}
    figures["duration_s"] = round(sum(test.duration_s for test in tests), 3)
    base = {**own, **figures} if isinstance(own, dict) else figures
    shown = [_shown(test) for test in tests]
    for chars in (ERROR_CHARS, 1000, 200):
        cut = [{**test, "error": test["error"] and test["error"][:chars]} for test in shown]
        result = {**base, "tests": cut}
        if len(orjson.dumps(result)) <= RESULT_BYTES:
            return result
    return _left_out(base, cut)


def _left_out(base: dict[str, Any], shown: list[dict[str, Any]]) -> dict[str, Any]:
    weight = {"failed": 0, "flaky": 1, "skipped": 3}
    room = RESULT_BYTES - len(orjson.dumps({**base, "tests": [], "left_out": len(shown)}))
    kept: list[int] = []
    for place in sorted(range(len(shown)), key=lambda place: weight.get(shown[place]["status"], 2)):
        room -= len(orjson.dumps(shown[place])) + 1
        if room < 0:
            break
        kept.append(place)
    return {**base, "tests": [shown[place] for place in sorted(kept)], "left_out": len(shown) - len(kept)}
