"""What tests report: checked, merged over attempts, judged, and made into a result that fits."""

from dataclasses import replace
from typing import Any, cast

import orjson
import pytest

from hpcq.engine.testcases import RESULT_BYTES, from_json, judged, merged, result_of, to_json
from hpcq.engine.verdict import checked
from hpcq.plugin import Failure, Outcome, TestCase
from hpcq.plugin.types import TestStatus


def case(id_: str = "t", status: TestStatus = "passed", **more: Any) -> TestCase:
    return replace(TestCase(id_, f"title of {id_}", "a.spec.js", 1, status, 1.0), **more)


def ran(*tests: TestCase, error: str | None = None) -> Outcome:
    return Outcome(error=Failure(error, "as its runner said") if error else None, tests=tests)  # type: ignore[arg-type]


def statuses(*outcomes: Outcome) -> dict[str, str]:
    return {test.id: test.status for test in merged(outcomes)}


# What a runner hands over.


@pytest.mark.parametrize(
    ("tests", "word"),
    [
        (7, "no list of TestCase"),
        (None, "no list of TestCase"),
        (["t"], "not a TestCase"),
        ([case(id=7)], "id 7"),
        ([case(id="")], "1 to 500 characters"),
        ([case(id="x" * 501)], "1 to 500 characters"),
        ([case("t"), case("t")], "two tests with the id 't'"),
        ([case(status=cast("TestStatus", "fine"))], "status 'fine'"),
        ([case(title=None)], "title None"),
        ([case(file=3)], "file 3"),
        ([case(suite=None)], "suite None"),
        ([case(line="1")], "line '1'"),
        ([case(line=-1)], "line -1"),
        ([case(retries=True)], "retries True"),
        ([case(duration_s=float("nan"))], "duration_s nan"),
        ([case(duration_s=-1.0)], "duration_s -1.0"),
        ([case(duration_s="1")], "duration_s '1'"),
        ([case(error=ValueError("x"))], "error ValueError"),
        ([case(str(number)) for number in range(10_001)], "10001 tests"),
    ],
)
def test_tests_of_a_wrong_shape_are_the_runners_bug(tests: Any, word: str) -> None:
    error = checked(Outcome(tests=tests)).error
    assert error
    assert error.type == "exception"
    assert word in error.message


@pytest.mark.parametrize("commit", [7, "", "x" * 101, "a\nb"])
def test_a_commit_of_a_wrong_shape_is_the_runners_bug(commit: Any) -> None:
    error = checked(Outcome(commit=commit)).error
    assert error
    assert "commit" in error.message


def test_texts_are_cut_and_made_such_that_they_can_be_kept() -> None:
    long = case(title="x" * 9000, file="f" * 9000, suite="s" * 9000, error="e\x00" * 9000)
    kept = checked(Outcome(tests=[long, case("\ud800")])).tests
    assert (len(kept[0].title), len(kept[0].file), len(kept[0].error or "")) == (500, 500, 4000)
    assert kept[0].suite == "s" * 200
    assert "\x00" not in (kept[0].error or "")
    assert from_json(to_json(kept)) == tuple(kept)


def test_tests_that_were_kept_before_there_were_suites_are_of_none() -> None:
    old = b'[{"id":"t","title":"t","file":"a.js","line":1,"status":"passed","duration_s":1.0,"retries":0,"error":null}]'
    assert [test.suite for test in from_json(old)] == [""]


def test_the_more_tests_fail_the_less_is_kept_of_each_error() -> None:
    many = [case(str(number), "failed", error="e" * 4000) for number in range(10_000)]
    kept = checked(Outcome(tests=many)).tests
    assert sum(len(test.error or "") for test in kept) <= 1_000_000


def test_tests_that_are_too_large_together_are_refused() -> None:
    wide = "\N{PILE OF POO}" * 500
    many = [case(f"{number}", title=wide) for number in range(10_000)]
    error = checked(Outcome(tests=many)).error
    assert error
    assert "split the job" in error.message


# Merged over attempts.


def test_failed_then_passed_in_a_later_attempt_is_flaky_and_keeps_its_error() -> None:
    (test,) = merged([ran(case(status="failed", error="boom")), ran(case(status="passed", duration_s=2.0))])
    assert (test.status, test.error, test.duration_s, test.retries) == ("flaky", "boom", 2.0, 1)


def test_a_test_that_was_not_run_again_keeps_its_verdict() -> None:
    first = ran(case("a"), case("b", "failed"), case("c", "failed"), error="exit")
    assert statuses(first, ran(case("c"))) == {"a": "passed", "b": "failed", "c": "flaky"}


