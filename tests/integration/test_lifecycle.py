"""What clients can ask of a job, over real HTTP, with real processes."""

import time
from pathlib import Path

import pytest

from tests.integration.conftest import MakeServer
from tests.support.server import ServerProcess
from tests.support.wait import wait_until_blocking

STUBBORN = "trap '' TERM; echo up; while :; do sleep 0.1; done"


def test_a_commands_output_result_and_usage_come_back(server: ServerProcess) -> None:
    job = server.submit("local", {"command": ["sh", "-c", "echo out; echo err >&2; exit 3"]}, wait_s=20)
    assert job["state"] == "failed"
    assert job["error"] == {"type": "exit", "message": job["error"]["message"], "exit_code": 3, "signal": None}
    assert server.output(job["id"]) == "out\nerr\n"
    assert job["usage"]["max_rss_mb"] > 0


def test_a_result_file_is_the_result_and_artifacts_are_kept(server: ServerProcess) -> None:
    script = """echo '{"answer": 42}' > $HPCQ_RESULT; echo data > a.txt; echo more > $HPCQ_ARTIFACTS/b.txt"""
    job = server.submit("local", {"command": script, "artifacts": ["*.txt"]}, wait_s=20)
    assert job["result"] == {"answer": 42}
    assert job["artifacts"] == [{"name": "a.txt", "size": 5}, {"name": "b.txt", "size": 5}]
    assert server.request("GET", f"/v1/jobs/{job['id']}/artifacts/a.txt").body == b"data\n"
    assert not (server.data_dir / "jobs" / job["id"][-2:] / job["id"] / "attempt-1" / "work").exists()


def test_a_timeout_kills_a_stubborn_child_after_the_grace(make_server: MakeServer) -> None:
    server = make_server("[queues.local]\ngrace_s = 0.3\n")
    job = server.submit("local", {"command": STUBBORN}, timeout_s=0.5)
    server.until(job["id"], "running")
    server.note_offspring()
    ended = server.until(job["id"], "failed")
    assert ended["error"]["type"] == "timeout"
    below = {pid: child for pid, child in server._offspring.items() if child.is_running()}
    assert not [child for child in below.values() if "while :" in " ".join(child.cmdline())]


def test_cancel_answers_cancelling_for_a_running_job_and_409_for_a_final_one(make_server: MakeServer) -> None:
    server = make_server("[queues.local]\ngrace_s = 0.3\n")
    job = server.submit("local", {"command": STUBBORN})
    server.until(job["id"], "running")
    answer = server.request("POST", f"/v1/jobs/{job['id']}/cancel", {})
    assert (answer.status, answer.json["state"]) == (200, "cancelling")
    assert server.until(job["id"], "cancelled")["error"] is None
    again = server.request("POST", f"/v1/jobs/{job['id']}/cancel")
    assert again.status == 409


def test_a_job_that_fails_twice_passes_at_the_third_try(server: ServerProcess) -> None:
    script = "n=$(cat $HPCQ_JOB_DIR/n 2>/dev/null || echo 0); echo $((n+1)) > $HPCQ_JOB_DIR/n; test $HPCQ_ATTEMPT = 3"
    job = server.submit("local", {"command": script}, wait_s=20, retries={"max": 2, "backoff_s": 0.05})
    assert (job["state"], job["attempt"], job["retries_left"], job["error"]) == ("succeeded", 3, 0, None)
    attempts = server.get(f"/v1/jobs/{job['id']}/attempts")["attempts"]
    assert [attempt["state"] for attempt in attempts] == ["failed", "failed", "succeeded"]


def test_dependencies_run_in_order_and_a_failure_fails_those_that_needed_success(server: ServerProcess) -> None:
    jobs = [
        {"queue": "noop", "params": {"fail": True}, "name": "a"},
        {"queue": "noop", "params": {}, "name": "b", "depends_on": [{"index": 0}]},
        {"queue": "noop", "params": {}, "name": "c", "depends_on": [{"index": 0, "on": "failure"}]},
        {"queue": "noop", "params": {}, "name": "d", "depends_on": [{"index": 1, "on": "any"}, {"index": 2}]},
    ]
    ids = server.request("POST", "/v1/jobs", jobs).json["ids"]
    ended = [server.job(id_, wait_s=20) for id_ in ids]
    assert [job["state"] for job in ended] == ["failed", "failed", "succeeded", "succeeded"]
    assert ended[1]["error"]["type"] == "dependency"
    assert ended[1]["attempt"] == 0


