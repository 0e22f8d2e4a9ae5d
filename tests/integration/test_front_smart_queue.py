"""The smart-queue front: clients of the priority/dependency queue."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.server import ServerProcess
from tests.support.wait import wait_until_blocking

CONFIG = """
[resources]
licence = 2
"""
WHOLE: dict[str, Any] = {
    "type": "data_export",
    "priority": "high",
    "payload": {"duration_seconds": 0, "table": "users"},
    "resource_requirements": {"cpu_units": 1, "memory_mb": 512},
    "depends_on": [],
    "retry_config": {"max_attempts": 3, "backoff_multiplier": 2},
    "timeout_seconds": 3600,
}
SUBMITTED = {"job_id", "type", "status", "created_at", "priority"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    served = ServerProcess(tmp_path_factory.mktemp("smart"), CONFIG).start()
    yield served
    served.close()


@pytest.fixture
def paused(server: ServerProcess) -> Iterator[None]:
    """Nothing of the queue noop starts meanwhile."""
    server.request("PATCH", "/v1/queues/noop", {"paused": True})
    yield
    server.request("PATCH", "/v1/queues/noop", {"paused": False})


def submit(server: ServerProcess, path: str = "/jobs/", **fields: Any) -> dict[str, Any]:
    answer = server.request("POST", path, {"type": "any", **fields})
    assert answer.status == 201, answer.body
    assert set(answer.json) >= SUBMITTED
    job: dict[str, Any] = answer.json
    return job


def until(server: ServerProcess, job_id: str, *words: str) -> dict[str, Any]:
    """The job once it has one of these states."""
    seen: dict[str, Any] = {}

    def there() -> bool:
        seen.update(server.get(f"/jobs/{job_id}"))
        return seen["status"] in words

    wait_until_blocking(there, 20, f"job {job_id} in {words}")
    return seen


def test_a_whole_job_is_taken_and_shown(server: ServerProcess) -> None:
    job = submit(server, **WHOLE)
    assert (job["type"], job["status"], job["priority"]) == ("data_export", "pending", "high")
    shown = until(server, job["job_id"], "success")
    assert {key: shown[key] for key in ("job_id", "type", "priority", "created_at")} == {
        key: job[key] for key in ("job_id", "type", "priority", "created_at")
    }
    assert (shown["attempts"], shown["max_attempts"]) == (1, 3)
    ours = server.job(job["job_id"])
    assert (ours["queue"], ours["priority"], ours["timeout_s"], ours["tags"]) == (
        "noop",
        10,
        3600,
        {"type": "data_export"},
    )
    assert (ours["retries"]["max"], ours["retries"]["factor"]) == (2, 2)
    assert ours["resources"] == {"cpus": 1, "memory_mb": 512}


def test_a_job_that_starts_at_once_is_answered_as_it_was_submitted(server: ServerProcess) -> None:
    job = submit(server, payload={"duration_seconds": 600})
    assert (job["status"], job["attempts"], job["started_at"]) == ("pending", 0, None)
    assert until(server, job["job_id"], "running")["attempts"] == 1
    server.request("POST", f"/v1/jobs/{job['job_id']}/cancel")


def test_null_is_as_good_as_nothing(server: ServerProcess) -> None:
    nothing: dict[str, Any] = dict.fromkeys(name for name in WHOLE if name != "type")
    job = submit(server, **nothing, idempotency_key=None)
    assert (job["priority"], job["max_attempts"], job["depends_on"]) == ("normal", 1, [])
    inner: dict[str, Any] = {
        "payload": {"command": None, "operation": None, "duration_seconds": None, "should_fail": None},
        "resource_requirements": {"cpu_units": None, "memory_mb": None},
        "retry_config": {"max_attempts": None, "backoff_multiplier": None},
    }
    job = submit(server, **inner)
    assert (server.job(job["job_id"])["queue"], job["max_attempts"]) == ("noop", 3)
    command = submit(server, payload={"command": "true", "env": None, "cwd": None, "test_path": None})
    assert server.job(command["job_id"])["params"] == {"command": "true"}
    answer = server.request("POST", "/jobs/", {"type": None})
    assert (answer.status, answer.json["detail"]) == (422, "type: is required")


def test_only_type_is_required(server: ServerProcess) -> None:
    answer = server.request("POST", "/jobs/", {"type": "ping"})
    assert (answer.status, answer.json["priority"]) == (201, "normal")
    assert until(server, answer.json["job_id"], "success")["type"] == "ping"
    assert server.request("POST", "/jobs/", {"payload": {}}).status == 422


@pytest.mark.parametrize(("word", "number"), [("critical", 20), ("high", 10), ("normal", 0), ("low", -10)])
def test_priorities_are_the_four_words(server: ServerProcess, word: str, number: int) -> None:
    job = submit(server, priority=word)
    assert (job["priority"], server.job(job["job_id"])["priority"]) == (word, number)


def test_a_payload_says_how_long_it_lasts_and_whether_it_fails(server: ServerProcess) -> None:
    job = submit(server, payload={"duration_seconds": 600})
    until(server, job["job_id"], "running")
    assert server.job(job["job_id"])["params"] == {"duration_s": 600}
    server.request("POST", f"/v1/jobs/{job['job_id']}/cancel")
    failing = submit(server, payload={"should_fail": True})
    shown = until(server, failing["job_id"], "failed")
    assert shown["error"]


def test_max_attempts_counts_tries(server: ServerProcess) -> None:
    config = {"max_attempts": 2, "backoff_multiplier": 1}
    job = submit(server, payload={"should_fail": True}, retry_config=config)
    assert until(server, job["job_id"], "failed")["attempts"] == 2
    once = submit(server, payload={"should_fail": True}, retry_config={"max_attempts": 1})
    assert until(server, once["job_id"], "failed")["attempts"] == 1


def test_a_command_runs_as_that_and_an_operation_too(server: ServerProcess) -> None:
    command = submit(server, payload={"command": "echo hello"})
    shown = until(server, command["job_id"], "success")
    assert shown["result"]["tail"] == "hello\n"
    operation = submit(server, payload={"operation": "cube_sum", "data": [1, 2]})
    assert until(server, operation["job_id"], "success")["result"] == {"value": 9}
    assert [server.job(job["job_id"])["queue"] for job in (command, operation)] == ["local", "compute"]


def test_a_job_is_blocked_until_those_it_depends_on_have_succeeded(server: ServerProcess) -> None:
    first = submit(server, payload={"duration_seconds": 600})
    second = submit(server, depends_on=[first["job_id"]])
    assert second["status"] == "blocked"
    assert server.get(f"/jobs/{second['job_id']}")["depends_on"] == [first["job_id"]]
    server.request("POST", f"/v1/jobs/{first['job_id']}/cancel")
    shown = until(server, second["job_id"], "failed")
    assert first["job_id"] in shown["error"]
    done = submit(server)
    until(server, done["job_id"], "success")
    assert until(server, submit(server, depends_on=[done["job_id"]])["job_id"], "success")


def test_the_same_key_is_the_same_job(server: ServerProcess) -> None:
    twice = [submit(server, **WHOLE, idempotency_key="k") for _ in range(2)]
    assert twice[0]["job_id"] == twice[1]["job_id"]
    assert submit(server, **WHOLE, idempotency_key="other")["job_id"] != twice[0]["job_id"]
    answer = server.request("POST", "/jobs/", {"type": "another body", "idempotency_key": "k"})
    assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/idempotency_key")


def test_the_same_key_with_another_payload_is_told_also_where_nobody_reads_it(server: ServerProcess) -> None:
    users: dict[str, Any] = {"payload": {"table": "users", "rows": [1, 2]}, "idempotency_key": "table"}
    first = submit(server, **users)
    same = {"rows": [1, 2], "table": "users", "duration_seconds": None}
    assert submit(server, payload=same, idempotency_key="table")["job_id"] == first["job_id"]
    for payload in ({"table": "orders", "rows": [1, 2]}, {"table": "users"}, {}):
        answer = server.request("POST", "/jobs/", {"type": "any", "payload": payload, "idempotency_key": "table"})
        assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/idempotency_key")
        assert "another body" in answer.json["detail"]


@pytest.mark.usefixtures("paused")
def test_a_list_is_newest_first_and_narrowed_by_status_type_and_limit(server: ServerProcess) -> None:
    kind = "listed"
    ids = [submit(server, type=kind)["job_id"] for _ in range(3)]
    blocked = submit(server, type=kind, depends_on=[ids[0]])["job_id"]

    def listed(query: str) -> list[str]:
        return [job["job_id"] for job in server.get(f"/jobs/?{query}")]

    assert listed(f"job_type={kind}") == [blocked, *reversed(ids)]
    assert listed(f"job_type={kind}&status=pending") == ids[::-1]
    assert listed(f"job_type={kind}&status=blocked") == [blocked]
    assert listed(f"status=&job_type={kind}&limit=2") == [blocked, ids[2]]
    assert listed("limit=1") == [blocked]
    assert listed("status=&job_type=&limit=")[0] == blocked
    assert listed("job_type=never+seen") == []
    assert {job["status"] for job in server.get("/jobs?status=success")} <= {"success"}


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("status=done", "there are blocked, pending, running, success, failed, cancelled"),
        ("limit=many", 'limit: must be a whole number; found "many"'),
        ("limit=0", 'limit: must be at least 1; found "0"'),
        ("limit=1001", 'limit: must be at most 1000; found "1001"'),
        ("limit=0&status=done", "there is no status 'done'"),
        ("limit=0&status=done", "limit: must be at least 1"),
        ("limit=1&limit=2", "limit: given more than once"),
    ],
)
def test_a_bad_query_is_422_whose_detail_names_the_parameter_and_what_is_allowed(
    server: ServerProcess, query: str, detail: str
) -> None:
    answer = server.request("GET", f"/jobs/?{query}")
    assert answer.status == 422
    assert detail in answer.json["detail"]
    stream = server.request("GET", "/jobs/stream?since=-1")
    assert stream.json["detail"] == 'query parameter since: must be at least 0; found "-1"'


def test_logs_are_what_happened_and_then_what_it_printed(server: ServerProcess) -> None:
    job = submit(server, payload={"command": "echo one; echo two; exit 3"})
    until(server, job["job_id"], "failed")
    logs = server.get(f"/jobs/{job['job_id']}/logs")
    assert all(set(line) == {"timestamp", "message"} for line in logs)
    messages = [line["message"] for line in logs]
    assert messages[0] == "submitted to queue local"
    assert messages[1] == "started, attempt 1"
    assert messages[2].startswith("failed, attempt 1: ")
    assert messages[3:] == ["one", "two"]
    times = [line["timestamp"] for line in logs]
    assert times == sorted(times)


def test_long_logs_are_cut_in_front_and_say_so(server: ServerProcess) -> None:
    job = submit(server, payload={"command": "seq 5000"})
    until(server, job["job_id"], "success")
    messages = [line["message"] for line in server.get(f"/jobs/{job['job_id']}/logs/")]
    assert (len(messages), messages[-1]) == (3 + 1 + 1000, "5000")
    assert f"/v1/jobs/{job['job_id']}/output" in messages[3]


@pytest.mark.usefixtures("paused")
def test_a_waiting_job_is_cancelled(server: ServerProcess) -> None:
    pending = submit(server)
    blocked = submit(server, depends_on=[pending["job_id"]])
    for job in (blocked, pending):
        answer = server.request("PATCH", f"/jobs/{job['job_id']}/cancel")
        assert (answer.status, answer.json["status"]) == (200, "cancelled")
        assert answer.json["job_id"] == job["job_id"]


def test_a_job_that_waits_no_more_is_not_cancelled(server: ServerProcess) -> None:
    job = submit(server, payload={"duration_seconds": 600})
    until(server, job["job_id"], "running")
    answer = server.request("PATCH", f"/jobs/{job['job_id']}/cancel")
    assert answer.status == 400
    assert "running" in answer.json["detail"]
    assert server.get(f"/jobs/{job['job_id']}")["status"] == "running"
    server.request("POST", f"/v1/jobs/{job['job_id']}/cancel")
    until(server, job["job_id"], "cancelled")
    answer = server.request("PATCH", f"/jobs/{job['job_id']}/cancel/", {})
    assert answer.status == 400
    assert "cancelled" in answer.json["detail"]


@pytest.mark.parametrize("path", ["/jobs/stream", "/jobs/stream/"])
async def test_the_stream_names_each_changed_job_and_its_new_status(server: ServerProcess, path: str) -> None:
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{server.url}{path}?token=x") as socket:
        async with session.post(f"{server.url}/jobs/", json={"type": "streamed"}) as answer:
            job_id = (await answer.json())["job_id"]
        seen = []
        deadline = time.monotonic() + 20
        while "success" not in seen:
            message = await socket.receive_json(timeout=deadline - time.monotonic())
            if message["job_id"] == job_id:
                seen.append(message["status"])
    assert seen == ["pending", "running", "success"]


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"priority": "urgent"}, "/priority"),
        ({"priority": 3}, "/priority"),
        ({"type": ""}, "/type"),
        ({"type": 5}, "/type"),
        ({"type": "a\x00b"}, "/type"),
        ({"payload": []}, "/payload"),
        ({"payload": {"duration_seconds": "long"}}, "/payload/duration_seconds"),
        ({"payload": {"duration_seconds": -1}}, "/payload/duration_seconds"),
        ({"payload": {"should_fail": 7}}, "/payload/should_fail"),
        ({"payload": {"command": ""}}, "/payload/command"),
        ({"payload": {"operation": "sum"}}, "/payload/operation"),
        ({"depends_on": "x"}, "/depends_on"),
        ({"depends_on": ["x"]}, "/depends_on/0"),
        ({"depends_on": ["00000000-0000-7000-8000-000000000000"]}, "/depends_on/0"),
        ({"resource_requirements": {"cpu_units": 10_000}}, "/resource_requirements/cpu_units"),
        ({"resource_requirements": {"cpu_units": -1}}, "/resource_requirements/cpu_units"),
        ({"resource_requirements": {"unicorns": 1}}, "/resource_requirements/unicorns"),
        ({"resource_requirements": {"licence": 3}}, "/resource_requirements/licence"),
        ({"retry_config": {"max_attempts": 0}}, "/retry_config/max_attempts"),
        ({"retry_config": {"max_attempts": 10_000}}, "/retry_config/max_attempts"),
        ({"retry_config": {"backoff_multiplier": 0}}, "/retry_config/backoff_multiplier"),
        ({"timeout_seconds": 0}, "/timeout_seconds"),
        ({"idempotency_key": ""}, "/idempotency_key"),
    ],
    ids=str,
)
def test_a_bad_field_is_422_and_named_as_the_client_knows_it(
    server: ServerProcess, fields: dict[str, Any], place: str
) -> None:
    answer = server.request("POST", "/jobs/", {"type": "bad", **fields})
    assert answer.status == 422, answer.body
    assert place in [error["pointer"] for error in answer.json["errors"]]
    assert place[1:] in answer.json["detail"]


def test_what_stands_in_several_places_of_a_job_is_said_once(server: ServerProcess) -> None:
    answer = server.request("POST", "/jobs/", {"type": "a\x00b"})
    assert answer.json["detail"] == "type: must not hold a NUL character"
    assert len(answer.json["errors"]) == 1


def test_a_job_that_would_become_several_is_refused(server: ServerProcess, tmp_path: Path) -> None:
    payload = {"test_path": "tests", "cwd": str(tmp_path), "split": "file"}
    answer = server.request("POST", "/jobs/", {"type": "bad", "payload": payload})
    assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/payload/split")
    assert "POST /v1/jobs" in answer.json["detail"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"null"])
def test_what_is_no_job_is_422(server: ServerProcess, body: bytes) -> None:
    answer = server.request("POST", "/jobs/", body, {"Content-Type": "application/json"})
    assert (answer.status, bool(answer.json["detail"])) == (422, True)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/jobs/nope"), ("GET", "/jobs/nope/logs"), ("PATCH", "/jobs/nope/cancel")]
)
def test_an_unknown_id_is_404(server: ServerProcess, method: str, path: str) -> None:
    for each in (path, f"{path}/"):
        answer = server.request(method, each)
        assert (answer.status, bool(answer.json["detail"])) == (404, True)


def test_a_wrong_method_is_405(server: ServerProcess) -> None:
    for method, path in (("DELETE", "/jobs/"), ("DELETE", "/jobs/x"), ("POST", "/jobs/x/cancel"), ("PUT", "/jobs")):
        assert server.request(method, path).status == 405


def test_jobs_of_other_origin_are_shown_in_the_same_words(server: ServerProcess) -> None:
    job = server.submit("noop", {}, name="elsewhere", priority=5, wait_s=10)
    shown = server.get(f"/jobs/{job['id']}")
    assert (shown["type"], shown["priority"], shown["status"]) == ("elsewhere", "normal", "success")
    unnamed = server.submit("noop", {}, wait_s=10)
    assert server.get(f"/jobs/{unnamed['id']}")["type"] == "noop"


def test_a_stream_without_an_upgrade_is_400(server: ServerProcess) -> None:
    assert server.request("GET", "/jobs/stream").status == 400
