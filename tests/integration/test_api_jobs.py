"""Jobs over HTTP: submit, find, wait, change, end, run again."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.server import ServerProcess

CONFIG = """
[queues.idle]
runner = "noop"
slots = 0
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    served = ServerProcess(tmp_path_factory.mktemp("jobs"), CONFIG).start()
    yield served
    served.close()


def pointers(document: dict[str, Any]) -> list[str]:
    return sorted(error["pointer"] for error in document["errors"])


def test_a_submitted_job_is_answered_whole_with_its_address(server: ServerProcess) -> None:
    spec = {"queue": "idle", "params": {"message": "hello"}, "name": "first", "priority": "high", "tags": {"a": "b"}}
    answer = server.request("POST", "/v1/jobs", spec)
    job = answer.json
    assert answer.status == 201
    assert answer.headers["Location"] == f"/v1/jobs/{job['id']}"
    assert job["priority"] == 10, "named priorities come back as numbers"
    assert (job["state"], job["attempt"], job["org_id"], job["runner"]) == ("queued", 0, "default", "noop")
    assert (job["name"], job["tags"], job["params"]) == ("first", {"a": "b"}, {"message": "hello"})
    assert job["created_at"].endswith("Z")
    assert job["result"] is job["error"] is job["usage"] is job["started_at"] is None
    shown = server.get(answer.headers["Location"])
    assert {**shown, "wait_s": 0} == {**job, "wait_s": 0}


def test_wait_holds_the_answer_until_the_job_is_final(server: ServerProcess) -> None:
    job = server.submit("compute", {"operation": "square_sum", "data": [1, 2, 3]}, wait_s=30)
    assert (job["state"], job["result"]) == ("succeeded", {"value": 14})
    assert job["attempt"] == 1
    assert job["run_s"] >= 0
    assert server.get(f"/v1/jobs/{job['id']}/result") == {"value": 14}


def test_wait_ends_with_its_time_and_shows_the_job_as_it_is_then(server: ServerProcess) -> None:
    job = server.submit("idle", {}, wait_s=0.1)
    assert job["state"] == "queued"
    assert server.job(job["id"], wait_s=0.1)["state"] == "queued"
    assert server.get(f"/v1/jobs/{job['id']}/result") is None


def test_every_bad_field_is_named(server: ServerProcess) -> None:
    bad = {
        "queue": "compute",
        "params": {"operation": "matmul", "size": "large"},
        "priority": 1000,
        "nonsense": 1,
        "retries": {"max": -1},
        "tags": {"a b": 1},
        "depends_on": [{"job": "no id"}],
        "timeout_s": 0,
        "run_at": "tomorrow",
    }
    answer = server.request("POST", "/v1/jobs", bad)
    assert answer.status == 422
    assert {
        "/params/size",
        "/priority",
        "/nonsense",
        "/retries/max",
        "/depends_on/0/job",
        "/timeout_s",
        "/run_at",
    } <= set(pointers(answer.json))
    assert any(place.startswith("/tags") for place in pointers(answer.json))


def test_an_unknown_queue_is_answered_with_the_known_ones(server: ServerProcess) -> None:
    answer = server.request("POST", "/v1/jobs", {"queue": "nowhere", "params": {}})
    assert answer.status == 422
    assert pointers(answer.json) == ["/queue"]
    assert "compute" in answer.json["errors"][0]["detail"]


def test_the_same_key_and_body_is_the_same_job_and_another_body_is_refused(server: ServerProcess) -> None:
    key = {"Idempotency-Key": "key-1"}
    first = server.request("POST", "/v1/jobs", {"queue": "idle", "params": {}}, key)
    again = server.request("POST", "/v1/jobs", {"params": {}, "queue": "idle"}, key)
    assert (first.status, again.status) == (201, 200)
    assert first.json["id"] == again.json["id"]
    other = server.request("POST", "/v1/jobs", {"queue": "idle", "params": {"message": "x"}}, key)
    assert other.status == 422
    in_body = {"queue": "idle", "params": {}, "idempotency_key": "key-2"}
    pair = [server.request("POST", "/v1/jobs", in_body) for _ in range(2)]
    assert [answer.status for answer in pair] == [201, 200]
    assert pair[0].json["id"] == pair[1].json["id"]


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb"])
def test_a_key_that_is_none_is_refused(server: ServerProcess, key: str) -> None:
    assert server.request("POST", "/v1/jobs", {"queue": "idle", "params": {}}, {"Idempotency-Key": key}).status == 400


