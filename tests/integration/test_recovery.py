"""kill -9 at any moment loses nothing that was acknowledged, and what was running goes back, uncharged."""

import json
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hpcq.engine.recovery import READ
from tests.integration.conftest import MakeServer
from tests.support.server import ServerProcess
from tests.support.wait import wait_until_blocking


def test_acknowledged_jobs_survive_kill_9_and_finish_after_the_restart(server: ServerProcess) -> None:
    assert server.request("PATCH", "/v1/queues/noop", {"paused": True}).status == 200
    jobs = [{"queue": "noop", "params": {"message": str(n)}} for n in range(50)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda job: server.request("POST", "/v1/jobs", job), jobs))
    ids = [answer.json["id"] for answer in answers]
    assert {answer.status for answer in answers} == {201}
    server.kill()
    server.start()
    assert server.get("/v1/queues/noop")["paused"], "a live pause is kept"
    assert server.get("/v1/jobs/summary")["counts"] == {"queued": 50}
    server.request("PATCH", "/v1/queues/noop", {"paused": False})
    assert [server.job(id_, wait_s=20)["result"]["message"] for id_ in ids] == [str(n) for n in range(50)]


def test_more_jobs_than_are_read_at_a_time_wait_again_after_the_restart(server: ServerProcess) -> None:
    server.request("PATCH", "/v1/queues/noop", {"paused": True})
    line = json.dumps({"queue": "noop", "params": {}}).encode()
    body = b"\n".join([line] * (2 * READ + 1))
    ids = server.request("POST", "/v1/jobs", body, {"Content-Type": "application/x-ndjson"}).json["ids"]
    server.kill()
    server.start()
    for id_ in (ids[0], ids[READ], ids[-1]):
        assert server.request("POST", f"/v1/jobs/{id_}/cancel").json["state"] == "cancelled"
        assert server.request("POST", f"/v1/jobs/{id_}/retry").json["state"] == "queued"
    reasons = server.get(f"/v1/jobs/{ids[-2]}/explain")["reasons"]
    assert reasons[0]["code"] == "paused"


