"""Exit codes, reports, and what the doctor makes of a server."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from hpcq.cli.artifacts import place
from hpcq.cli.calls import Code, refused, verdict
from hpcq.cli.doctor import findings
from hpcq.cli.refusal import NotRun, refusal
from hpcq.cli.report import default_name, results, write_junit, write_results
from hpcq.cli.submit import left_running
from hpcq.client import Problem

NOW = datetime(2026, 11, 22, 2, 6, 0, tzinfo=UTC)


def job(state: str, kind: str | None = None, **more: Any) -> Any:
    error = {"type": kind, "message": f"because {kind}"} if kind else None
    basis = {
        "id": "i",
        "number": 1,
        "name": "n",
        "queue": "q",
        "state": state,
        "error": error,
        "attempt": 1,
        "run_s": 0.5,
    }
    return {**basis, **more}


GOOD = job("succeeded")


@pytest.mark.parametrize(
    ("jobs", "code"),
    [
        ([], Code.OK),
        ([GOOD, GOOD], Code.OK),
        ([GOOD, job("failed", "exit")], Code.FAILED),
        ([GOOD, job("cancelled")], Code.FAILED),
        ([GOOD, job("failed", "infra"), job("failed", "lost")], Code.NOT_ITS_FAULT),
        ([job("failed", "infra"), job("failed", "exit")], Code.FAILED),
        ([job("failed", "infra"), job("cancelled")], Code.FAILED),
    ],
)
def test_the_exit_code_says_how_the_jobs_ended(jobs: list[Any], code: Code) -> None:
    assert verdict(jobs) == code


def test_the_codes_are_those_that_are_promised() -> None:
    assert [int(code) for code in Code] == [0, 1, 2, 3, 4, 74, 124, 129, 130, 143]


def test_the_default_name_of_the_results_carries_the_time() -> None:
    assert default_name(NOW) == "hpcq_results_20261122_020600.json"


def test_results_hold_every_job_and_the_sums(tmp_path: Path) -> None:
    jobs = [job("succeeded", run_s=1.0), job("failed", "exit", run_s=3.0), job("cancelled", run_s=None)]
    path = tmp_path / "new" / "r.json"
    write_results(path, results(jobs, server="http://x", started=NOW, ended=NOW))
    found = json.loads(path.read_text())
    assert found["counts"] == {"succeeded": 1, "failed": 1, "cancelled": 1}
    sums = [found[name] for name in ("total", "total_s", "average_s", "fastest_s", "slowest_s", "exit_code")]
    assert sums == [3, 4.0, 2.0, 1.0, 3.0, 1]
    assert [one["state"] for one in found["jobs"]] == ["succeeded", "failed", "cancelled"]


def test_junit_tells_failures_of_jobs_from_errors_around_them(tmp_path: Path) -> None:
    jobs = [GOOD, job("failed", "exit"), job("failed", "infra", queue="r"), job("cancelled")]
    write_junit(tmp_path / "r.xml", jobs, NOW)
    root = ElementTree.parse(tmp_path / "r.xml").getroot()
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("4", "1", "2")
    assert [suite.get("name") for suite in root] == ["q", "r"]
    assert [child.tag for case in root.iter("testcase") for child in case] == ["failure", "error", "error"]
    failure = next(root.iter("failure"))
    assert (failure.get("type"), failure.get("message")) == ("exit", "because exit")


def test_junit_survives_what_xml_cannot_hold(tmp_path: Path) -> None:
    hostile = "\x00\x1b[31m<&\"'\x0b\ufffe\ud800 größe"
    write_junit(tmp_path / "r.xml", [job("failed", "exit", name=hostile, result={"tail": hostile})], NOW)
    case = next(ElementTree.parse(tmp_path / "r.xml").getroot().iter("testcase"))
    assert case.get("name") == "<&\"' größe"
    assert case.findtext("system-out") == "<&\"' größe"


def test_junit_shows_a_test_job_itself_where_it_failed_by_more_than_its_tests(tmp_path: Path) -> None:
    passed = {"id": "t", "title": "a test", "file": "a.js", "line": 1, "status": "passed", "duration_s": 2.0}
    failed = {**passed, "status": "failed", "error": "boom\nat a.js:1"}
    jobs = [
        job("failed", "infra", result={"tests": [failed]}),
        job("failed", "exit", result={"tests": [passed]}),
        job("failed", "exit", result={"tests": [failed]}),
        job("succeeded", result={"tests": "none of ours"}),
        job("succeeded", result={"tests": [{"status": "passed"}]}),
    ]
    write_junit(tmp_path / "r.xml", jobs, NOW)
    (suite,) = ElementTree.parse(tmp_path / "r.xml").getroot()
    shown = [(case.get("name"), [child.tag for child in case]) for case in suite]
    assert shown == [
        ("a test", ["failure"]),
        ("n", ["error"]),
        ("a test", []),
        ("n", ["failure"]),
        ("a test", ["failure"]),
        ("n", []),
        ("n", []),
    ]
    assert suite[0][0].get("message") == "boom"


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "", "..", "./x/..", "a/.."])
def test_an_artifact_s_name_never_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    assert place(tmp_path, name) is None


def test_an_artifact_s_folders_are_kept_and_strange_letters_replaced(tmp_path: Path) -> None:
    assert place(tmp_path, "a/b.txt") == tmp_path / "a" / "b.txt"
    assert place(tmp_path, "a\\..\\b:\x1b\x9b") == tmp_path / "a_.._b___"


def health(**queues: str) -> dict[str, Any]:
    parts = {name: {"status": status, "message": f"{name} lacks adb"} for name, status in queues.items()}
    return {"status": "degraded", "parts": {"store": {"status": "ok", "message": ""}, "queues": parts, "runners": {}}}


def states(found: list[dict[str, str]]) -> dict[str, str]:
    return {one["part"]: one["state"] for one in found}


def test_the_doctor_counts_only_queues_in_use() -> None:
    queues = [{"name": "used", "slots": 2}, {"name": "idle", "slots": 2}, {"name": "sick", "slots": 2}]
    found = findings(health(used="ok", idle="unused", sick="degraded"), queues, [])
    assert states(found) == {"store": "ok", "queue used": "ok", "queue idle": "unused", "queue sick": "missing"}
    assert found[-1]["note"] == "sick lacks adb"


def test_the_doctor_names_the_command_that_opens_a_queue() -> None:
    queues = [{"name": "a", "slots": 2, "paused": True}, {"name": "b", "slots": 0}]
    found = findings(health(a="paused", b="ok"), queues, [])
    assert "hpcq queues resume a" in found[1]["note"]
    assert "hpcq queues scale b" in found[2]["note"]


def test_the_doctor_finds_a_store_that_takes_nothing() -> None:
    sick = {"status": "degraded", "parts": {"store": {"status": "degraded", "message": "the disk is full"}}}
    assert findings(sick, [], []) == [{"part": "store", "state": "missing", "note": "the disk is full"}]


def test_a_broken_runner_that_no_queue_uses_is_told_but_not_counted() -> None:
    runner = {"name": "odd", "ready": False, "queues": [], "message": "raised ImportError"}
    assert findings({"parts": {}}, [], [runner]) == [
        {"part": "runner odd", "state": "unused", "note": "raised ImportError"}
    ]


@pytest.mark.parametrize(
    ("status", "code"), [(422, Code.USAGE), (401, Code.USAGE), (409, Code.FAILED), (503, Code.NOT_ITS_FAULT)]
)
def test_a_refusal_tells_whose_fault_it_is(status: int, code: Code) -> None:
    assert refused(Problem(status, "no")) is code


def refused_run(status: int, *pointers: str) -> int | None:
    problem = Problem(status, "no", "no", [{"pointer": pointer, "detail": "d"} for pointer in pointers])
    error = refusal(problem)
    return error.code if isinstance(error, NotRun) else None


def test_only_what_the_project_says_against_its_tests_is_a_failed_run() -> None:
    assert refused_run(422, "/0/params/split") == Code.FAILED
    assert refused_run(422, "/0/params/split", "/0/params/env") is None
    assert refused_run(422, "/0/queue") is None
    assert refused_run(422) is None
    assert refused_run(409) is None
    assert refused_run(503) == Code.NOT_ITS_FAULT
    assert refused_run(401) is None


def test_a_report_without_jobs_says_in_one_case_why(tmp_path: Path) -> None:
    write_junit(tmp_path / "r.xml", [], NOW, "no tests found\nanywhere")
    (case,) = ElementTree.parse(tmp_path / "r.xml").getroot().iter("testcase")
    (error,) = case
    assert (error.tag, error.get("message"), error.text) == ("error", "no tests found", "no tests found\nanywhere")
    found = results([], server="x", started=NOW, ended=NOW, code=4, why="no adb")
    assert (found["exit_code"], found["why"], found["jobs"]) == (4, "no adb", [])


def test_half_a_report_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(content[:10])
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write_results(tmp_path / "r.json", {"a": 1})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("ids", "left", "words"),
    [
        (["a"], 1, "the job goes on"),
        (["a", "b"], None, "the 2 jobs go on"),
        (["a", "b"], 2, "the 2 jobs go on"),
        (["a", "b"], 1, "1 of the 2 jobs goes on"),
        (["a", "b", "c"], 2, "2 of the 3 jobs go on"),
    ],
)
def test_whoever_stops_watching_hears_how_many_go_on(ids: list[str], left: int | None, words: str) -> None:
    assert left_running(ids, "run=1", left).startswith(f"{words} without us")


@pytest.mark.parametrize(
    ("detail", "lines"),
    [
        ("1 field is not acceptable", ["hpcq: 1 field is not acceptable", "  limit: too large"]),
        ("query parameter limit: too large", ["hpcq: query parameter limit: too large"]),
    ],
)
def test_each_thing_that_the_server_refuses_is_said_once(
    capsys: pytest.CaptureFixture[str], detail: str, lines: list[str]
) -> None:
    problem = Problem(422, "Unprocessable Entity", detail, [{"pointer": "limit", "detail": "too large"}])
    assert refused(problem) is Code.USAGE
    assert capsys.readouterr().err.splitlines() == lines
