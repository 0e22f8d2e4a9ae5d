"""The test-queue front: clients of the AppWright queue."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.conftest import MakeServer
from tests.support.server import ServerProcess
from tests.support.wait import wait_until_blocking

RUN = {"org_id": "qualgent", "app_version_id": "xyz123", "test_path": "tests/onboarding.spec.js"}
WHOLE: dict[str, Any] = {**RUN, "priority": 3, "target": "local", "max_retries": 3}
CONFIG = """
[queues.local]
slots = 1
"""
VISIBLE = """
[queues.local]
slots = 1
lease_s = 1
grace_s = 0.2
"""
FIELDS = {
    "job_id", "status", "org_id", "app_version_id", "test_path", "target", "priority", "retries", "max_retries",
    "created_at", "error",
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """It rehearses: there is neither a device nor a project here."""
    served = ServerProcess(tmp_path_factory.mktemp("rehearsal"), CONFIG, arguments=["--rehearse"]).start()
    yield served
    served.close()


@pytest.fixture
def paused(server: ServerProcess) -> Iterator[None]:
    """Nothing of the queue local starts meanwhile."""
    server.request("PATCH", "/v1/queues/local", {"paused": True})
    yield
    server.request("PATCH", "/v1/queues/local", {"paused": False})


def submit(server: ServerProcess, path: str = "/submit", **fields: Any) -> str:
    answer = server.request("POST", path, {**RUN, **fields})
    assert (answer.status, answer.json.get("status"), len(answer.json)) == (200, "queued", 2), answer.body
    return str(answer.json["job_id"])


def until(server: ServerProcess, job_id: str, *words: str) -> dict[str, Any]:
    """The run once it has one of these states."""
    seen: dict[str, Any] = {}

    def there() -> bool:
        seen.update(server.get(f"/status/{job_id}"))
        return seen["status"] in words

    wait_until_blocking(there, 20, f"run {job_id} in {words}")
    return seen


def starts(server: ServerProcess, ids: list[str]) -> list[str]:
    """These jobs in the order in which they began."""
    jobs = [server.job(id_, wait_s=20) for id_ in ids]
    assert {job["state"] for job in jobs} == {"succeeded"}
    events = {job["id"]: server.get(f"/v1/jobs/{job['id']}/events")["events"] for job in jobs}
    seqs = {id_: next(each["seq"] for each in found if each["type"] == "job.started") for id_, found in events.items()}
    return sorted(ids, key=seqs.__getitem__)


def test_a_run_is_submitted_and_shown_whole(server: ServerProcess) -> None:
    job_id = submit(server, **WHOLE)
    shown = until(server, job_id, "done")
    assert set(shown) >= FIELDS
    assert {key: shown[key] for key in WHOLE} == WHOLE
    assert (shown["job_id"], shown["retries"], shown["error"]) == (job_id, 0, None)
    ours = server.job(job_id)
    assert (ours["queue"], ours["org_id"], ours["batch_key"]) == ("local", "qualgent", "build:xyz123")
    assert ours["params"] == {"test_path": RUN["test_path"], "app_version_id": "xyz123"}


def test_what_need_not_be_said(server: ServerProcess) -> None:
    minimal = {"app_version_id": "xyz123", "test_path": "tests/onboarding.spec.js"}
    answer = server.request("POST", "/submit/", minimal)
    shown = until(server, answer.json["job_id"], "done")
    assert (shown["org_id"], shown["target"], shown["priority"], shown["max_retries"]) == ("default", "local", 0, 3)


@pytest.mark.parametrize(
    ("target", "queue"),
    [
        ("local", "local"),
        ("emulator", "emulator"),
        ("device_farm", "device_farm"),
        ("device", "emulator"),
        ("browserstack", "device_farm"),
    ],
)
def test_a_target_names_its_queue_and_is_shown_as_it_was_sent(server: ServerProcess, target: str, queue: str) -> None:
    job_id = submit(server, target=target)
    assert server.job(job_id, wait_s=20)["queue"] == queue
    shown = server.get(f"/status/{job_id}/")
    assert (shown["target"], shown["status"]) == (target, "done")


@pytest.mark.parametrize("target", ["nokia", "compute", "noop", ""])
def test_an_unknown_target_is_422_and_names_the_known_ones(server: ServerProcess, target: str) -> None:
    answer = server.request("POST", "/submit", {**RUN, "target": target})
    assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/target")
    assert all(known in answer.json["detail"] for known in ("local", "emulator", "device_farm"))


@pytest.mark.usefixtures("paused")
def test_a_higher_priority_runs_first(server: ServerProcess) -> None:
    ids = [submit(server, priority=priority) for priority in (1, 3, 2)]
    server.request("PATCH", "/v1/queues/local", {"paused": False})
    assert starts(server, ids) == [ids[1], ids[2], ids[0]]


@pytest.mark.parametrize(
    ("sent", "shown"), [(101, 100), (-5000, -100), ("7", 7), (2**62, 100), (1e99, 100), (-1e300, -100), (3.0, 3)]
)
def test_a_priority_is_clamped_and_may_be_text(server: ServerProcess, sent: Any, shown: int) -> None:
    assert server.get(f"/status/{submit(server, priority=sent)}")["priority"] == shown


@pytest.mark.usefixtures("paused")
def test_runs_of_one_build_go_in_batches_of_three(server: ServerProcess) -> None:
    ids = [submit(server, app_version_id=build) for build in "aabaaa"]
    server.request("PATCH", "/v1/queues/local", {"paused": False})
    first, second, other, third, *rest = ids
    assert starts(server, ids) == [first, second, third, other, *rest]


@pytest.mark.usefixtures("paused")
def test_a_waiting_run_is_queued_and_says_why(server: ServerProcess) -> None:
    job_id = submit(server)
    shown = server.get(f"/status/{job_id}")
    assert (shown["status"], shown["error"]) == ("queued", None)
    assert "paused" in shown["reason"]
    server.request("POST", f"/v1/jobs/{job_id}/cancel")
    shown = server.get(f"/status/{job_id}")
    assert (shown["status"], shown["error"], shown["reason"]) == ("failed", "cancelled", None)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"app_version_id": None}, "/app_version_id"),
        ({"app_version_id": ""}, "/app_version_id"),
        ({"app_version_id": "x" * 300}, "/app_version_id"),
        ({"test_path": None}, "/test_path"),
        ({"test_path": "../../etc/passwd"}, "/test_path"),
        ({"test_path": "/etc/passwd"}, "/test_path"),
        ({"test_path": "--config=x"}, "/test_path"),
        ({"test_path": "tests/*.js"}, "/test_path"),
        ({"priority": "urgent"}, "/priority"),
        ({"priority": 1.5}, "/priority"),
        ({"max_retries": -1}, "/max_retries"),
        ({"max_retries": 10_000}, "/max_retries"),
        ({"max_retries": "many"}, "/max_retries"),
        ({"org_id": "no org"}, "/org_id"),
        ({"target": 5}, "/target"),
    ],
    ids=str,
)
def test_a_bad_field_is_422_and_named_as_the_client_knows_it(
    server: ServerProcess, change: dict[str, Any], place: str
) -> None:
    answer = server.request("POST", "/submit", {**RUN, **change})
    assert answer.status == 422, answer.body
    assert place in [error["pointer"] for error in answer.json["errors"]]
    assert place[1:] in answer.json["detail"]


def test_a_build_whose_name_is_too_long_is_told_so_once(server: ServerProcess) -> None:
    answer = server.request("POST", "/submit", {**RUN, "app_version_id": "x" * 195})
    said = "must have at most 194 characters; found 195 characters"
    assert answer.json["detail"] == f"app_version_id: {said}"
    assert answer.json["errors"] == [{"pointer": "/app_version_id", "detail": said}]
    assert server.get(f"/status/{submit(server, app_version_id='x' * 194)}")["app_version_id"] == "x" * 194


def test_null_is_as_good_as_nothing(server: ServerProcess) -> None:
    nothing: dict[str, Any] = dict.fromkeys(("org_id", "target", "priority", "max_retries"))
    shown = server.get(f"/status/{submit(server, **nothing)}")
    assert (shown["org_id"], shown["target"], shown["priority"], shown["max_retries"]) == ("default", "local", 0, 3)


def test_a_number_that_no_job_can_keep_is_named_in_the_detail(server: ServerProcess) -> None:
    answer = server.request("POST", "/submit", {**RUN, "priority": 10**30})
    assert answer.status == 422
    assert answer.json["detail"].startswith("priority: an integer must lie between")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null"])
def test_what_is_no_run_is_422(server: ServerProcess, body: bytes) -> None:
    assert server.request("POST", "/submit", body, {"Content-Type": "application/json"}).status == 422


def test_an_unknown_id_is_404_and_a_wrong_method_405(server: ServerProcess) -> None:
    for path in ("/status/nope", "/status/nope/"):
        answer = server.request("GET", path)
        assert (answer.status, bool(answer.json["detail"])) == (404, True)
    assert server.request("GET", "/submit").status == 405
    assert server.request("POST", "/status/nope").status == 405


def test_a_run_without_a_project_fails_with_the_sentence_that_says_so(make_server: MakeServer) -> None:
    server = make_server()
    shown = until(server, submit(server), "failed")
    assert "project_dir" in shown["error"]
    assert (shown["retries"], shown["max_retries"]) == (0, 3), "trying again would not help"


def test_a_run_without_a_device_waits_and_says_what_is_missing(make_server: MakeServer) -> None:
    server = make_server(env={"PATH": "/usr/bin:/bin", "BROWSERSTACK_ACCESS_KEY": ""})
    for target in ("emulator", "device_farm"):
        shown = server.get(f"/status/{submit(server, target=target)}")
        assert (shown["status"], shown["error"]) == ("queued", None)
        assert len(shown["reason"]) > 20, "it says what is missing"


def test_retries_are_counted(make_server: MakeServer) -> None:
    server = make_server(VISIBLE)
    job = server.submit("local", {"command": "exit 1"}, retries={"max": 2, "backoff_s": 0})
    shown = until(server, job["id"], "failed")
    assert (shown["retries"], shown["max_retries"]) == (2, 2)
    assert shown["error"]
    assert shown["test_path"] is shown["app_version_id"] is None, "a job of other origin"


def test_a_silent_run_is_requeued_when_its_visibility_timeout_is_over(make_server: MakeServer) -> None:
    server = make_server(VISIBLE)
    job = server.submit("local", {"command": "[ $HPCQ_ATTEMPT = 2 ] || kill -STOP $$"})
    shown = until(server, job["id"], "done")
    assert shown["retries"] == 0, "it is not charged for that"
    assert server.job(job["id"])["attempt"] == 2