def test_a_running_job_is_requeued_uncharged_after_kill_9(server: ServerProcess, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    script = f"if [ -e {flag} ]; then echo second; else touch {flag}; echo first; exec sleep 1000; fi"
    job = server.submit("local", {"command": script}, retries={"max": 0})
    wait_until_blocking(flag.exists, what="the job to run")
    server.until(job["id"], "running")
    server.kill()
    server.assert_nothing_lives()
    server.start()
    ended = server.job(job["id"], wait_s=20)
    assert ended["state"] == "succeeded"
    assert ended["attempt"] == 2
    assert server.output(job["id"]) == "second\n"
    attempts = server.get(f"/v1/jobs/{job['id']}/attempts")["attempts"]
    assert [attempt["state"] for attempt in attempts] == ["lost", "succeeded"]


def test_a_job_that_kills_the_server_three_times_is_failed_lost(server: ServerProcess, tmp_path: Path) -> None:
    # The job's great-grandparent is the server: job <- launcher <- server.
    script = """
launcher=$PPID
server=$(cut -d' ' -f4 /proc/$launcher/stat)
kill -9 $server
sleep 1000
"""
    job = server.submit("local", {"command": script}, delay_s=0.5)  # so that the answer comes before the end
    for _ in range(2):
        server.wait()
        server.start()
    server.wait()
    server.start()
    ended = server.job(job["id"], wait_s=20)
    assert ended["state"] == "failed"
    assert ended["error"]["type"] == "lost"
    assert ended["attempt"] == 3


def test_jobs_survive_two_kills_in_a_row(server: ServerProcess) -> None:
    running = server.submit("noop", {"duration_s": 1000})
    server.until(running["id"], "running")
    queued = [server.submit("compute", {"operation": "square_sum", "data": [n]})["id"] for n in range(20)]
    for _ in range(2):  # at the third the poison rule would hold the jobs for guilty
        server.kill()
        server.start()
    for number, id_ in enumerate(queued):
        assert server.job(id_, wait_s=20)["result"] == {"value": number * number}
    assert server.until(running["id"], "running")["attempt"] == 3


def test_an_idempotency_key_holds_over_a_restart(server: ServerProcess) -> None:
    body = {"queue": "noop", "params": {}, "idempotency_key": "k1"}
    first = server.request("POST", "/v1/jobs", body)
    server.kill()
    server.start()
    again = server.request("POST", "/v1/jobs", body)
    other = server.request("POST", "/v1/jobs", {**body, "name": "else"})
    assert (first.status, again.status, other.status) == (201, 200, 422)
    assert first.json["id"] == again.json["id"]
    assert server.get("/v1/jobs/summary")["total"] == 1


def test_events_have_no_holes_over_a_restart(server: ServerProcess) -> None:
    job = server.submit("noop", {}, wait_s=10)
    server.kill()
    server.start()
    server.request("POST", f"/v1/jobs/{job['id']}/retry", {})
    server.job(job["id"], wait_s=10)
    events = server.get(f"/v1/jobs/{job['id']}/events")["events"]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert [event["type"] for event in events][-3:] == ["job.reopened", "job.started", "job.succeeded"]


def test_sigterm_lets_running_jobs_end_and_requeues_the_rest(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server()
    short = server.submit("local", {"command": "sleep 0.3; echo done"})
    long = server.submit("local", {"command": "sleep 1000"})
    waiting = server.submit("local", {"command": "echo later"})
    server.until(long["id"], "running")
    server.until(short["id"], "running")
    assert server.stop() == 0
    server.start()
    assert server.job(short["id"])["state"] == "succeeded"
    again = server.until(long["id"], "running")
    assert (again["attempt"], again["retries_left"]) == (2, 0), "requeued and not charged"
    assert server.job(waiting["id"], wait_s=20)["state"] == "succeeded"
    server.request("POST", f"/v1/jobs/{long['id']}/cancel", {})
    assert server.until(long["id"], "cancelled")["state"] == "cancelled"


def test_while_draining_submits_are_told_to_come_back(make_server: MakeServer) -> None:
    server = make_server(env={"HPCQ_SERVER__DRAIN_GRACE_S": "20"})
    job = server.submit("noop", {"duration_s": 1000})
    server.until(job["id"], "running")
    server.signal(signal.SIGTERM)
    wait_until_blocking(lambda: server.get("/v1/jobs/" + job["id"]) and _refused(server), what="a refusal")
    server.signal(signal.SIGTERM)  # the second one ends it at once
    assert server.wait() == 0


def _refused(server: ServerProcess) -> bool:
    answer = server.request("POST", "/v1/jobs", {"queue": "noop", "params": {}})
    return answer.status == 503 and "Retry-After" in answer.headers


def test_a_second_server_on_the_same_folder_refuses_and_says_who_has_it(server: ServerProcess) -> None:
    other = ServerProcess(server.config.parent)
    with pytest.raises(AssertionError, match=f"process {server.pid}"):
        other.start()


@pytest.mark.parametrize("change", [None, {"priority": 5}])
def test_an_expired_job_that_is_retried_does_not_expire_again(
    server: ServerProcess, change: dict[str, int] | None
) -> None:
    job = server.submit("noop", {}, wait_s=10, expires_at="2020-01-01T00:00:00Z", run_at="2020-01-01T00:00:00Z")
    assert job["error"]["type"] == "expired"
    server.request("PATCH", "/v1/queues/noop", {"paused": True})
    again = server.request("POST", f"/v1/jobs/{job['id']}/retry", {}).json
    assert (again["state"], again["expires_at"], again["run_at"]) == ("queued", None, None)
    if change:
        assert server.request("PATCH", f"/v1/jobs/{job['id']}", change).json["state"] == "queued"
    server.kill()
    server.start()
    assert server.job(job["id"])["state"] == "queued"
    server.request("PATCH", "/v1/queues/noop", {"paused": False})
    assert server.job(job["id"], wait_s=10)["state"] == "succeeded"
