"""A device farm's queue on a real server, with real Playwright, against a farm on loopback over real HTTP."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import MakeServer
from tests.support.fake_farm import project
from tests.support.fake_farm.farm import FULL, FakeFarm
from tests.support.server import ServerProcess
from tests.support.wait import wait_until_blocking

QUEUE = "/v1/queues/device_farm"
LONG_S = 90.0  # Playwright's start on a busy machine
Serve = Callable[..., ServerProcess]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project.make(tmp_path_factory.mktemp("farm") / "checkout")


@pytest.fixture
def app(tmp_path: Path) -> str:
    path = tmp_path / "app.apk"
    path.write_bytes(b"a build")
    return str(path)


@pytest.fixture
def serve(make_server: MakeServer, farm: FakeFarm, checkout: Path) -> Serve:
    """Starts a server with the farm's queue; further lines of its table may be given."""

    def start(*lines: str, env: dict[str, str] | None = None) -> ServerProcess:
        table = [f'project_dir = "{checkout}"', "poll_s = 0.05", *lines]
        table += [f'{name} = "{value}"' for name, value in farm.settings.items()]
        return make_server("[queues.device_farm]\n" + "\n".join(table), env=farm.env if env is None else env)

    return start


def run_tests(server: ServerProcess, spec: str, app: str, **fields: Any) -> dict[str, Any]:
    return server.submit("device_farm", {"test_path": f"tests/{spec}.spec.js", "app": app}, **fields)


def run_build(server: ServerProcess, fate: str, app: str, **fields: Any) -> dict[str, Any]:
    params = {"kind": "farm_build", "framework": "espresso", "app": app, "test_suite": app, "devices": [f"{fate}-14.0"]}
    return server.submit("device_farm", params, **fields)


def final(server: ServerProcess, job: dict[str, Any]) -> dict[str, Any]:
    return server.until(job["id"], "succeeded", "failed", "cancelled", timeout_s=LONG_S)


# Tests.


def test_tests_run_on_the_farms_devices_and_the_build_is_uploaded_once(serve: Serve, farm: FakeFarm, app: str) -> None:
    server = serve('device = {name = "Google Pixel 9", os_version = "15.0"}')
    jobs = [run_tests(server, "login", app) for _ in range(2)]
    ended = [final(server, job) for job in jobs]
    assert [job["state"] for job in ended] == ["succeeded", "succeeded"], ended
    assert [upload.name for upload in farm.uploads] == ["app.apk"]
    assert {session.app for session in farm.sessions.values()} == {farm.uploads[0].url}
    assert len(farm.sessions) == 2
    wanted = next(iter(farm.sessions.values())).capabilities["desiredCapabilities"]["bstack:options"]
    assert (wanted["deviceName"], wanted["osVersion"]) == ("Google Pixel 9", "15.0")
    assert not farm.live


def test_sessions_are_named_by_the_attempt_and_keep_that_name(serve: Serve, farm: FakeFarm, app: str) -> None:
    server = serve()
    job = final(server, run_tests(server, "missing", app, retries={"max": 0}))
    assert job["error"]["message"] == "1 of 1 tests failed"
    [session] = farm.sessions.values()
    assert session.was_named.endswith(f"-{job['number']}-1")
    assert session.name == f"{session.was_named} finds"


def test_cancel_closes_the_session(serve: Serve, farm: FakeFarm, app: str) -> None:
    server = serve()
    job = run_tests(server, "lasts", app)
    wait_until_blocking(lambda: farm.count("PUT", "/sessions/"), LONG_S, "the session to be open")
    server.request("POST", f"/v1/jobs/{job['id']}/cancel")
    assert final(server, job)["state"] == "cancelled"
    assert not farm.live


def test_a_job_that_is_cancelled_during_its_upload_opens_no_session(serve: Serve, farm: FakeFarm, app: str) -> None:
    server, farm.upload_gate = serve(), threading.Event()
    job = run_tests(server, "login", app)
    wait_until_blocking(lambda: farm.count("POST", "/upload"), 10, "the upload to begin")
    server.request("POST", f"/v1/jobs/{job['id']}/cancel")
    assert server.until(job["id"], "cancelled", "failed")["state"] == "cancelled"
    farm.upload_gate.set()
    assert not farm.sessions


def test_a_session_that_a_killed_test_left_is_closed(serve: Serve, farm: FakeFarm, app: str) -> None:
    server = serve()
    assert final(server, run_tests(server, "leaves", app, retries={"max": 0}))["state"] == "failed"
    assert farm.sessions
    assert not farm.live


