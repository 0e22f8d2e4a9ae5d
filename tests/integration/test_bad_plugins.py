"""A broken plugin is reported, hurts its own jobs only, and never takes the server down."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.server import ServerProcess

PLUGINS = Path(__file__).parent.parent / "support" / "plugins"
NAMES = [
    line.split(" = ")[0]
    for line in (PLUGINS / "bad-1.0.dist-info" / "entry_points.txt").read_text("utf-8").splitlines()
    if " = " in line
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    config = "".join(f'[queues.{name}]\nrunner = "{name}"\nslots = 1\ngrace_s = 0.2\n' for name in NAMES)
    server = ServerProcess(tmp_path_factory.mktemp("server"), config, env={"PYTHONPATH": str(PLUGINS)})
    yield server.start()
    server.close()


@pytest.fixture(autouse=True)
def _others_go_on(server: ServerProcess) -> Iterator[None]:
    yield
    assert server.submit("noop", {"message": "fine"}, wait_s=20)["state"] == "succeeded"


@pytest.mark.parametrize(
    ("queue", "word"),
    [
        ("unimportable", "there_is_no_such_module"),
        ("exits_on_import", "SystemExit"),
        ("wrong_version", "7.0"),
        ("no_runner", "not a subclass"),
        ("settings_exit", "no licence for"),
    ],
)
def test_a_runner_that_cannot_be_loaded_is_reported_and_its_queue_takes_no_jobs(
    server: ServerProcess, queue: str, word: str
) -> None:
    answer = server.request("POST", "/v1/jobs", {"queue": queue, "params": {}})
    assert answer.status == 503
    assert word in answer.json["detail"]
    part = server.get("/health")["parts"]["queues"][queue]
    assert part["status"] == "degraded"
    assert word in part["message"]
    runners = {runner["name"]: runner for runner in server.get("/v1/runners")["runners"]}
    assert not runners[queue]["ready"]
    assert word in runners[queue]["message"]


@pytest.mark.parametrize(
    ("queue", "word"),
    [
        ("open_raises", "no such licence server"),
        ("init_exits", "SystemExit"),
        ("slots_wrong", "labels of slot x"),
        ("health_wrong", "`message` a str"),
        ("health_cancels", "CancelledError"),
    ],
)
def test_jobs_of_a_runner_that_is_not_ready_are_taken_and_wait(server: ServerProcess, queue: str, word: str) -> None:
    job = server.submit(queue, {})
    reasons = server.get(f"/v1/jobs/{job['id']}/explain")["reasons"]
    assert reasons[0]["code"] == "runner_unavailable"
    assert word in reasons[0]["message"]
    assert word in server.get("/health")["parts"]["queues"][queue]["message"]
    runners = {runner["name"]: runner for runner in server.get("/v1/runners")["runners"]}
    assert not runners[queue]["ready"]
    assert runners[queue]["message"].startswith(f"queue {queue}: ")


@pytest.mark.parametrize(
    ("queue", "word"),
    [
        ("start_raises", "ZeroDivisionError"),
        ("start_exits", "SystemExit"),
        ("no_json", "not JSON serializable"),
        ("no_outcome", "not an Outcome"),
        ("start_cancels", "CancelledError"),
        ("pause_wrong", "overheated"),
        ("retry_text", "retry_after_s '5'"),
    ],
)
def test_a_runner_that_breaks_the_rules_fails_its_job_with_exception(
    server: ServerProcess, queue: str, word: str
) -> None:
    job = server.submit(queue, {}, wait_s=20)
    assert job["state"] == "failed"
    assert job["error"]["type"] == "exception"
    assert word in job["error"]["message"]
    assert server.submit(queue, {}, wait_s=20)["state"] == "failed"  # the slot goes on


@pytest.mark.parametrize("queue", ["wait_blocks", "stop_hangs"])
def test_a_job_of_a_runner_that_hangs_still_times_out(server: ServerProcess, queue: str) -> None:
    job = server.submit(queue, {}, timeout_s=0.2)
    ended = server.until(job["id"], "failed", timeout_s=30)
    assert ended["error"]["type"] == "timeout"


def test_a_runner_that_blocks_at_submit_is_cut_off(server: ServerProcess) -> None:
    answer = server.request("POST", "/v1/jobs", {"queue": "key_blocks", "params": {}})
    assert answer.status == 503
    assert "longer than 1 s" in answer.json["detail"]


def test_a_foreign_runner_spawns_and_reports_from_its_own_thread(server: ServerProcess) -> None:
    job = server.submit("spawns", {}, wait_s=20)
    assert job["result"] == {"code": 0}, job
    assert job["progress"]["message"] == "half"
    assert server.output(job["id"]) == "from the plugin\n"
