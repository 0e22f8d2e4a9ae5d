"""Keys of jobs that are gone, changes of what keeps jobs together, and slots that leave, over HTTP."""

import pytest

from tests.integration.conftest import MakeServer
from tests.support.server import ServerProcess

NOOP = {"queue": "noop", "params": {}}


@pytest.mark.parametrize("header", [False, True])
def test_a_repeated_key_whose_job_was_pruned_makes_a_new_job(make_server: MakeServer, header: bool) -> None:
    server = make_server("[retention]\njobs_days = 0\n")
    headers = {"Idempotency-Key": "k"} if header else {}
    body = NOOP if header else {**NOOP, "idempotency_key": "k"}
    first = server.request("POST", "/v1/jobs?wait=20", body, headers).json
    server.submit("noop", {"message": "the newest job stays, for its number"}, wait_s=20)
    assert server.request("POST", "/v1/prune", {}).json["jobs"] == 1
    again = server.request("POST", "/v1/jobs?wait=20", body, headers)
    assert again.status == 201
    assert again.json["id"] != first["id"]
    assert again.json["state"] == "succeeded"


def test_a_changed_batch_key_is_shown_and_found(server: ServerProcess) -> None:
    job_id = server.submit("noop", {}, delay_s=1000, batch_key="old")["id"]
    assert server.request("PATCH", f"/v1/jobs/{job_id}", {"batch_key": "new"}).json["batch_key"] == "new"
    assert [job["id"] for job in server.get("/v1/jobs?batch_key=new")["jobs"]] == [job_id]
    assert server.get("/v1/jobs?batch_key=old")["jobs"] == []
    assert server.request("PATCH", f"/v1/jobs/{job_id}", {"batch_key": None}).json["batch_key"] is None


def test_a_queue_does_not_count_the_slots_that_are_leaving(make_server: MakeServer) -> None:
    server = make_server('[queues.two]\nrunner = "noop"\nslots = 2\n')
    jobs = [server.submit("two", {"duration_s": 600}) for _ in range(2)]
    for job in jobs:
        server.until(job["id"], "running")
    seen = server.request("PATCH", "/v1/queues/two", {"slots": 1}).json
    assert seen["slots"] == 1
    assert sorted(slot["state"] for slot in seen["slot_list"]) == ["busy", "leaving"]
    for job in jobs:
        server.request("POST", f"/v1/jobs/{job['id']}/cancel", {})