def test_after_kill_9_no_session_stays_open(serve: Serve, farm: FakeFarm, app: str) -> None:
    server = serve()
    others = farm.open_session("somebody else's")
    job = run_tests(server, "lasts", app)
    wait_until_blocking(lambda: farm.count("PUT", "/sessions/"), LONG_S, "the session to be open")
    [left] = [session for session in farm.live if session.id != others]
    server.kill()
    server.start()
    wait_until_blocking(lambda: not left.live, LONG_S, "the session to be closed")
    server.request("POST", f"/v1/jobs/{job['id']}/cancel")
    assert final(server, job)["attempt"] == 2
    assert [session.id for session in farm.live] == [others]


def test_a_build_that_the_farm_has_dropped_is_uploaded_again(serve: Serve, farm: FakeFarm, app: str) -> None:
    server = serve()
    final(server, run_build(server, "Passes", app))
    first = {upload.url for upload in farm.uploads}
    farm.dropped.update(first)
    job = final(server, run_tests(server, "login", app))
    assert (job["state"], job["attempt"], job["retries_left"]) == ("succeeded", 2, 3), "and that costs the job nothing"
    assert {session.app for session in farm.sessions.values()}.isdisjoint(first)
    assert [test["status"] for test in job["result"]["tests"]] == ["passed"], "nor is the test flaky"


def test_a_full_farm_costs_nothing_and_the_jobs_wait_in_our_queue(serve: Serve, farm: FakeFarm, app: str) -> None:
    server = serve()
    farm.answer("POST", "/wd/hub/session", 500, {"value": {"error": "session not created", "message": FULL}})
    job = server.until(run_tests(server, "login", app)["id"], "delayed", timeout_s=LONG_S)
    assert job["retries_left"] == 3
    [attempt] = server.get(f"/v1/jobs/{job['id']}/attempts")["attempts"]
    assert attempt["error"]["type"] == "infra"
    assert "QUEUE_SIZE_EXCEEDED" in attempt["error"]["message"]
    assert {slot["state"] for slot in server.get(QUEUE)["slot_list"]} == {"held"}
    second = run_tests(server, "login", app)
    [reason, *_] = server.get(f"/v1/jobs/{second['id']}/explain")["reasons"]
    assert reason["code"] == "no_matching_slot"
    assert "QUEUE_SIZE_EXCEEDED" in reason["message"]


def test_nothing_tells_the_credentials(serve: Serve, farm: FakeFarm, app: str) -> None:
    server = serve()
    job = final(server, run_tests(server, "prints", app, retries={"max": 0}))
    assert job["state"] == "failed"
    broken = final(server, run_build(server, "Passes", app, retries={"max": 0}))
    paths = ["/health", QUEUE, "/v1/queues", "/v1/runners", "/v1/jobs", "/v1/stats", "/openapi.json", "/metrics"]
    for each in (job, broken):
        about = f"/v1/jobs/{each['id']}"
        paths += [f"{about}{part}" for part in ("", "/output", "/attempts", "/events", "/explain", "/result")]
    paths += [f"/v1/jobs/{job['id']}/artifacts/{artifact['name']}" for artifact in job["artifacts"]]
    answers = [server.request("GET", path).body for path in paths]
    server.stop()
    kept = [path.read_bytes() for path in server.data_dir.rglob("*") if path.is_file()]
    told = [text for text in (*answers, *kept, "".join(server.log).encode()) if farm.key.encode() in text]
    assert not told
    assert any(b"****" in text for text in answers), "the test did print them"


def test_the_credentials_are_in_no_title(serve: Serve, farm: FakeFarm, app: str) -> None:
    server = serve()
    job = final(server, run_tests(server, "titled", app, retries={"max": 0}))
    assert [test["title"] for test in job["result"]["tests"]] == ["with ********"]
    paths = [f"/v1/jobs/{job['id']}{part}" for part in ("", "/output", "/attempts", "/events")]
    paths += ["/v1/tests", *(f"/v1/jobs/{job['id']}/artifacts/{artifact['name']}" for artifact in job["artifacts"])]
    answers = {path: server.request("GET", path).body for path in paths}
    assert not [path for path, body in answers.items() if farm.key.encode() in body + path.encode()]


def test_the_credentials_are_hidden_while_tests_run_and_after_kill_9(serve: Serve, farm: FakeFarm, app: str) -> None:
    server = serve()
    job = run_tests(server, "reveals", app)
    output = f"/v1/jobs/{job['id']}/output"
    wait_until_blocking(lambda: b"indeed" in server.request("GET", output).body, LONG_S, "the test to print")
    assert farm.key.encode() not in server.request("GET", output).body
    server.request("PATCH", QUEUE, {"paused": True})  # no further attempt shall write it again
    server.kill()
    told = [path for path in server.data_dir.rglob("*") if path.is_file() and farm.key.encode() in path.read_bytes()]
    assert {path.name for path in told} >= {"env.txt", "printed.log"}, "the next life has something to do"
    server.start()
    wait_until_blocking(
        lambda: not any(path.exists() and farm.key.encode() in path.read_bytes() for path in told),
        LONG_S,
        "what the earlier life left to be cleaned",
    )