def test_a_list_is_paged_newest_first_and_a_cursor_goes_on_where_it_stood(server: ServerProcess) -> None:
    ids = [server.submit("idle", {}, batch_key="pages")["id"] for _ in range(5)]
    first = server.get("/v1/jobs?batch_key=pages&limit=2")
    assert [job["id"] for job in first["jobs"]] == ids[:2:-1]
    server.submit("idle", {}, batch_key="pages")
    second = server.get(f"/v1/jobs?batch_key=pages&limit=4&cursor={first['next_cursor']}")
    assert [job["id"] for job in second["jobs"]] == ids[2::-1]
    assert second["next_cursor"] is None
    oldest = server.get("/v1/jobs?batch_key=pages&limit=1&order=asc")
    assert [job["id"] for job in oldest["jobs"]] == ids[:1]


def test_filters_narrow_a_list_and_all_must_hold(server: ServerProcess) -> None:
    one = server.submit("idle", {}, tags={"suite": "filters", "shard": "1"}, name="alpha")
    two = server.submit("idle", {}, tags={"suite": "filters", "shard": "2"}, name="beta")

    def found(query: str) -> list[str]:
        return [job["id"] for job in server.get(f"/v1/jobs?tag=suite:filters&{query}")["jobs"]]

    assert found("") == [two["id"], one["id"]]
    assert found("tag=shard:1") == [one["id"]]
    assert found("name=beta") == [two["id"]]
    assert found("text=ALPH") == [one["id"]]
    assert found("state=queued&state=running&queue=idle&queue=noop") == [two["id"], one["id"]]
    assert found("state=failed") == []
    assert found("org_id=other") == []
    assert found(f"number={one['number']}") == [one["id"]]
    assert found("error_type=timeout") == []


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("state=nonsense", "state"),
        ("cursor=nonsense", "cursor"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=99999999999999999999", "limit"),
        ("limit=1&limit=2", "limit"),
        ("order=up", "order"),
        ("tag=nocolon", "tag"),
        ("number=-1", "number"),
        ("name=%00", "name"),
        ("finished_after=yesterday", "finished_after"),
        ("nonsense=1", "nonsense"),
    ],
)
def test_a_bad_query_parameter_is_named(server: ServerProcess, query: str, parameter: str) -> None:
    answer = server.request("GET", f"/v1/jobs?{query}")
    assert answer.status == 422
    assert [error["parameter"] for error in answer.json["errors"]] == [parameter]


def test_a_waiting_job_can_be_changed(server: ServerProcess) -> None:
    job = server.submit("idle", {}, tags={"a": "1"})
    answer = server.request("PATCH", f"/v1/jobs/{job['id']}", {"priority": "low", "timeout_s": 9, "tags": {"b": "2"}})
    assert answer.status == 200
    assert (answer.json["priority"], answer.json["timeout_s"], answer.json["tags"]) == (-10, 9.0, {"b": "2"})
    assert server.request("PATCH", f"/v1/jobs/{job['id']}", {}).json["priority"] == -10
    bad = server.request("PATCH", f"/v1/jobs/{job['id']}", {"queue": "noop", "priority": 101})
    assert bad.status == 422
    assert pointers(bad.json) == ["/priority", "/queue"]


def test_cancel_ends_a_waiting_job_once(server: ServerProcess) -> None:
    job = server.submit("idle", {})
    first = server.request("POST", f"/v1/jobs/{job['id']}/cancel")
    assert (first.status, first.json["state"], first.json["attempt"]) == (200, "cancelled", 0)
    assert server.request("POST", f"/v1/jobs/{job['id']}/cancel", {}).status == 409
    assert server.request("PATCH", f"/v1/jobs/{job['id']}", {"priority": 1}).status == 409
    kinds = [event["type"] for event in server.get(f"/v1/jobs/{job['id']}/events")["events"]]
    assert kinds == ["job.submitted", "job.cancelled"]


def test_cancel_of_a_running_job_answers_cancelling(server: ServerProcess) -> None:
    job = server.submit("local", {"command": "trap '' TERM; echo up; sleep 1000"})
    server.until(job["id"], "running")
    answer = server.request("POST", f"/v1/jobs/{job['id']}/cancel", {})
    assert (answer.status, answer.json["state"]) == (200, "cancelling")
    assert server.job(job["id"], wait_s=20)["state"] == "cancelled"


