"""What Playwright's report says, and what a JUnit file and the end of a run are made of."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from hpcq.plugin import Exit, TestCase
from hpcq_runners.appwright import junit, verdict
from hpcq_runners.appwright.params import AppwrightParams
from hpcq_runners.appwright.report import About, BadReport, Report, parse, read
from hpcq_runners.appwright.words import brief, plain

SAMPLES = Path(__file__).parent / "samples"
PROJECT = About(Path("/project"))
PARAMS = AppwrightParams(test_path="tests/one.spec.js")
ONE, KILLED = Exit(1, None, 1.0, 1.0), Exit(None, 9, 1.0, 1.0)


def sample(name: str) -> Any:
    """A report that `tests.support.report_samples` has made."""
    return json.loads((SAMPLES / f"playwright-{name}.json").read_text(encoding="utf-8"))


def test_every_test_has_its_verdict_also_in_nested_groups() -> None:
    found = parse(sample("mixed"), PROJECT)
    assert [(test.title.replace(" › ", "/"), test.status, test.retries) for test in found.tests] == [  # noqa: RUF001
        ("passes @smoke", "passed", 0),
        ("fails", "failed", 1),
        ("is flaky", "flaky", 1),
        ("is skipped", "skipped", 0),
        ("fails as expected", "passed", 0),
        ("passes unexpectedly", "failed", 1),
        ("outer/inner/is deep", "passed", 0),
        ("outer/in a row/breaks", "failed", 1),
        ("outer/in a row/comes after", "skipped", 1),
    ]
    assert len({test.id for test in found.tests}) == 9
    assert {test.file for test in found.tests} == {"tests/one.spec.js"}


def test_every_test_is_of_the_project_s_suite() -> None:
    about = About(PROJECT.folder, suite="shop")
    assert {test.suite for test in parse(sample("mixed"), about).tests} == {"shop"}


def test_errors_are_plain_text_of_bounded_length() -> None:
    found = {test.title: test.error for test in parse(sample("mixed"), PROJECT).tests}
    assert str(found["fails"]).startswith("Error: expect(received).toBe(expected) // Object.is equality")
    assert str(found["is flaky"]).startswith("Error: expect(received).toBeGreaterThan(expected)")
    assert found["passes unexpectedly"] == "expected failed, got passed"
    assert found["fails as expected"] is found["is skipped"] is None
    assert not [error for error in found.values() if error and "\x1b" in error]
    assert plain("\x1b[31m" + "ä" * 5000 + "\x1b[0m", 100) == "ä" * 99 + "…"
    assert plain("\x1b]8;;http://x\x07link\x1b]8;;\x07 \x1b[2K\x1b(Bok") == "link \x1b(Bok"


def test_one_that_only_waited_for_another_is_told_from_one_that_wished_to_be_skipped() -> None:
    found = {test.title.rpartition(" ")[2]: test for test in parse(sample("mixed"), PROJECT).tests}
    assert (found["skipped"].error, found["after"].error) == (None, "did not run")


def test_what_was_interrupted_has_no_verdict() -> None:
    found = parse(sample("interrupted"), PROJECT)
    assert [(test.title, test.status, test.error) for test in found.tests] == [
        ("first", "passed", None),
        ("third", "skipped", "did not run"),
    ]
    assert [title.rpartition(" ")[2] for title in found.interrupted] == ["second"]


def test_what_was_still_running_when_the_time_was_over_has_failed() -> None:
    found = parse(sample("interrupted"), replace(PROJECT, over=True))
    assert [(test.title, test.status, test.error) for test in found.tests] == [
        ("first", "passed", None),
        ("second", "failed", "was still running when the job's time was over"),
        ("third", "skipped", "did not run"),
    ]
    failure = verdict.failure(Exit(130, None, 1.0, 1.0), found, PARAMS, retried=0)
    assert failure
    assert failure.type == "timeout"
    assert "while running tests/one.spec.js:" in failure.message


def test_each_project_s_tests_have_ids_of_their_own() -> None:
    report = sample("projects")
    (spec,) = report["suites"][0]["specs"]  # Playwright names one id for both
    begun = [
        {"id": f"of {name}", "project": name, "file": f"/project/{spec['file']}", "title": spec["title"],
         "line": spec["line"], "column": spec["column"]}
        for name in ("old", "new")
    ]  # fmt: skip
    assert {test.id for test in parse(report, replace(PROJECT, begun=begun)).tests} == {"of old", "of new"}
    assert len({test.id for test in parse(report, PROJECT).tests}) == 2


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"config": {"rootDir": 1}, "suites": [], "errors": [], "stats": {}}']
)
def test_what_is_no_report_is_said_to_be_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(BadReport, match="cannot be read"):
        read(tmp_path / "report.json", About(tmp_path))
    with pytest.raises(BadReport, match="no report was written"):
        read(tmp_path / "nothing.json", About(tmp_path))


def test_junit_marks_flaky_tests_and_survives_any_text(tmp_path: Path) -> None:
    tests = [
        TestCase("1", "good \x00\x0b<&>", "a.js", 1, "passed", 1.5),
        TestCase("2", "bad", "a.js", 2, "failed", 0.5, 1, "Error: \x08\ud800 no\nmore"),
        TestCase("3", "flaky", "b.js", 3, "flaky", 1.0, 1, "Error: once"),
        TestCase("4", "skipped", "b.js", 4, "skipped", 0.0),
    ]
    junit.write(tmp_path / "junit.xml", tests)
    root = ET.parse(tmp_path / "junit.xml").getroot()
    assert {name: root.get(name) for name in ("tests", "failures", "skipped", "time")} == {
        "tests": "4", "failures": "1", "skipped": "1", "time": "3.000",
    }  # fmt: skip
    assert [suite.get("name") for suite in root] == ["a.js", "b.js"]
    cases = {str(case.get("line")): case for case in root.iter("testcase")}
    assert [child.tag for child in cases["2"]] == ["failure"]
    assert [child.tag for child in cases["3"]] == ["properties", "flakyFailure"]
    assert [child.tag for child in cases["4"]] == ["skipped"]


def test_failed_tests_are_counted() -> None:
    failure = verdict.failure(ONE, parse(sample("mixed"), PROJECT), PARAMS, retried=0)
    assert failure
    assert (failure.type, failure.message, failure.exit_code) == ("exit", "3 of 9 tests failed", 1)


def test_failures_that_ended_the_run_are_failures_and_nobodys_stop() -> None:
    report = parse(sample("max-failures"), PROJECT)
    assert len(report.interrupted) == 1
    failure = verdict.failure(ONE, report, PARAMS, retried=0)
    assert failure
    assert (failure.type, failure.message, failure.signal) == ("exit", "1 of 2 tests failed", None)
    stopped = verdict.failure(Exit(130, None, 1.0, 1.0), report, PARAMS, retried=0)
    assert stopped
    assert (stopped.type, stopped.signal) == ("signal", 2)


def test_a_time_for_all_tests_that_is_over_is_said_to_be() -> None:
    report = parse(sample("global-timeout"), PROJECT)
    failure = verdict.failure(ONE, report, PARAMS, retried=0)
    assert failure
    assert failure.type == "exit"
    assert failure.message.startswith("Timed out waiting 2s for the ")


def test_an_import_that_fails_is_told_and_not_that_therefore_no_tests_were_found() -> None:
    failure = verdict.failure(ONE, parse(sample("unimportable"), PROJECT), PARAMS, retried=0)
    assert failure
    assert failure.type == "exit"
    assert failure.message.startswith("Error: Cannot find module './not-there'")


@pytest.mark.parametrize(
    ("error", "kind", "hint"),
    [
        ("Error: listen EADDRINUSE: address already in use 0.0.0.0:4723", "infra", ""),
        ("Error: ANDROID_HOME environment variable is not set", "infra", 'env = { ANDROID_HOME = "/its/folder" }'),
        ("Error: JAVA_HOME environment variable is not set", "infra", "--env JAVA_HOME="),
        ("Error: [BROWSERSTACK_QUEUE_SIZE_EXCEEDED] All parallel tests are currently in use", "infra", ""),
        ("Error: File not found at given path: app.apk", "exit", ""),
        ('Fixture "device" cannot be overridden in the configuration', "exit", "@playwright/test@1.47.2"),
    ],
)
def test_a_run_that_tested_nothing_is_the_machines_fault_or_the_projects(error: str, kind: str, hint: str) -> None:
    failure = verdict.failure(ONE, Report((), (error,), 0.1), PARAMS, retried=0)
    assert failure
    assert failure.type == kind
    assert failure.message.startswith(error)
    assert hint in failure.message


def test_tests_that_are_gone_by_the_time_of_a_retry_are_missed() -> None:
    failure = verdict.failure(ONE, Report((), ("Error: No tests found",), 0.1), PARAMS, retried=3)
    assert failure
    assert (
        failure.message == "none of the 3 tests that were left to run is in tests/one.spec.js any more: it has changed"
    )


def test_a_clean_end_is_no_failure_and_a_killed_one_is_whatever_the_report_says() -> None:
    report = Report((TestCase("1", "a", "a.js", 1, "passed", 1.0),), (), 0.1)
    assert verdict.failure(Exit(0, None, 1.0, 1.0), report, PARAMS, retried=0) is None
    killed = verdict.failure(KILLED, report, PARAMS, retried=0)
    assert killed
    assert (killed.type, killed.signal) == ("signal", 9)


def test_flaky_tests_can_be_a_failure() -> None:
    report = Report((TestCase("1", "a", "a.js", 1, "flaky", 1.0, 1, "once"),), (), 0.1)
    failure = verdict.failure(ONE, report, PARAMS, retried=0)
    assert failure
    assert failure.message == "1 flaky tests, and --fail-on-flaky-tests"


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ("hello\n\x1b[31mError: no such project\x1b[0m\n   at x\n", "Error: no such project"),
        ("one\ntwo\n", "one two"),
        ("", "Playwright ended with exit code 1, and no report was written"),
    ],
)
def test_without_a_report_the_output_tells_what_happened(log: str, message: str) -> None:
    failure = verdict.without_report(ONE, "no report was written", log)
    assert (failure.type, failure.message) == ("exit", message)


def test_an_error_beside_tests_is_short_and_says_its_place_in_the_project() -> None:
    stack = "".join(f"\n    at {name} (node:internal/{name}:1:2)" for name in "abcdefgh")
    text = f"Error: mine\nsecond\nthird\nfourth\n    at Object.<anonymous> (playwright.config.js:3:7){stack}"
    assert brief(text) == "Error: mine second third (playwright.config.js:3:7)"
    assert brief("SyntaxError: a.js: Unexpected token (2:5)\n\n  1 | a\n> 2 | b\n") == (
        "SyntaxError: a.js: Unexpected token (2:5)"
    )
    assert brief("    at x") == "at x"
    assert brief("") == ""
    report = {"errors": [{"message": "Error: mine", "location": {"file": "/project/a.js", "line": 3, "column": 7}}]}
    found = parse({"config": {"rootDir": "/project"}, "suites": [], "stats": {"duration": 1}, **report}, PROJECT)
    assert [brief(error) for error in found.errors] == ["Error: mine (a.js:3:7)"]