# Credentials.


def test_wrong_credentials_pause_the_queue_and_no_attempt_is_made(serve: Serve, farm: FakeFarm, app: str) -> None:
    right, farm.key = farm.env, "another key"
    server = serve(env=right)
    job = run_build(server, "Passes", app)
    wait_until_blocking(lambda: server.get(QUEUE)["paused"], 10, "the queue to be paused")
    assert "refused the credentials (401); correct BROWSERSTACK_USERNAME" in server.get(QUEUE)["paused_reason"]
    assert "(401)" in server.get("/health")["parts"]["queues"]["device_farm"]["message"]
    assert server.job(job["id"])["attempt"] == 0
    server.request("PATCH", QUEUE, {"paused": False})  # still wrong: paused again
    wait_until_blocking(lambda: server.get(QUEUE)["paused"], 10, "the queue to be paused again")
    farm.key = right["BROWSERSTACK_ACCESS_KEY"]
    server.request("PATCH", QUEUE, {"paused": False})
    job = final(server, job)
    assert (job["state"], job["attempt"]) == ("succeeded", 1)


def test_a_401_in_the_middle_costs_the_job_nothing(serve: Serve, farm: FakeFarm, app: str) -> None:
    server = serve()
    farm.answer("POST", "/app-automate/upload", 401, "Unauthorized")
    job = run_build(server, "Passes", app)
    wait_until_blocking(lambda: server.get(QUEUE)["paused"], 10, "the queue to be paused")
    server.request("PATCH", QUEUE, {"paused": False})
    job = final(server, job)
    assert (job["state"], job["retries_left"]) == ("succeeded", 3)


def test_corrected_credentials_in_a_file_resume_the_queue(
    serve: Serve, farm: FakeFarm, app: str, tmp_path: Path
) -> None:
    file = tmp_path / "farm.env"
    file.write_text(f"BROWSERSTACK_USERNAME={farm.user}\nBROWSERSTACK_ACCESS_KEY=wrong\n")
    server = serve(f'credentials_file = "{file}"', env={})
    job = run_build(server, "Passes", app)
    wait_until_blocking(lambda: server.get(QUEUE)["paused"], 10, "the queue to be paused")
    file.write_text(f"BROWSERSTACK_USERNAME={farm.user}\nBROWSERSTACK_ACCESS_KEY={farm.key}\n")
    assert final(server, job)["state"] == "succeeded"


def test_other_credentials_after_a_restart_resume_the_queue(serve: Serve, farm: FakeFarm, app: str) -> None:
    server = serve(env={**farm.env, "BROWSERSTACK_ACCESS_KEY": "wrong"})
    wait_until_blocking(lambda: server.get(QUEUE)["paused"], 10, "the queue to be paused")
    server.stop()
    server.env.update(farm.env)
    server.start()
    wait_until_blocking(lambda: not server.get(QUEUE)["paused"], 10, "the queue to go on")
    assert final(server, run_build(server, "Passes", app))["state"] == "succeeded"


def test_a_pause_of_somebody_elses_is_neither_taken_over_nor_ended(serve: Serve, farm: FakeFarm) -> None:
    server = serve()
    server.request("PATCH", QUEUE, {"paused": True})
    for key in ("wrong", farm.key):
        server.stop()
        server.env["BROWSERSTACK_ACCESS_KEY"] = key
        asked = farm.count("GET", "plan.json")
        server.start()
        assert farm.count("GET", "plan.json") > asked
        queue = server.get(QUEUE)
        assert (queue["paused"], queue["paused_reason"]) == (True, "paused by request")


def test_without_credentials_the_queue_says_what_mends_it_and_takes_jobs(serve: Serve, app: str) -> None:
    server = serve(env={"BROWSERSTACK_USERNAME": "", "BROWSERSTACK_ACCESS_KEY": ""})
    job = run_build(server, "Passes", app)
    [reason, *_] = server.get(f"/v1/jobs/{job['id']}/explain")["reasons"]
    assert reason["code"] == "runner_unavailable"
    assert "set BROWSERSTACK_USERNAME and BROWSERSTACK_ACCESS_KEY for the server and restart it" in reason["message"]


# The plan, and the farm's pace.


