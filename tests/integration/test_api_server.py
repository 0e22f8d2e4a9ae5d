"""Health, figures, queues, runners, schedules, and the pages that describe it all."""

import re
from collections.abc import Iterator

import orjson
import pytest
from openapi_spec_validator import validate

from hpcq.api.app import ROUTES
from tests.support.server import ServerProcess

CONFIG = """
[queues.idle]
runner = "noop"
slots = 2
paused = true
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    served = ServerProcess(tmp_path_factory.mktemp("server"), CONFIG).start()
    yield served
    served.close()


def test_a_program_learns_that_the_api_is_ready_and_a_browser_is_led_to_the_docs(server: ServerProcess) -> None:
    answer = server.request("GET", "/", headers={"Accept": "application/json"})
    assert (answer.status, answer.json) == (200, {"status": "API is ready"})
    browser = server.request("GET", "/", headers={"Accept": "text/html,application/json;q=0.9,*/*;q=0.8"})
    assert (browser.status, browser.headers["Location"]) == (302, "/docs")


def test_health_names_its_parts(server: ServerProcess) -> None:
    health = server.get("/health")
    assert health["status"] in ("ok", "degraded")
    assert health["accepting"] is True
    assert {"store", "queues", "runners"} <= set(health["parts"])


def test_runners_are_listed_with_their_queues(server: ServerProcess) -> None:
    runners = {runner["name"]: runner for runner in server.get("/v1/runners")["runners"]}
    assert {"shell", "matrix", "noop"} <= set(runners)
    assert "idle" in runners["noop"]["queues"]


def test_a_queue_is_paused_resumed_and_scaled(server: ServerProcess) -> None:
    assert {queue["name"] for queue in server.get("/v1/queues")["queues"]} >= {"local", "compute", "noop", "idle"}
    queue = server.get("/v1/queues/idle")
    assert (queue["paused"], queue["slots"], queue["batch_size"], len(queue["slot_list"])) == (True, 2, 3, 2)
    changed = server.request("PATCH", "/v1/queues/idle", {"paused": False, "slots": 5})
    assert (changed.status, changed.json["paused"], changed.json["slots"]) == (200, False, 5)
    assert server.request("PATCH", "/v1/queues/idle", {"slots": None}).json["slots"] == 2
    same = server.request("PATCH", "/v1/queues/idle", {})
    assert (same.json["paused"], same.json["slots"]) == (False, 2)


def test_a_bad_change_of_a_queue_is_named_and_an_unknown_queue_is_404(server: ServerProcess) -> None:
    bad = server.request("PATCH", "/v1/queues/idle", {"paused": 1, "slots": -1, "speed": 9})
    assert bad.status == 422
    assert {error["pointer"] for error in bad.json["errors"]} == {"/paused", "/slots", "/speed"}
    assert server.request("GET", "/v1/queues/nowhere").status == 404
    assert server.request("PATCH", "/v1/queues/nowhere", {"paused": True}).status == 404


def test_metrics_count_what_happened_by_queue_and_state(server: ServerProcess) -> None:
    server.submit("noop", {}, wait_s=20)
    server.submit("noop", {"fail": True}, wait_s=20)
    text = server.request("GET", "/metrics").body.decode()
    assert re.search(r'^hpcq_jobs_submitted_total\{queue="noop"\} [2-9]', text, re.M)
    assert re.search(r'^hpcq_jobs_finished_total\{queue="noop",state="succeeded"\} [1-9]', text, re.M)
    assert re.search(r'^hpcq_jobs_finished_total\{queue="noop",state="failed"\} [1-9]', text, re.M)
    assert re.search(r'^hpcq_jobs\{queue="noop",state="failed"\} [1-9]', text, re.M)
    assert re.search(r'^hpcq_job_run_seconds_count\{queue="noop"\} [2-9]', text, re.M)
    assert re.search(r'^hpcq_job_wait_seconds_count\{queue="noop"\} [2-9]', text, re.M)
    for name in ("hpcq_loop_lag_seconds_count", "hpcq_wal_bytes", "hpcq_resident_memory_bytes", "hpcq_open_files"):
        assert re.search(rf"^{name} ", text, re.M), name


def test_stats_are_figures(server: ServerProcess) -> None:
    stats = server.get("/v1/stats")
    assert stats["uptime_s"] > 0
    assert stats["last_seq"] >= 0


def test_a_schedule_is_made_shown_changed_run_and_forgotten(server: ServerProcess) -> None:
    spec = {"name": "nightly", "cron": "0 3 * * *", "job": {"queue": "noop", "params": {}}}
    made = server.request("POST", "/v1/schedules", spec)
    assert made.status == 201
    place = made.headers["Location"]
    assert place == f"/v1/schedules/{made.json['id']}"
    assert made.json["next_run_at"].endswith("T03:00:00.000Z")
    assert server.request("POST", "/v1/schedules", spec).status == 409
    assert [one["name"] for one in server.get("/v1/schedules")["schedules"]] == ["nightly"]
    changed = server.request("PATCH", place, {"paused": True, "cron": "@daily"})
    assert (changed.status, changed.json["paused"], changed.json["next_run_at"]) == (200, True, None)
    ran = server.request("POST", f"{place}/run")
    assert ran.status == 201
    assert server.job(ran.json["ids"][0], wait_s=20)["state"] == "succeeded"
    assert server.get(place)["last_runs"][0]["ids"] == ran.json["ids"]
    assert server.request("DELETE", place).status == 204
    assert server.request("GET", place).status == 404
    assert server.request("DELETE", place).status == 404


def test_every_bad_field_of_a_schedule_is_named(server: ServerProcess) -> None:
    bad = {"name": "", "cron": "every day", "timezone": "Mars", "jobs": [{"queue": "nowhere", "params": {}}], "x": 1}
    answer = server.request("POST", "/v1/schedules", bad)
    assert answer.status == 422
    found = {error["pointer"] for error in answer.json["errors"]}
    assert {"/name", "/cron", "/timezone", "/x", "/jobs/0/queue"} <= found
    for body in (b"[]", b"1", b"null"):
        assert server.request("POST", "/v1/schedules", body).status == 422
    assert server.request("POST", "/v1/schedules").status == 400


def test_the_document_is_valid_and_names_every_route(server: ServerProcess) -> None:
    document = server.get("/openapi.json")
    validate(document)
    assert document["openapi"].startswith("3.1")
    documented = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert documented == {(route.method, re.sub(r"\{(\w+):[^}]*\}", r"{\1}", route.path)) for route in ROUTES}
    names = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]
    assert len(set(names)) == len(names)


def test_a_jobspec_is_one_of_the_queues_with_the_params_of_its_runner(server: ServerProcess) -> None:
    schemas = server.get("/openapi.json")["components"]["schemas"]
    choices = [schemas[choice["$ref"].rpartition("/")[2]] for choice in schemas["JobSpec"]["oneOf"]]
    by_queue = {choice["properties"]["queue"]["const"]: choice for choice in choices}
    assert set(by_queue) == {"local", "compute", "device_farm", "emulator", "noop", "idle"}
    assert "duration_s" in orjson.dumps(by_queue["idle"]["properties"]["params"]).decode()
    assert "duration_s" not in orjson.dumps(by_queue["local"]["properties"]["params"]).decode()


def test_the_docs_come_from_this_server_alone(server: ServerProcess) -> None:
    page = server.request("GET", "/docs")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "script-src 'self';" in page.headers["Content-Security-Policy"]
    text = page.body.decode()
    assert "<script>" not in text, "code stands in files only"
    assert "//" not in text.replace("<!doctype html>", "")
    for place in re.findall(r'(?:src|href)="([^"]+)"', text):
        answer = server.request("GET", place)
        assert answer.status == 200, place
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert b"SwaggerUIBundle" in server.request("GET", "/docs/swagger-ui-bundle.js").body
    packed = server.request("GET", "/docs/swagger-ui-bundle.js", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert server.request("GET", "/docs/swagger-editor.js").status == 404
    assert server.request("GET", "/docs/%2e%2e%2fcore.py").status == 404
