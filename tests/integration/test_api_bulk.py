"""Many jobs in one request, all or none, while others are served."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.server import ServerProcess

NDJSON = {"Content-Type": "application/x-ndjson"}
CONFIG = """
[queues.idle]
runner = "noop"
slots = 0
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    served = ServerProcess(tmp_path_factory.mktemp("bulk"), CONFIG).start()
    yield served
    served.close()


def specs(count: int, tag: str) -> list[dict[str, object]]:
    return [{"queue": "idle", "params": {"message": str(n)}, "tags": {"bulk": tag}} for n in range(count)]


@pytest.mark.parametrize("form", ["array", "pretty array", "lines"])
def test_all_jobs_are_kept_in_the_order_of_the_request(server: ServerProcess, form: str) -> None:
    jobs = specs(300, form.replace(" ", "-"))
    if form == "lines":
        body, headers = b"\n".join(json.dumps(job).encode() for job in jobs), NDJSON
    else:
        body, headers = json.dumps(jobs, indent=1 if form == "pretty array" else None).encode(), {}
    answer = server.request("POST", "/v1/jobs", body, headers)
    assert answer.status == 201
    assert answer.json["count"] == len(answer.json["ids"]) == 300
    listed = server.get(f"/v1/jobs?tag=bulk:{form.replace(' ', '-')}&limit=1000&order=asc")["jobs"]
    assert [job["id"] for job in listed] == answer.json["ids"]
    assert [job["params"]["message"] for job in listed] == [str(n) for n in range(300)]
    assert sorted(job["number"] for job in listed) == [job["number"] for job in listed]


def test_an_array_of_one_is_answered_as_an_array(server: ServerProcess) -> None:
    answer = server.request("POST", "/v1/jobs", specs(1, "one"))
    assert (answer.status, answer.json["count"]) == (201, 1)


def test_a_key_covers_the_whole_request(server: ServerProcess) -> None:
    key = {"Idempotency-Key": "bulk-1"}
    first = server.request("POST", "/v1/jobs", specs(20, "key"), key)
    again = server.request("POST", "/v1/jobs", specs(20, "key"), key)
    assert (first.status, again.status) == (201, 200)
    assert first.json == again.json
    assert server.request("POST", "/v1/jobs", specs(21, "key"), key).status == 422
    assert server.get("/v1/jobs/summary?tag=bulk:key")["total"] == 20


def test_jobs_may_depend_on_earlier_ones_of_the_array(server: ServerProcess) -> None:
    chain = [{"queue": "noop", "params": {}}, {"queue": "noop", "params": {}, "depends_on": [{"index": 0}]}]
    answer = server.request("POST", "/v1/jobs?wait=20", chain)
    assert answer.status == 201
    assert {server.job(id_)["state"] for id_ in answer.json["ids"]} == {"succeeded"}
    wrong = [{"queue": "noop", "params": {}, "depends_on": [{"index": 1}]}, {"queue": "noop", "params": {}}]
    answer = server.request("POST", "/v1/jobs", wrong)
    assert answer.status == 422
    assert answer.json["errors"][0]["pointer"] == "/0/depends_on/0/index"


def test_others_are_served_while_a_large_request_is_taken_in(server: ServerProcess) -> None:
    body = json.dumps(specs(20_000, "large")).encode()
    answers: list[int] = []
    sending = threading.Thread(target=lambda: answers.append(server.request("POST", "/v1/jobs", body).status))
    sending.start()
    served = 0
    while sending.is_alive():
        assert server.request("GET", "/health").status == 200
        served += 1
    sending.join()
    assert answers == [201]
    assert served >= 10, "the loop was held up"
    assert server.get("/v1/jobs/summary?tag=bulk:large")["total"] == 20_000


def test_a_large_bulk_takes_little_memory_a_job(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, CONFIG).start()
    before = peak_kib(server)
    body = b"\n".join(json.dumps(job).encode() for job in specs(20_000, "memory"))
    assert server.request("POST", "/v1/jobs", body, NDJSON).status == 201
    took = peak_kib(server) - before
    server.close()
    assert took / 20_000 < 4, f"{took} KiB for 20,000 jobs"  # 2 here; 6 before each spec was kept snugly


def peak_kib(server: ServerProcess) -> int:
    """The most memory that the server has ever had."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])
