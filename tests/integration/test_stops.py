"""Stops that come at awkward moments hit the attempt they were meant for, and no other."""

import os
import signal
import subprocess
from pathlib import Path

import psutil

from tests.integration.conftest import MakeServer
from tests.support.server import ServerProcess
from tests.support.wait import wait_until_blocking


def test_a_stop_during_the_cleaning_up_spares_the_next_attempt(make_server: MakeServer) -> None:
    server = make_server("[queues.local]\nslots = 1\n")
    script = """
if [ -e $HPCQ_JOB_DIR/again ]; then sleep 0.5; exit 0; fi
touch $HPCQ_JOB_DIR/again
mkdir many; cd many
python3 -c "for n in range(40000): open(str(n), 'w').close()"
"""
    job = server.submit("local", {"command": script})
    work = server.data_dir / "jobs" / job["id"][-2:] / job["id"] / "attempt-1" / "work" / "many"

    def cleaning() -> bool:
        return (work.exists() and not (work / "0").exists()) or server.job(job["id"])["state"] != "running"

    wait_until_blocking(cleaning, 60, "the cleaning up, or the end")
    if server.request("POST", f"/v1/jobs/{job['id']}/cancel").status == 200:
        server.until(job["id"], "cancelled", "succeeded")
    server.request("POST", f"/v1/jobs/{job['id']}/retry")
    ended = server.job(job["id"], wait_s=30)
    assert (ended["state"], ended["error"]) == ("succeeded", None)


def test_recalled_claims_are_not_live_and_do_not_hold_up_the_drain(make_server: MakeServer) -> None:
    server = make_server("[queues.compute]\nslots = 1\n", env={"HPCQ_SERVER__DRAIN_GRACE_S": "30"})
    short = {"operation": "square_sum", "data": [1, 2, 3]}
    for _ in range(20):
        server.submit("compute", short, wait_s=30)
    bodies = [{"queue": "compute", "params": {"operation": "svd", "size": 300}}]
    bodies += [{"queue": "compute", "params": short} for _ in range(30)]
    server.request("POST", "/v1/jobs", bodies)
    server.request("PATCH", "/v1/queues/compute", {"paused": True})
    wait_until_blocking(lambda: not server.get("/v1/stats")["live_attempts"], 20, "no live attempts")
    assert server.stop() == 0
    server.start()
    server.request("PATCH", "/v1/queues/compute", {"paused": False})
    assert server.get("/v1/jobs/summary?wait=30")["counts"] == {"succeeded": 51}


def test_a_job_that_locks_its_artifacts_folder_still_ends(server: ServerProcess, tmp_path: Path) -> None:
    script = "mkdir $HPCQ_ARTIFACTS/d; touch $HPCQ_ARTIFACTS/d/f; chmod 400 $HPCQ_ARTIFACTS/d; echo $HPCQ_ARTIFACTS"
    job = server.submit("local", {"command": script}, wait_s=20)
    assert job["state"] == "succeeded"
    (Path(server.output(job["id"]).strip()) / "d").chmod(0o700)


def test_the_second_sigterm_ends_the_drain_at_once(make_server: MakeServer) -> None:
    server = make_server(env={"HPCQ_SERVER__DRAIN_GRACE_S": "600"})
    job = server.submit("noop", {"duration_s": 1000})
    server.until(job["id"], "running")
    server.signal(signal.SIGTERM)
    wait_until_blocking(lambda: any("draining" in line for line in server.log), 10, "the drain")
    os.kill(server.pid, signal.SIGTERM)
    assert server.wait(timeout_s=15) == 0, "well before its grace of ten minutes"


def test_an_artifacts_folder_that_cannot_be_walked_does_not_keep_the_job(server: ServerProcess) -> None:
    deep = "cd $HPCQ_ARTIFACTS; python3 -c \"import os\nfor i in range(1300): os.mkdir('d'); os.chdir('d')\""
    link = "rmdir $HPCQ_ARTIFACTS; ln -s /etc $HPCQ_ARTIFACTS"
    work = "python3 -c \"import os\nfor i in range(1300): os.mkdir('d'); os.chdir('d')\""
    for script in (deep, link, work):
        job = server.submit("local", {"command": script}, wait_s=30)
        # pytest could not remove what is nested so deep
        subprocess.run(["rm", "-rf", str(server.data_dir / "jobs" / job["id"][-2:] / job["id"])], check=True)
        assert (job["state"], job["artifacts"]) == ("succeeded", []), script
    assert server.submit("local", {"command": "echo fine"}, wait_s=20)["state"] == "succeeded"


def test_a_job_that_stops_its_launcher_ends_and_leaves_nothing(make_server: MakeServer) -> None:
    server = make_server("[queues.local]\ngrace_s = 0.2\nlease_s = 2\n")
    job = server.submit("local", {"command": "sleep 0.5; kill -STOP $PPID; sleep 98787"}, timeout_s=2)
    server.until(job["id"], "running")
    server.note_offspring()
    server.until(job["id"], "failed", timeout_s=40)
    wait_until_blocking(lambda: not _sleepers("98787"), 10, "the end of its processes")
    assert server.submit("local", {"command": "echo fine"}, wait_s=20)["state"] == "succeeded"


def test_a_stopped_launcher_sees_the_servers_death(server: ServerProcess) -> None:
    server.submit("local", {"command": "kill -STOP $PPID; sleep 98786"})
    wait_until_blocking(lambda: _sleepers("98786"), 20, "the job's process")
    server.kill()
    wait_until_blocking(lambda: not _sleepers("98786"), 5, "the end of its processes")


def _sleepers(seconds: str) -> list[int]:
    return [p.pid for p in psutil.process_iter(["cmdline"]) if (p.info["cmdline"] or [])[-2:] == ["sleep", seconds]]


def test_a_job_that_has_expired_on_arrival_never_runs(server: ServerProcess) -> None:
    job = server.submit("noop", {}, wait_s=10, expires_at="2020-01-01T00:00:00Z")
    assert (job["state"], job["error"]["type"], job["attempt"]) == ("failed", "expired", 0)


def test_a_retried_job_waits_again_for_what_it_depends_on(server: ServerProcess) -> None:
    first = server.submit("noop", {"duration_s": 1.5, "fail": True})
    second = server.submit("noop", {}, depends_on=[first["id"]])
    server.request("POST", f"/v1/jobs/{second['id']}/cancel")
    assert server.request("POST", f"/v1/jobs/{second['id']}/retry").json["state"] == "blocked"
    ended = server.job(second["id"], wait_s=20)
    assert (ended["state"], ended["error"]["type"]) == ("failed", "dependency")


def test_a_key_with_a_delay_is_the_same_job(server: ServerProcess) -> None:
    body = {"queue": "noop", "params": {}, "delay_s": 0.1, "idempotency_key": "later"}
    first, again = (server.request("POST", "/v1/jobs", body) for _ in range(2))
    assert (first.status, again.status) == (201, 200)


def test_times_beyond_the_calendar_are_422(server: ServerProcess) -> None:
    body = {"queue": "noop", "params": {}, "run_at": "9999-12-31T23:59:59-14:00"}
    assert server.request("POST", "/v1/jobs", body).status == 422
    assert server.request("GET", "/v1/jobs?finished_after=0001-01-01T00:00:00%2B14:00").status == 422
