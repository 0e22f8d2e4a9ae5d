"""Test jobs through a real server: retried, split, cancelled, uploaded, refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import MakeServer
from tests.support.cli import Cli
from tests.support.playwright import packed, project
from tests.support.server import ServerProcess
from tests.support.wait import wait_until_blocking

GOOD = 'test("good", async () => {});'
MENDED = GOOD + '\ntest("breaks once", async () => { expect(process.env.HPCQ_ATTEMPT).toBe("2"); });'
LASTS = 'test("lasts", async () => { test.setTimeout(0); console.log("here"); await new Promise(() => {}); });'
SPEC = "tests/one.spec.js"


def local(folder: Path) -> str:
    """The configuration of a queue whose jobs are tests of this project."""
    return f"[queues.local]\nslots = 2\nproject_dir = {json.dumps(str(folder))}\n"


def test_a_retry_runs_what_failed_and_the_result_is_the_union(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server(local(project(tmp_path / "shop", one=MENDED)))
    job = server.submit("local", {"test_path": SPEC}, retries={"max": 1, "backoff_s": 0})
    job = server.job(job["id"], 60)
    assert (job["state"], job["attempt"]) == ("succeeded", 2), job["error"]
    assert {test["title"]: test["status"] for test in job["result"]["tests"]} == {
        "good": "passed",
        "breaks once": "flaky",
    }
    assert {name: job["result"][name] for name in ("passed", "failed", "flaky", "skipped")} == {
        "passed": 1, "failed": 0, "flaky": 1, "skipped": 0,
    }  # fmt: skip
    first, second = server.get(f"/v1/jobs/{job['id']}/attempts")["attempts"]
    assert len(first["result"]["tests"]) == 2
    assert [test["title"] for test in second["result"]["tests"]] == ["breaks once"]
    kept = {artifact["name"] for artifact in job["artifacts"]}
    assert {"attempt-1/report.json", "attempt-1/junit.xml", "attempt-2/report.json"} <= kept


def test_failed_tests_are_counted_in_the_error(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server(local(project(tmp_path / "shop", one=MENDED)))
    job = server.submit("local", {"test_path": SPEC, "app_version_id": "only-a-label"}, wait_s=60)
    assert (job["state"], job["error"]["type"]) == ("failed", "exit")
    assert (job["error"]["message"], job["error"]["exit_code"]) == ("1 of 2 tests failed", 1)


def test_a_cancelled_test_leaves_nothing_behind(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server(local(project(tmp_path / "shop", one=LASTS)))
    job = server.submit("local", {"test_path": SPEC})
    wait_until_blocking(lambda: "here" in server.output(job["id"]), 60, "the test")
    server.note_offspring()
    server.request("POST", f"/v1/jobs/{job['id']}/cancel", {})
    assert server.until(job["id"], "cancelled")["state"] == "cancelled"
    assert server.submit("local", {"command": "true"}, wait_s=30)["state"] == "succeeded"
    server.stop()


def history(server: ServerProcess) -> dict[str, tuple[int, int]]:
    """Title to its runs and failures."""
    return {test["title"]: (test["runs"], test["counts"]["failed"]) for test in server.get("/v1/tests")["tests"]}


def test_a_test_that_lasts_until_the_jobs_timeout_has_failed(make_server: MakeServer, tmp_path: Path) -> None:
    spec = f'{GOOD}\n{LASTS}\ntest("never begins", async () => {{}});'
    folder = project(tmp_path / "shop", "module.exports = { workers: 1 };", one=spec)
    server = make_server(local(folder) + "grace_s = 20\n")
    job = server.submit("local", {"test_path": SPEC}, timeout_s=6)
    job = server.job(job["id"], 60)
    assert (job["state"], job["error"]["type"]) == ("failed", "timeout")
    found = {test["title"]: (test["status"], test["error"]) for test in job["result"]["tests"]}
    assert found == {
        "good": ("passed", None),
        "lasts": ("failed", "was still running when the job's time was over"),
        "never begins": ("skipped", "did not run"),
    }
    assert job["result"]["failed"] == 1
    assert history(server)["lasts"] == (1, 1)
    junit = server.request("GET", f"/v1/jobs/{job['id']}/artifacts/attempt-1/junit.xml").body.decode()
    assert '<failure message="was still running' in junit


def test_a_test_that_was_under_way_at_a_cancel_has_not_failed(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server(local(project(tmp_path / "shop", one=f"{GOOD}\n{LASTS}")))
    job = server.submit("local", {"test_path": SPEC}, timeout_s=60)
    wait_until_blocking(lambda: "here" in server.output(job["id"]), 60, "the test")
    server.request("POST", f"/v1/jobs/{job['id']}/cancel", {})
    job = server.until(job["id"], "cancelled")
    assert [test["status"] for test in (job["result"] or {}).get("tests", ())] in (["passed"], [])
    assert "lasts" not in history(server)


def test_a_folder_is_split_into_one_job_for_each_file(make_server: MakeServer, tmp_path: Path) -> None:
    folder = project(tmp_path / "shop", one=GOOD, two=MENDED, none="")
    server = make_server(local(folder))
    params = {"test_path": "tests", "split": "file", "grep": "good"}
    answer = server.request("POST", "/v1/jobs", {"queue": "local", "params": params, "tags": {"pr": "12"}})
    assert (answer.status, answer.json["count"]) == (201, 2), answer.body
    jobs = [server.job(job_id, 60) for job_id in answer.json["ids"]]
    assert {job["params"]["test_path"] for job in jobs} == {"tests/one.spec.js", "tests/two.spec.js"}
    assert {job["state"] for job in jobs} == {"succeeded"}
    assert len({job["batch_key"] for job in jobs}) == 1
    assert {test["file"] for job in jobs for test in job["result"]["tests"]} == {
        "tests/one.spec.js",
        "tests/two.spec.js",
    }


def test_two_projects_with_the_same_test_have_a_history_each(make_server: MakeServer, tmp_path: Path) -> None:
    sleeps = 'test("good", async () => {{ await new Promise((go) => setTimeout(go, {})); }});'
    shop, bank = (
        project(tmp_path / name, one=sleeps.format(one_ms), two=sleeps.format(two_ms))
        for name, one_ms, two_ms in (("shop", 0, 500), ("bank", 500, 0))
    )
    server = make_server(local(shop))
    for folder in (shop, bank):
        (folder / "package.json").write_text(json.dumps({"name": f"@acme/{folder.name}"}))
        server.submit("local", {"test_path": "tests", "cwd": str(folder)}, wait_s=60)
    tests = server.get("/v1/tests")["tests"]
    assert [(test["suite"], test["file"]) for test in tests] == [
        (f"@acme/{name}", f"tests/{file}.spec.js") for name in ("bank", "shop") for file in ("one", "two")
    ]
    assert [test["id"] for test in tests[:2]] == [test["id"] for test in tests[2:]]
    for folder, longest in ((shop, "two"), (bank, "one")):
        params = {"test_path": "tests", "cwd": str(folder), "split": "file"}
        answer = server.request("POST", "/v1/jobs", {"queue": "local", "params": params})
        assert server.job(answer.json["ids"][0])["params"]["test_path"] == f"tests/{longest}.spec.js"


def test_a_split_that_finds_no_tests_is_refused_with_playwrights_words(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server(local(project(tmp_path / "shop", one='require("./not-there");')))
    body = {"queue": "local", "params": {"test_path": "tests", "split": "file"}}
    answer = server.request("POST", "/v1/jobs", body)
    assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/params/split")
    assert "Cannot find module './not-there'" in answer.json["errors"][0]["detail"]


def test_an_uploaded_project_is_run_against_an_uploaded_build(make_server: MakeServer, tmp_path: Path) -> None:
    config = 'module.exports = { projects: [{ name: "a", use: { buildPath: "old.apk" } }] };'
    spec = """test("sees", async ({}, info) => {
  const path = info.project.use.buildPath;
  expect([path.endsWith(".apk"), require("fs").readFileSync(path, "utf8")]).toEqual([true, "a build"]);
});"""
    folder = project(tmp_path / "shop", config, one=spec)
    modules = json.dumps(str(folder / "node_modules"))
    server = make_server(f"[queues.local]\nnode_modules = {modules}\n")
    params = {"test_path": SPEC, "cwd": server.upload(packed(folder)), "app": server.upload(b"a build")}
    job = server.submit("local", params, wait_s=60)
    assert job["state"] == "succeeded", (job["error"], job["result"])


def test_the_doctor_notes_that_uploads_would_lack_modules_but_finds_no_fault(
    make_server: MakeServer, tmp_path: Path
) -> None:
    shop = project(tmp_path / "shop", one=GOOD)
    server = make_server('[queues.ready]\nrunner = "shell"\nnpm_ci = true\n')
    found = Cli(server.url, tmp_path)("doctor", "--json")
    notes = {one["part"]: one["note"] for one in found.json["findings"]}
    assert (found.code, notes["queue ready"]) == (0, "")
    assert "set npm_ci = true in [queues.local]" in notes["queue local"]
    params = {"test_path": SPEC, "cwd": server.upload(packed(shop))}
    job = server.submit("local", params, retries={"max": 0}, wait_s=60)
    assert (job["state"], job["error"]["type"]) == ("failed", "infra"), "and who uploads has not done it wrong"
    assert "npm_ci = true" in job["error"]["message"]


@pytest.mark.parametrize(
    ("params", "pointers"),
    [
        ({"test_path": "-x"}, ["/params/test_path"]),
        ({"test_path": "../a", "cwd": "/x"}, ["/params/test_path"]),
        ({"test_path": "a", "cwd": "/x", "args": ["--config=evil"], "app": 7}, ["/params/app", "/params/args"]),
        ({"test_path": "a", "cwd": "unknown"}, ["/params/cwd"]),
        ({"test_path": "a", "cwd": {"blob": "0" * 64}}, ["/params/cwd/blob"]),
        ({"test_path": "a", "command": "x", "cwd": "/x"}, ["/params/command"]),
    ],
)
def test_a_bad_test_job_is_refused_with_all_its_faults(
    server: ServerProcess, params: dict[str, Any], pointers: list[str]
) -> None:
    answer = server.request("POST", "/v1/jobs", {"queue": "local", "params": params})
    assert answer.status == 422
    assert sorted(error["pointer"] for error in answer.json["errors"]) == sorted(pointers)


def test_a_job_without_a_project_is_rejected_where_the_queue_has_none(server: ServerProcess) -> None:
    job = server.submit("local", {"test_path": SPEC, "app_version_id": "xyz123"}, wait_s=30)
    assert (job["state"], job["error"]["type"]) == ("failed", "rejected")
    assert "project_dir" in job["error"]["message"]


def test_a_spec_that_is_not_there_is_rejected_and_not_tried_again(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server(local(project(tmp_path / "shop")))
    job = server.submit("local", {"test_path": SPEC}, retries={"max": 3, "backoff_s": 0}, wait_s=30)
    assert (job["state"], job["attempt"], job["error"]["type"]) == ("failed", 1, "rejected")
    assert job["error"]["message"].startswith(f"test_path {SPEC} is not there")