def test_retry_runs_a_final_job_again_under_the_same_id(server: ServerProcess) -> None:
    job = server.submit("noop", {"fail": True}, wait_s=20)
    assert (job["state"], job["attempt"]) == ("failed", 1)
    again = server.request("POST", f"/v1/jobs/{job['id']}/retry", {})
    assert (again.status, again.json["id"]) == (200, job["id"])
    ended = server.job(job["id"], wait_s=20)
    assert (ended["state"], ended["attempt"]) == ("failed", 2)
    attempts = server.get(f"/v1/jobs/{job['id']}/attempts")["attempts"]
    assert [(one["attempt"], one["state"]) for one in attempts] == [(1, "failed"), (2, "failed")]
    waiting = server.submit("idle", {})
    assert server.request("POST", f"/v1/jobs/{waiting['id']}/retry").status == 409


def test_explain_says_why_a_job_waits_and_how_one_ended(server: ServerProcess) -> None:
    waiting, over = server.submit("idle", {}), server.submit("noop", {}, wait_s=20)
    explained = server.get(f"/v1/jobs/{waiting['id']}/explain")
    assert explained["job"] == waiting["id"]
    assert explained["reasons"]
    assert all(reason["code"] and reason["message"] for reason in explained["reasons"])
    assert [reason["code"] for reason in server.get(f"/v1/jobs/{over['id']}/explain")["reasons"]] == ["final"]


def test_one_action_reaches_all_that_a_filter_finds(server: ServerProcess) -> None:
    for _ in range(3):
        server.submit("idle", {}, tags={"sweep": "actions"})
    chosen = {"tag": "sweep:actions"}
    patch = {"action": "patch", "filter": chosen, "patch": {"priority": 7}}
    assert server.request("POST", "/v1/jobs/actions", patch).json == {"count": 3}
    assert {job["priority"] for job in server.get("/v1/jobs?tag=sweep:actions")["jobs"]} == {7}
    cancel = {"action": "cancel", "filter": {**chosen, "state": ["queued"], "queue": "idle"}}
    assert server.request("POST", "/v1/jobs/actions", cancel).json == {"count": 3}
    summary = server.get("/v1/jobs/summary?tag=sweep:actions&wait=20")
    assert summary == {"counts": {"cancelled": 3}, "total": 3, "final": True}


def test_a_bad_action_is_named(server: ServerProcess) -> None:
    bad = {"action": "explode", "filter": {}}
    assert pointers(server.request("POST", "/v1/jobs/actions", bad).json) == ["/action"]
    bad = {"action": "cancel", "filter": {"state": ["odd"], "nonsense": 1}}
    assert pointers(server.request("POST", "/v1/jobs/actions", bad).json) == ["/filter/nonsense", "/filter/state/0"]
    bad = {"action": "patch", "filter": {}}
    assert pointers(server.request("POST", "/v1/jobs/actions", bad).json) == ["/patch"]
    bad = {"action": "cancel"}
    assert pointers(server.request("POST", "/v1/jobs/actions", bad).json) == ["/filter"]


def test_a_summary_waits_until_all_are_final(server: ServerProcess) -> None:
    for _ in range(4):
        server.submit("noop", {"duration_s": 0.2}, tags={"sweep": "summary"})
    summary = server.get("/v1/jobs/summary?tag=sweep:summary&wait=30")
    assert summary == {"counts": {"succeeded": 4}, "total": 4, "final": True}
    server.submit("idle", {}, tags={"sweep": "summary"})
    assert server.get("/v1/jobs/summary?tag=sweep:summary&wait=0.1")["final"] is False


def test_what_is_not_there_is_404(server: ServerProcess) -> None:
    for method, path in [
        ("GET", ""),
        ("GET", "/result"),
        ("GET", "/output"),
        ("GET", "/events"),
        ("GET", "/attempts"),
        ("GET", "/artifacts"),
        ("GET", "/artifacts/a/b"),
        ("GET", "/explain"),
        ("PATCH", ""),
        ("POST", "/cancel"),
        ("POST", "/retry"),
    ]:
        for id_ in ("01a20122-d812-7000-ba08-000000000000", "nonsense", "%2e%2e", "%00", "'", "\u00e9".encode().hex()):
            answer = server.request(method, f"/v1/jobs/{id_}{path}", None if method == "GET" else {})
            assert answer.status == 404, (method, path, id_, answer.body)
            assert answer.json["status"] == 404