def test_a_matrix_job_takes_the_product_of_an_earlier_one(server: ServerProcess) -> None:
    first = server.submit("compute", {"operation": "matmul", "size": 8, "seed": 1})
    second = server.submit("compute", {"operation": "det", "a": {"job": first["id"]}})
    assert second["depends_on"][0]["job"] == first["id"]
    assert server.job(second["id"], wait_s=20)["state"] == "succeeded"


def test_a_critical_job_overtakes_low_ones(make_server: MakeServer) -> None:
    server = make_server("[queues.noop]\nslots = 1\n")
    server.request("PATCH", "/v1/queues/noop", {"paused": True})
    low = [server.submit("noop", {}, priority="low")["id"] for _ in range(3)]
    critical = server.submit("noop", {}, priority="critical")["id"]
    assert server.get(f"/v1/jobs/{low[0]}/explain")["reasons"][0]["code"] == "paused"
    server.request("PATCH", "/v1/queues/noop", {"paused": False})
    for id_ in [*low, critical]:
        server.job(id_, wait_s=20)
    events = server.get(f"/v1/jobs/{critical}/events")["events"]
    started = {e["job"]: e["seq"] for id_ in low for e in server.get(f"/v1/jobs/{id_}/events")["events"]}
    assert max(event["seq"] for event in events if event["type"] == "job.started") < min(started.values())


def test_batches_keep_a_session_for_three_and_then_take_the_other_key(make_server: MakeServer) -> None:
    server = make_server("[queues.noop]\nslots = 1\n")
    server.request("PATCH", "/v1/queues/noop", {"paused": True})
    keys = ["a", "a", "b", "a", "a", "a"]
    ids = [server.submit("noop", {}, batch_key=key)["id"] for key in keys]
    server.request("PATCH", "/v1/queues/noop", {"paused": False})
    started = [(server.job(id_, wait_s=20)["started_at"], key) for id_, key in zip(ids, keys, strict=True)]
    seqs = []
    for id_, key in zip(ids, keys, strict=True):
        events = server.get(f"/v1/jobs/{id_}/events")["events"]
        seqs.append((next(event["seq"] for event in events if event["type"] == "job.started"), key))
    assert "".join(key for _, key in sorted(seqs)) == "aaabaa", started


def test_scaling_is_kept_over_a_restart_and_null_goes_back_to_the_file(make_server: MakeServer) -> None:
    server = make_server("[queues.noop]\nslots = 2\n")
    changed = server.request("PATCH", "/v1/queues/noop", {"slots": 3}).json
    assert (changed["slots"], changed["file_slots"]) == (3, 2)
    server.kill()
    server.start()
    assert server.get("/v1/queues/noop")["slots"] == 3
    assert server.request("PATCH", "/v1/queues/noop", {"slots": None}).json["slots"] == 2


def test_a_silent_job_loses_its_lease_and_is_requeued(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server("[queues.local]\nlease_s = 1\ngrace_s = 0.2\n")
    flag = tmp_path / "flag"
    script = f"if [ -e {flag} ]; then echo again; else touch {flag}; kill -STOP $$; fi"
    job = server.submit("local", {"command": script})
    ended = server.job(job["id"], wait_s=30)
    assert (ended["state"], ended["attempt"]) == ("succeeded", 2)


def test_a_memory_limit_kills_the_tree_with_oom(server: ServerProcess) -> None:
    script = "import time; b = bytearray(300 << 20); b[::4096] = b'x' * len(b[::4096]); time.sleep(1000)"
    job = server.submit("local", {"command": ["python3", "-c", script]}, resources={"memory_mb": 100})
    ended = server.job(job["id"], wait_s=30)
    assert (ended["state"], ended["error"]["type"]) == ("failed", "oom"), ended


def test_one_list_item_of_a_resource_goes_to_one_job_at_a_time(make_server: MakeServer) -> None:
    server = make_server('[resources]\ngpu = ["0", "1"]\n[queues.local]\nslots = 4\n')
    jobs = [server.submit("local", {"command": "echo $CUDA_VISIBLE_DEVICES; sleep 0.2"}, resources={"gpu": 1})]
    jobs += [server.submit("local", {"command": "echo $HPCQ_RESOURCE_GPU"}, resources={"gpu": 1}) for _ in range(3)]
    outputs = [server.output(job["id"]) for job in jobs if server.job(job["id"], wait_s=20)]
    assert outputs[0] == "0\n"
    assert set(outputs) <= {"0\n", "1\n"}
    refused = server.request(
        "POST", "/v1/jobs", {"queue": "local", "params": {"command": "x"}, "resources": {"gpu": 3}}
    )
    assert (refused.status, refused.json["errors"][0]["pointer"]) == (422, "/resources/gpu")


def test_a_delayed_job_waits_and_an_expired_one_fails(server: ServerProcess) -> None:
    delayed = server.submit("noop", {}, delay_s=0.5)
    assert delayed["state"] == "delayed"
    assert server.job(delayed["id"], wait_s=20)["state"] == "succeeded"
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 1))
    late = server.submit("noop", {}, delay_s=1000, expires_at=soon)
    ended = server.job(late["id"], wait_s=20)
    assert (ended["state"], ended["error"]["type"], ended["attempt"]) == ("failed", "expired", 0)