def test_the_newest_verdict_counts_unless_the_test_was_skipped() -> None:
    assert statuses(ran(case(status="passed")), ran(case(status="failed"))) == {"t": "failed"}
    assert statuses(ran(case(status="failed")), ran(case(status="skipped"))) == {"t": "failed"}
    assert statuses(ran(case(status="skipped")), ran(case(status="passed"))) == {"t": "passed"}
    assert statuses(ran(case(status="flaky")), ran(case(status="passed"))) == {"t": "flaky"}


def test_what_failed_while_its_device_broke_is_not_flaky_when_it_passes() -> None:
    broken = ran(case(status="failed"), error="infra")
    assert statuses(broken, ran(case(status="passed"))) == {"t": "passed"}
    assert statuses(broken, ran(case(status="failed")), ran(case(status="passed"))) == {"t": "flaky"}
    assert statuses(broken, ran(case(status="skipped"))) == {"t": "failed"}


# Judged.


def test_failed_tests_make_a_job_fail_with_their_number() -> None:
    error = judged(ran(case("a"), case("b", "failed"), case("c", "failed")), ()).error
    assert error == Failure("exit", "2 of 3 tests failed")


def test_the_exit_code_that_the_runner_saw_stays() -> None:
    outcome = Outcome(error=Failure("exit", "ended with 1", exit_code=1), tests=[case(status="failed")])
    assert judged(outcome, ()).error == Failure("exit", "1 of 1 tests failed", exit_code=1)


def test_a_test_that_failed_before_and_was_not_run_again_still_fails_the_job() -> None:
    before = ran(case("a", "failed"), case("b", "failed"), case("c"), error="exit")
    assert judged(ran(case("b")), (before,)).error == Failure("exit", "1 of 3 tests failed")
    assert judged(Outcome(), (before,)).error == Failure("exit", "2 of 3 tests failed")
    assert judged(ran(case("a"), case("b")), (before,)).error is None


@pytest.mark.parametrize("kind", ["exit", "infra", "timeout", "exception"])
def test_what_went_wrong_beside_the_tests_stays_as_the_runner_said_it(kind: str) -> None:
    error = judged(ran(case("a"), error=kind), (ran(case("b", "failed")),)).error
    assert error
    assert error.message == "as its runner said"


def test_attempts_that_report_more_tests_together_than_are_kept_are_the_runners_bug() -> None:
    first, second = (ran(*(case(f"{half}{n}") for n in range(6000))) for half in "ab")
    outcome = judged(second, (first,))
    assert outcome.error
    assert outcome.error.type == "exception"
    assert not outcome.tests


# The result.


def test_the_result_has_figures_and_tests_and_the_runners_other_fields() -> None:
    tests = [case("a"), case("b", "failed", error="boom"), case("c", "skipped", duration_s=0.0), case("d", "flaky")]
    result = result_of(tests, {"build": "x", "passed": 99})
    assert list(result.pop("tests")[1].items()) == [
        ("id", "b"), ("title", "title of b"), ("file", "a.spec.js"), ("line", 1), ("status", "failed"),
        ("duration_s", 1.0), ("retries", 0), ("error", "boom"),
    ]  # fmt: skip
    assert result == {"build": "x", "passed": 1, "failed": 1, "flaky": 1, "skipped": 1, "duration_s": 3.0}


def test_without_tests_the_result_is_the_runners_own() -> None:
    assert result_of([], [1, 2]) == [1, 2]


def test_long_errors_are_cut_where_the_result_would_not_fit() -> None:
    tests = [case(str(number), "failed", error="e" * 4000) for number in range(40)]
    result = result_of(tests)
    assert len(orjson.dumps(result)) <= RESULT_BYTES
    assert "left_out" not in result
    assert {len(test["error"]) for test in result["tests"]} == {1000}


def test_where_not_all_fits_those_that_passed_are_left_out_first_and_the_figures_stay_true() -> None:
    bad = [case(f"bad{number}", "failed", error="boom") for number in range(50)]
    result = result_of([*(case(f"good{number}") for number in range(5000)), *bad])
    assert len(orjson.dumps(result)) <= RESULT_BYTES
    assert (result["passed"], result["failed"]) == (5000, 50)
    assert result["left_out"] == 5050 - len(result["tests"])
    assert sum(test["status"] == "failed" for test in result["tests"]) == 50