def let_pass(farm: FakeFarm, number: int) -> None:
    """The build of this number passes, once it is there."""
    wait_until_blocking(lambda: len(farm.builds) > number, 10, "the next build")
    list(farm.builds.values())[number].asked["devices"] = ["Passes-14.0"]


def test_no_more_attempts_run_than_the_plan_has_sessions(serve: Serve, farm: FakeFarm, app: str) -> None:
    farm.allowed, farm.others = 3, 1
    server = serve()
    jobs = [run_build(server, "Lasts", app) for _ in range(4)]
    wait_until_blocking(lambda: len(farm.builds) == 2, 10, "as many builds as there is room for")
    assert [server.job(job["id"])["state"] for job in jobs][2:] == ["queued", "queued"]
    for number in range(4):
        let_pass(farm, number)
    assert {final(server, job)["state"] for job in jobs} == {"succeeded"}


def test_after_a_429_nothing_is_asked_for_so_long_as_the_farm_says(serve: Serve, farm: FakeFarm, app: str) -> None:
    server = serve()
    farm.answer("POST", "/app-automate/upload", 429, "slow down", {"Retry-After": "1"})
    job = server.until(run_build(server, "Passes", app)["id"], "delayed")
    assert job["retries_left"] == 3
    assert {slot["state"] for slot in server.get(QUEUE)["slot_list"]} == {"held"}
    job = final(server, job)
    assert (job["state"], job["attempt"], job["retries_left"]) == ("succeeded", 2, 3)


# Farm builds.


def test_a_farm_build_has_its_tests_and_its_failures(serve: Serve, farm: FakeFarm, app: str) -> None:
    server = serve()
    job = final(server, run_build(server, "Fails", app, retries={"max": 0}))
    assert job["error"] == {"type": "exit", "message": "1 of 2 tests failed", "exit_code": 1, "signal": None}
    assert [(test["title"], test["status"]) for test in job["result"]["tests"]] == [
        ("LoginTest: opens", "passed"),
        ("LoginTest: logs in", "failed"),
    ]
    assert job["result"]["url"].endswith(next(iter(farm.builds)))


def test_each_test_of_each_device_is_told_however_many_there_are(serve: Serve, app: str) -> None:
    server = serve()
    params = {"kind": "farm_build", "framework": "espresso", "app": app, "test_suite": app}
    devices = [f"Passes-{number}" for number in range(25)]
    job = final(server, server.submit("device_farm", {**params, "devices": devices}))
    assert len(job["result"]["tests"]) == 50


def test_tests_of_one_name_spoil_no_build(serve: Serve, farm: FakeFarm, app: str) -> None:
    server = serve()
    twice = [{"name": "adds", "status": "passed", "duration": 1}, {"name": "adds", "status": "failed", "duration": 1}]
    farm.answer("GET", "/sessions/", 200, {"testcases": {"data": [{"class": "Sums", "testcases": twice}]}})
    job = final(server, run_build(server, "Fails", app, retries={"max": 0}))
    assert job["error"]["type"] == "exit"
    assert [(test["id"], test["status"]) for test in job["result"]["tests"]] == [
        ("Sums#adds", "passed"),
        ("Sums#adds (2)", "failed"),
    ]


def test_cancel_stops_a_farm_build(serve: Serve, farm: FakeFarm, app: str) -> None:
    server = serve()
    job = run_build(server, "Lasts", app)
    wait_until_blocking(lambda: farm.builds, 10, "the build")
    server.request("POST", f"/v1/jobs/{job['id']}/cancel")
    assert final(server, job)["state"] == "cancelled"
    assert [each.status for each in farm.builds.values()] == ["stopped"]


def test_a_farm_build_goes_on_through_kill_9(serve: Serve, farm: FakeFarm, app: str) -> None:
    server = serve()
    job = run_build(server, "Lasts", app)
    wait_until_blocking(lambda: farm.count("GET", "/builds/"), 10, "the build to be asked for")
    server.kill()
    server.start()
    assert server.job(job["id"])["state"] == "running"
    [running] = farm.builds.values()
    running.asked["devices"] = ["Passes-14.0"]
    job = final(server, job)
    assert (job["state"], job["attempt"], job["result"]["build_id"]) == ("succeeded", 1, running.id)
    assert len(farm.builds) == 1


def test_what_the_farm_refuses_is_not_tried_again(serve: Serve, farm: FakeFarm, app: str) -> None:
    server = serve()
    farm.answer("POST", "/espresso/v2/build", 422, {"message": "device Passes-14.0 is not there"})
    job = final(server, run_build(server, "Passes", app))
    assert (job["state"], job["error"]["type"], job["attempt"]) == ("failed", "rejected", 1)
    assert "device Passes-14.0 is not there" in job["error"]["message"]