def test_actions_cancel_retry_and_patch_all_that_a_filter_finds(server: ServerProcess) -> None:
    server.request("PATCH", "/v1/queues/noop", {"paused": True})
    for number in range(5):
        server.submit("noop", {}, tags={"pr": str(number % 2)})
    act = {"action": "cancel", "filter": {"tag": "pr:0"}}
    assert server.request("POST", "/v1/jobs/actions", act).json == {"count": 3}
    patch = {"action": "patch", "filter": {"state": "queued"}, "patch": {"priority": "high"}}
    assert server.request("POST", "/v1/jobs/actions", patch).json == {"count": 2}
    retry = {"action": "retry", "filter": {"tag": "pr:0"}}
    assert server.request("POST", "/v1/jobs/actions", retry).json == {"count": 3}
    server.request("PATCH", "/v1/queues/noop", {"paused": False})
    summary = server.get("/v1/jobs/summary?wait=20")
    assert summary == {"counts": {"succeeded": 5}, "total": 5, "final": True}


def test_progress_is_seen_while_a_job_runs(server: ServerProcess) -> None:
    script = """echo '{"done": 1, "total": 2, "message": "half"}' >> $HPCQ_PROGRESS; sleep 1000"""
    job = server.submit("local", {"command": script})
    wait_until_blocking(lambda: server.job(job["id"])["progress"], what="progress")
    assert server.job(job["id"])["progress"] == {"done": 1, "total": 2, "message": "half"}
    server.request("POST", f"/v1/jobs/{job['id']}/cancel")


def test_rehearsal_runs_every_queue_on_noop_and_checks_params_as_the_runner_would(make_server: MakeServer) -> None:
    server = make_server(arguments=["--rehearse"])
    job = server.submit("local", {"command": "exit 1"}, wait_s=20)
    assert job["state"] == "succeeded"
    assert server.request("POST", "/v1/jobs", {"queue": "local", "params": {"comand": "x"}}).status == 422


def test_an_address_that_others_can_reach_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="needs tokens"):
        ServerProcess(tmp_path, '[server]\nhost = "0.0.0.0"\n').start()


def test_claims_ahead_are_taken_back_for_something_more_urgent(make_server: MakeServer) -> None:
    server = make_server("[queues.compute]\nslots = 1\n")
    short = {"operation": "square_sum", "data": [1, 2, 3]}
    for _ in range(20):  # the queue learns that its work is short
        server.submit("compute", short, wait_s=30)
    server.request("PATCH", "/v1/queues/compute", {"paused": True})
    slow = server.submit("compute", {"operation": "svd", "size": 1000})
    low = [server.submit("compute", short)["id"] for _ in range(8)]
    server.request("PATCH", "/v1/queues/compute", {"paused": False})
    server.until(slow["id"], "running")
    assert server.get(f"/v1/jobs/{low[0]}")["state"] == "starting", "it is claimed behind the slow one"
    urgent = server.submit("compute", short, priority="critical")
    ended = [server.job(id_, wait_s=30) for id_ in (*low, urgent["id"])]
    assert {job["state"] for job in ended} == {"succeeded"}
    assert {job["attempt"] for job in ended} == {1}, "a claim that was taken back does not count"
    events = server.get("/v1/jobs/" + urgent["id"] + "/events")["events"]
    urgent_at = next(event["seq"] for event in events if event["type"] == "job.started")
    others = [e["seq"] for id_ in low for e in server.get(f"/v1/jobs/{id_}/events")["events"]]
    assert sum(seq < urgent_at for seq in others if seq > events[0]["seq"]) <= 4, "at most two had begun before it"
