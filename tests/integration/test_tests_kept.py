"""Test jobs on a real server: what their tests report is kept, merged over attempts, and shown."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.integration.conftest import MakeServer
from tests.support.cli import Cli
from tests.support.server import ServerProcess
from tests.support.wait import wait_until_blocking

PLUGINS = Path(__file__).parent.parent / "support" / "plugins"
CONFIG = '[queues.e2e]\nrunner = "cases"\nslots = 2\n[queues.raw]\nrunner = "cases_raw"\nslots = 1\n'
ENV = {"PYTHONPATH": str(PLUGINS)}
ONCE_MORE = {"max": 1, "backoff_s": 0}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    server = ServerProcess(tmp_path_factory.mktemp("server"), CONFIG, env=ENV)
    yield server.start()
    server.close()


def case(id_: str, *goes: str, **more: Any) -> dict[str, Any]:
    return {"id": id_, "goes": goes, **more}


def run(server: ServerProcess, *tests: dict[str, Any], retries: int = 0, **params: Any) -> dict[str, Any]:
    policy = {"max": retries, "backoff_s": 0}
    return server.submit("e2e", {"tests": tests, **params}, wait_s=30, retries=policy)


def verdicts(result: dict[str, Any]) -> dict[str, str]:
    return {test["id"]: test["status"] for test in result["tests"]}


def test_a_retry_runs_only_what_failed_and_the_job_succeeds_with_the_union(server: ServerProcess) -> None:
    job = run(server, case("u1", "passed"), case("u2", "failed", "passed"), case("u3", "skipped"), retries=1)
    assert (job["state"], job["attempt"], job["error"]) == ("succeeded", 2, None)
    assert verdicts(job["result"]) == {"u1": "passed", "u2": "flaky", "u3": "skipped"}
    assert {name: job["result"][name] for name in ("passed", "failed", "flaky", "skipped", "duration_s")} == {
        "passed": 1, "failed": 0, "flaky": 1, "skipped": 1, "duration_s": 3.0,
    }  # fmt: skip
    first, second = server.get(f"/v1/jobs/{job['id']}/attempts")["attempts"]
    assert first["error"]["message"] == "1 of 3 tests failed"
    assert verdicts(first["result"]) == {"u1": "passed", "u2": "failed", "u3": "skipped"}
    assert verdicts(second["result"]) == {"u2": "passed"}
    assert server.get(f"/v1/jobs/{job['id']}/result") == job["result"]


def test_failed_tests_fail_the_job_with_their_number_and_the_result_filled(server: ServerProcess) -> None:
    job = run(server, *(case(f"n{number}", "failed" if number < 2 else "passed") for number in range(5)), ends=["exit"])
    assert job["error"] == {"type": "exit", "message": "2 of 5 tests failed", "exit_code": 1, "signal": None}
    assert (job["result"]["failed"], job["result"]["passed"]) == (2, 3)
    assert job["result"]["tests"][0]["error"] == "n0 went wrong"


def test_a_failure_beside_the_tests_is_told_as_it_is(server: ServerProcess) -> None:
    job = run(server, case("b1", "passed"), ends=["exit"])
    assert job["error"]["message"] == "the tests ended with 1"
    assert verdicts(job["result"]) == {"b1": "passed"}


def test_a_broken_device_makes_no_test_flaky_and_leaves_no_failure_in_the_history(server: ServerProcess) -> None:
    job = run(server, case("i1", "failed", "passed", title="on a broken device"), ends=["infra", "ok"])
    assert (job["state"], verdicts(job["result"])) == ("succeeded", {"i1": "passed"})
    (test,) = server.get("/v1/tests?text=broken+device")["tests"]
    assert (test["counts"], test["flaky"]) == ({"passed": 1, "failed": 0, "flaky": 0, "skipped": 0}, False)


def test_the_runners_own_result_stays_beside_the_tests(server: ServerProcess) -> None:
    job = run(server, case("o1", "passed"), result={"build": "xyz"})
    assert (job["result"]["build"], job["result"]["passed"]) == ("xyz", 1)
    assert run(server, result={"only": "this"})["result"] == {"only": "this"}


def test_earlier_outcomes_carry_their_tests_over_a_restart_between_attempts(make_server: MakeServer) -> None:
    server = make_server(CONFIG, env=ENV)
    policy = {"max": 1, "backoff_s": 2, "jitter": False}
    tests = [case("r1", "passed", "failed"), case("r2", "failed", "passed")]
    job = server.submit("e2e", {"tests": tests, "commit": "abc"}, retries=policy)
    server.until(job["id"], "delayed")
    server.kill()
    server.start()
    ended = server.job(job["id"], wait_s=30)
    assert (ended["state"], ended["attempt"]) == ("succeeded", 2), "had it run r1 again, that had failed"
    assert verdicts(ended["result"]) == {"r1": "passed", "r2": "flaky"}
    assert [(test["id"], test["last_commit"]) for test in server.get("/v1/tests")["tests"]] == [
        ("r1", "abc"),
        ("r2", "abc"),
    ]


def test_an_attempt_that_the_server_died_under_is_merged_with_those_before_it(
    make_server: MakeServer, tmp_path: Path
) -> None:
    server, go = make_server(CONFIG, env=ENV), tmp_path / "go"
    tests = [case("d1", "passed", "failed"), case("d2", "failed", "passed")]
    job = server.submit("e2e", {"tests": tests, "waits_for": str(go)}, retries=ONCE_MORE)
    wait_until_blocking(lambda: server.job(job["id"])["attempt"] == 2, what="the second attempt")
    server.until(job["id"], "running")
    server.kill()
    go.touch()
    server.start()
    ended = server.job(job["id"], wait_s=30)
    assert (ended["state"], ended["attempt"]) == ("succeeded", 3)
    assert verdicts(ended["result"]) == {"d1": "passed", "d2": "flaky"}


def test_a_job_that_is_tried_again_by_hand_runs_what_had_failed(server: ServerProcess) -> None:
    job = run(server, case("h1", "passed", "failed"), case("h2", "failed", "passed"))
    assert job["state"] == "failed"
    server.request("POST", f"/v1/jobs/{job['id']}/retry")
    ended = server.job(job["id"], wait_s=20)
    assert (ended["state"], verdicts(ended["result"])) == ("succeeded", {"h1": "passed", "h2": "flaky"})


def test_tests_of_a_wrong_shape_fail_the_attempt_as_the_runners_bug(server: ServerProcess) -> None:
    job = server.submit("raw", {"tests": [{"id": "t"}]}, wait_s=20)
    assert (job["state"], job["error"]["type"]) == ("failed", "exception")
    assert "not a TestCase" in job["error"]["message"]
    assert server.submit("raw", {"tests": []}, wait_s=20)["state"] == "succeeded"


def test_many_tests_are_all_kept_though_the_result_shows_only_some(server: ServerProcess) -> None:
    tests = [case(f"m{number}", "failed" if number == 999 else "passed", file="many.js") for number in range(1000)]
    job = run(server, *tests)
    assert job["error"]["message"] == "1 of 1000 tests failed"
    assert len(json.dumps(job["result"])) < 80_000
    assert job["result"]["left_out"] == 1000 - len(job["result"]["tests"])
    assert verdicts(job["result"])["m999"] == "failed"
    whole = server.get(f"/v1/jobs/{job['id']}/tests")["tests"]
    assert [test["id"] for test in whole] == [f"m{number}" for number in range(1000)]
    seen, cursor = [], ""
    while cursor is not None:
        page = server.get(f"/v1/tests?file=many.js&limit=400{cursor and f'&cursor={cursor}'}")
        seen += [test["id"] for test in page["tests"]]
        cursor = page["next_cursor"]
    assert sorted(seen) == sorted(test["id"] for test in tests)


def test_a_jobs_tests_are_shown_by_attempt_too(server: ServerProcess) -> None:
    job = run(server, case("a1", "passed"), case("a2", "failed", "passed"), retries=1)
    path = f"/v1/jobs/{job['id']}/tests"
    assert verdicts(server.get(path)) == {"a1": "passed", "a2": "flaky"}
    assert verdicts(server.get(f"{path}?attempt=1")) == {"a1": "passed", "a2": "failed"}
    assert verdicts(server.get(f"{path}?attempt=2")) == {"a2": "passed"}
    assert server.request("GET", f"{path}?attempt=3").status == 404
    assert server.request("GET", "/v1/jobs/01a201bc-c83e-7000-958d-c15b6aaf89ff/tests").status == 404
    assert server.get(f"/v1/jobs/{server.submit('noop', {})['id']}/tests") == {"tests": []}


def test_the_history_rates_each_test(server: ServerProcess) -> None:
    for number, (commit, goes) in enumerate(
        (("c1", "passed"), ("c1", "failed"), ("c2", "flaky"), ("c2", "passed"), ("c2", "skipped"))
    ):
        run(server, case("rated", goes, file="rated.js", duration_s=number + 1.0), commit=commit)
    (test,) = server.get("/v1/tests?file=rated.js")["tests"]
    assert (test["runs"], test["failure_rate"], test["flaky_rate"], test["p50_duration_s"]) == (4, 0.25, 0.25, 2.0)
    assert (test["last_status"], test["last_commit"], test["flaky"]) == ("skipped", "c2", True)
    assert server.get("/v1/tests?file=rated.js&flaky=true")["tests"] == [test]
    assert server.get("/v1/tests?file=rated.js&flaky=false")["tests"] == []
    assert server.get("/v1/tests?file=rated.js&org_id=another")["tests"] == []


def test_tests_of_two_suites_have_a_history_each_though_their_ids_are_equal(server: ServerProcess) -> None:
    for suite, goes in (("shop", "passed"), ("bank", "failed")):
        job = run(server, case("suited", goes, file="suited.js", suite=suite), commit="c1")
        assert "suite" not in job["result"]["tests"][0], "the result's shape is fixed"
        for query in ("", "?attempt=1"):
            (test,) = server.get(f"/v1/jobs/{job['id']}/tests{query}")["tests"]
            assert test["suite"] == suite
    bank, shop = server.get("/v1/tests?file=suited.js")["tests"]
    assert [(test["suite"], test["failure_rate"], test["flaky"]) for test in (bank, shop)] == [
        ("bank", 1.0, False),
        ("shop", 0.0, False),
    ]
    assert server.get("/v1/tests?file=suited.js&suite=shop")["tests"] == [shop]
    assert server.get("/v1/tests?file=suited.js&suite=")["tests"] == []
    first = server.get("/v1/tests?file=suited.js&limit=1")
    assert first["tests"] == [bank]
    last = server.get(f"/v1/tests?file=suited.js&limit=1&cursor={first['next_cursor']}")
    assert (last["tests"], last["next_cursor"]) == ([shop], None)


def test_the_history_goes_when_its_time_is_over_and_a_dry_run_says_so_before(make_server: MakeServer) -> None:
    server = make_server(f"[retention]\ntests_days = 0\n{CONFIG}", env=ENV)
    job = run(server, case("p1", "passed"), case("p2", "passed"))
    assert server.request("POST", "/v1/prune", {"dry_run": True}).json["test_runs"] == 2
    assert len(server.get("/v1/tests")["tests"]) == 2
    assert server.request("POST", "/v1/prune", {}).json["test_runs"] == 2
    assert server.get("/v1/tests")["tests"] == []
    assert verdicts(server.get(f"/v1/jobs/{job['id']}/tests")) == {"p1": "passed", "p2": "passed"}


@pytest.mark.parametrize("query", ["cursor=nonsense", "limit=0", "flaky=perhaps", "name=x"])
def test_a_bad_question_about_tests_names_the_parameter(server: ServerProcess, query: str) -> None:
    answer = server.request("GET", f"/v1/tests?{query}")
    assert answer.status == 422
    assert answer.json["errors"][0]["parameter"] == query.partition("=")[0]


def test_the_command_line_lists_tests(server: ServerProcess, tmp_path: Path) -> None:
    hpcq = Cli(server.url, tmp_path)
    run(
        server,
        case("cli1", "failed", "passed", title="logs \x1b[31min", file="cli.js"),
        retries=1,
        commit="abcdef0123456",
    )
    run(server, case("cli2", "passed", title="logs out", file="cli.js"))
    found = hpcq("tests", "--file", "cli.js", "--json").json
    assert [test["id"] for test in found] == ["cli1", "cli2"]
    shown = hpcq("tests", "--file", "cli.js", "--flaky")
    assert shown.code == 0
    header, line = shown.out.splitlines()
    assert header.split() == ["FILE", "TITLE", "RUNS", "FAILED", "FLAKY", "P50", "LAST", "COMMIT", "LABEL"]
    assert line.split()[-7:] == ["1", "0%", "100%", "1.00s", "flaky", "abcdef0123", "flaky"]
    assert "\x1b" not in shown.out
    assert hpcq("tests", "--text", "no such").out == ""


def test_the_command_line_names_the_suites_where_there_are_several(server: ServerProcess, tmp_path: Path) -> None:
    hpcq = Cli(server.url, tmp_path)
    for suite in ("shop", ""):
        run(server, case("cli3", "passed", title="logs in", file="suites.js", suite=suite))
    header, *lines = hpcq("tests", "--file", "suites.js").out.splitlines()
    assert header.split()[:3] == ["SUITE", "FILE", "TITLE"]
    assert [line.split()[:2] for line in lines] == [["-", "suites.js"], ["shop", "suites.js"]]
    for suite in ("shop", ""):
        words = ("tests", "--file", "suites.js", "--suite", suite)
        assert hpcq(*words).out.split()[0] == "FILE"
        assert [test["suite"] for test in hpcq(*words, "--json").json] == [suite]


def test_junit_has_a_case_for_each_test_and_marks_the_flaky_ones(server: ServerProcess, tmp_path: Path) -> None:
    hpcq = Cli(server.url, tmp_path)
    tests = [
        case("j1", "passed", title="one", file="j.js"),
        case("j2", "failed", "passed", title="two", file="j.js"),
        case("j3", "failed", title="three", file="j.js", line=7),
        case("j4", "skipped", title="four", file="j.js"),
    ]
    params = json.dumps({"tests": tests})
    done = hpcq("run", "--queue", "e2e", "--params", params, "--retries", "1", "--junit", "r.xml", "--out", "r.json")
    assert done.code == 1, done.err
    (suite,) = ElementTree.parse(tmp_path / "r.xml").getroot()
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped", "time")} == {
        "tests": "4", "failures": "1", "errors": "0", "skipped": "1", "time": "4.000",
    }  # fmt: skip
    one, two, three, four = suite
    assert [case.get("name") for case in suite] == ["one", "two", "three", "four"]
    assert {case.get("classname") for case in suite} == {"j.js"}
    assert [child.tag for child in one] == []
    assert [child.tag for child in two] == ["properties", "flakyFailure"]
    assert two[0][0].attrib == {"name": "flaky", "value": "true"}
    assert (three[0].tag, three[0].get("message")) == ("failure", "j3 went wrong")
    assert "j.js:7" in (three[0].text or "")
    assert four[0].tag == "skipped"


def test_junit_has_all_tests_also_those_that_the_result_leaves_out(server: ServerProcess, tmp_path: Path) -> None:
    hpcq = Cli(server.url, tmp_path)
    tests = [case(f"w{number}", "passed") for number in range(800)]
    (tmp_path / "params.json").write_text(json.dumps({"tests": tests}))
    assert hpcq("run", "--queue", "e2e", "--params", "@params.json", "--junit", "r.xml").code == 0
    (suite,) = ElementTree.parse(tmp_path / "r.xml").getroot()
    assert (suite.get("tests"), len(suite)) == ("800", 800)
