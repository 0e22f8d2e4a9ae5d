"""The matrix front: clients of the simulated HPC job queue."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from tests.integration.conftest import MakeServer
from tests.support.server import ServerProcess
from tests.support.wait import wait_until_blocking

CONFIG = """
[queues.compute]
max_size = 20_000
"""
PATIENCE_S = 10.0  # how long those clients poll


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Its own limit is higher than this front's."""
    served = ServerProcess(tmp_path_factory.mktemp("matrix"), CONFIG).start()
    yield served
    served.close()


def submit(server: ServerProcess, complexity: Any, path: str = "/submit-job") -> str:
    answer = server.request("POST", path, {"task_name": "TestMatrix", "complexity": complexity})
    assert (answer.status, answer.json["status"], set(answer.json)) == (200, "queued", {"job_id", "status"})
    return str(answer.json["job_id"])


def ended(server: ServerProcess, job_id: str, path: str = "/job/{}") -> dict[str, Any]:
    """The job once it is completed or failed; every answer before that has only id and status."""
    seen: dict[str, Any] = {}

    def is_over() -> bool:
        seen.clear()
        seen.update(server.get(path.format(job_id)))
        if seen["status"] in ("pending", "running"):
            assert set(seen) == {"job_id", "status"}
            return False
        return True

    wait_until_blocking(is_over, PATIENCE_S, f"the end of {job_id}")
    return seen


def test_complexity_5_is_completed_within_the_clients_patience(server: ServerProcess) -> None:
    job_id = submit(server, 5)
    job = ended(server, job_id)
    assert set(job) == {"status", "job_id", "duration_seconds", "matrix_size", "processed_at"}
    assert (job["status"], job["job_id"], job["matrix_size"]) == ("completed", job_id, "2500x2500")
    assert job["duration_seconds"] > 0
    assert datetime.fromisoformat(job["processed_at"]).tzinfo is not None
    ours = server.job(job_id)
    assert (ours["queue"], ours["name"], ours["result"]["shape"]) == ("compute", "TestMatrix", [2500, 2500])


def test_two_products_are_of_different_matrices(server: ServerProcess) -> None:
    jobs = [server.job(submit(server, 1), wait_s=10) for _ in range(2)]
    assert jobs[0]["result"]["checksum"] != jobs[1]["result"]["checksum"]


@pytest.mark.parametrize("complexity", [21, 10**15, 1e99])
def test_what_is_too_complex_is_accepted_then_failed_by_the_runner_and_never_computed(
    server: ServerProcess, complexity: float
) -> None:
    job_id = submit(server, complexity)
    assert ended(server, job_id) == {"status": "failed", "job_id": job_id, "error": "Complexity too high"}
    ours = server.job(job_id)
    assert (ours["error"]["type"], ours["attempt"], ours["artifacts"]) == ("rejected", 1, [])


def test_a_number_may_come_as_text_as_robot_suites_send_it(server: ServerProcess) -> None:
    assert ended(server, submit(server, "1"))["matrix_size"] == "500x500"


def test_a_slash_at_the_end_makes_no_difference(server: ServerProcess) -> None:
    assert ended(server, submit(server, 1, "/submit-job/"), "/job/{}/")["status"] == "completed"


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"", b"[]", b'"text"', {}, {"task_name": "x"}, {"complexity": "five"}, {"complexity": None},
        {"complexity": True}, {"complexity": 2.5}, {"complexity": 0}, {"complexity": -1}, {"complexity": 10**400},
        {"complexity": 5, "task_name": 7},
    ],
    ids=str,
)  # fmt: skip
def test_a_bad_body_is_422_with_a_detail(server: ServerProcess, body: Any) -> None:
    answer = server.request("POST", "/submit-job", body or None, {"Content-Type": "application/json"})
    assert answer.status == 422
    assert answer.json["detail"]
    assert answer.headers["Content-Type"].startswith("application/problem+json")


def test_what_earlier_clients_sent_besides_is_not_read(server: ServerProcess) -> None:
    body = {"task_name": "x" * 1000, "complexity": 1, "user": "me"}
    answer = server.request("POST", "/submit-job?_=1", body)
    assert answer.status == 200
    assert len(server.job(answer.json["job_id"])["name"]) == 200


@pytest.mark.parametrize("job_id", ["nope", "00000000-0000-0000-0000-000000000000", "%00", "%FF", "x" * 2000])
def test_an_unknown_id_is_404(server: ServerProcess, job_id: str) -> None:
    answer = server.request("GET", f"/job/{job_id}")
    assert (answer.status, bool(answer.json["detail"])) == (404, True)


def test_a_wrong_method_is_405_and_says_the_right_one(server: ServerProcess) -> None:
    for path in ("/submit-job", "/submit-job/"):
        answer = server.request("GET", path)
        assert (answer.status, answer.headers["Allow"]) == (405, "POST")
    assert server.request("DELETE", "/job/x").status == 405


def test_a_cancelled_job_is_failed_with_that_error(server: ServerProcess) -> None:
    job = server.submit("local", {"command": "sleep 600"})
    server.until(job["id"], "running")
    assert server.get(f"/job/{job['id']}") == {"job_id": job["id"], "status": "running"}
    server.request("POST", f"/v1/jobs/{job['id']}/cancel")
    assert ended(server, job["id"]) == {"status": "failed", "job_id": job["id"], "error": "cancelled"}


def test_jobs_of_other_origin_are_shown_in_the_same_words(server: ServerProcess) -> None:
    done = server.submit("noop", {}, wait_s=10)
    shown = server.get(f"/job/{done['id']}")
    assert (shown["status"], shown["matrix_size"]) == ("completed", None)
    failed = server.submit("noop", {"fail": True, "message": "broken"}, wait_s=10)
    assert server.get(f"/job/{failed['id']}") == {"status": "failed", "job_id": failed["id"], "error": "broken"}
    blocked = server.submit("noop", {}, depends_on=[server.submit("noop", {"duration_s": 600})["id"]])
    assert server.get(f"/job/{blocked['id']}") == {"status": "pending", "job_id": blocked["id"]}


def test_the_queues_own_limit_is_said_in_the_same_words(server: ServerProcess, make_server: MakeServer) -> None:
    narrow = make_server("[queues.compute]\nmax_size = 400\n")
    assert ended(narrow, submit(narrow, 1))["error"] == "Complexity too high"
    other = narrow.submit("compute", {"operation": "det", "size": 500}, wait_s=10)
    assert "max_size" in narrow.get(f"/job/{other['id']}")["error"], "not this front's: in the runner's own words"


def test_the_api_is_ready_for_whoever_is_no_browser(server: ServerProcess) -> None:
    for accept in ({"Accept": "application/json"}, {"Accept": "*/*"}, {}):
        assert server.request("GET", "/", headers=accept).json == {"status": "API is ready"}
