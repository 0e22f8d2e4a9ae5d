"""The math front: clients of the square_sum / cube_sum API."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.server import ServerProcess
from tests.support.wait import wait_until_blocking

JOBS = "/api/v1/jobs/"
FIELDS = {"id", "status", "operation", "created_at", "updated_at"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    served = ServerProcess(tmp_path_factory.mktemp("math")).start()
    yield served
    served.close()


@pytest.fixture
def paused(server: ServerProcess) -> Iterator[None]:
    """Nothing is computed meanwhile."""
    server.request("PATCH", "/v1/queues/compute", {"paused": True})
    yield
    server.request("PATCH", "/v1/queues/compute", {"paused": False})


def submit(server: ServerProcess, operation: str, data: Any, path: str = JOBS) -> dict[str, Any]:
    answer = server.request("POST", path, {"data": data, "operation": operation})
    assert answer.status == 201, answer.body
    assert set(answer.json) == FIELDS
    assert (answer.json["status"], answer.json["operation"]) == ("PENDING", operation)
    job: dict[str, Any] = answer.json
    return job


def result(server: ServerProcess, number: int) -> dict[str, Any]:
    """The answer with the result, once there is one."""
    answer = wait_until_blocking(
        lambda: (found := server.request("GET", f"{JOBS}{number}/result")).status == 200 and found, 20, "the result"
    )
    assert answer
    assert set(answer.json) == {*FIELDS, "result"}
    shown: dict[str, Any] = answer.json
    return shown


@pytest.mark.parametrize(
    ("operation", "data", "value"),
    [("square_sum", [1, 2, 3, 4, 5], 55), ("cube_sum", [1, 2, 3], 36), ("square_sum", [0.5], 0.25)],
)
def test_a_sum_is_computed(server: ServerProcess, operation: str, data: list[float], value: float) -> None:
    job = submit(server, operation, data)
    shown = result(server, job["id"])
    assert shown["result"] == {"result": value, "value": value, "error": None}
    assert (shown["id"], shown["status"], shown["operation"]) == (job["id"], "SUCCESS", operation)
    assert server.get(f"{JOBS}{job['id']}/status") == {key: shown[key] for key in FIELDS}


def test_the_id_is_the_jobs_number(server: ServerProcess) -> None:
    first, second = (submit(server, "square_sum", [n])["id"] for n in (1, 2))
    assert isinstance(first, int)
    assert second == first + 1
    assert server.get(f"/v1/jobs?number={second}")["jobs"][0]["params"]["data"] == [2]


@pytest.mark.usefixtures("paused")
def test_a_result_that_is_not_there_yet_is_400_and_says_when_to_come_back(server: ServerProcess) -> None:
    job = submit(server, "square_sum", [1])
    answer = server.request("GET", f"{JOBS}{job['id']}/result")
    assert (answer.status, answer.headers["Retry-After"]) == (400, "1")
    assert "PENDING" in answer.json["detail"]
    assert server.get(f"{JOBS}{job['id']}/status")["status"] == "PENDING"


def test_a_running_sum_is_in_progress(server: ServerProcess) -> None:
    job = server.submit("local", {"command": "sleep 600"})
    server.until(job["id"], "running")
    shown = server.get(f"{JOBS}{job['number']}/status")
    assert (shown["status"], shown["operation"]) == ("IN_PROGRESS", None), "other jobs are shown in the same words"
    server.request("POST", f"/v1/jobs/{job['id']}/cancel")
    assert result(server, job["number"])["result"] == {"result": None, "value": None, "error": "cancelled"}
    assert server.get(f"{JOBS}{job['number']}/status")["status"] == "FAILED"


def test_a_sum_beyond_all_floats_fails_with_its_reason(server: ServerProcess) -> None:
    shown = result(server, submit(server, "square_sum", [1e200])["id"])
    assert shown["status"] == "FAILED"
    assert shown["result"]["value"] is None
    assert "64-bit" in shown["result"]["error"]


def test_a_slash_at_the_end_makes_no_difference(server: ServerProcess) -> None:
    job = submit(server, "square_sum", [3], "/api/v1/jobs")
    assert result(server, job["id"])["result"]["value"] == 9
    assert server.get(f"{JOBS}{job['id']}/result/") == result(server, job["id"])
    assert server.get(f"{JOBS}{job['id']}/status/")["status"] == "SUCCESS"


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"data": [1], "operation": "sum"}, "/operation"),
        ({"data": [1], "operation": "matmul"}, "/operation"),
        ({"data": [1]}, "/operation"),
        ({"operation": "cube_sum"}, "/data"),
        ({"data": "1,2", "operation": "cube_sum"}, "/data"),
        ({"data": 3, "operation": "cube_sum"}, "/data"),
        ({"data": None, "operation": "cube_sum"}, "/data"),
        ({"data": {"a": 1}, "operation": "cube_sum"}, "/data"),
        ({"data": [1, "2"], "operation": "cube_sum"}, "/data/1"),
        ({"data": [[1]], "operation": "cube_sum"}, "/data/0"),
        ({"data": [True], "operation": "cube_sum"}, "/data/0"),
        (b"[1, 2]", ""),
        (b"no JSON", ""),
    ],
    ids=str,
)
def test_a_bad_body_is_422_and_says_where(server: ServerProcess, body: Any, place: str) -> None:
    answer = server.request("POST", JOBS, body)
    assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, place)
    assert answer.json["detail"]


@pytest.mark.parametrize("number", ["999999", "0", "-1", "abc", "1.0", "9" * 30, "%D9%A3"])
@pytest.mark.parametrize("what", ["status", "result"])
def test_an_unknown_id_is_404(server: ServerProcess, number: str, what: str) -> None:
    answer = server.request("GET", f"{JOBS}{number}/{what}")
    assert (answer.status, bool(answer.json["detail"])) == (404, True)


def test_numbers_of_other_orgs_are_not_shown(server: ServerProcess) -> None:
    other = [server.submit("noop", {}, org_id="other", wait_s=10) for _ in range(3)]
    assert other[-1]["number"] == 3
    shown = server.get(f"{JOBS}3/status")
    assert shown["created_at"] != other[-1]["created_at"]


def test_a_wrong_method_is_405(server: ServerProcess) -> None:
    assert server.request("GET", JOBS).status == 405
    assert server.request("POST", f"{JOBS}1/status").status == 405
