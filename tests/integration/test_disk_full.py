"""A full disk is a definite no: nothing that was acknowledged is lost, reads answer, and it mends itself."""

from pathlib import Path

from tests.support.server import ServerProcess
from tests.support.wait import wait_until_blocking


def _ballast(server: ServerProcess) -> Path:
    """Its folder as the server sees it."""
    return Path(f"/proc/{server.pid}/root{server.data_dir}/ballast")


def _fill(server: ServerProcess) -> None:
    with _ballast(server).open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            return


def _submit(server: ServerProcess, text: str) -> int:
    return server.request("POST", "/v1/jobs", {"queue": "noop", "params": {"message": text}}).status


def test_a_full_disk_refuses_submits_serves_reads_and_mends_itself(small: ServerProcess) -> None:
    kept = small.submit("noop", {"message": "kept"}, wait_s=10)
    running = small.submit("noop", {"duration_s": 1})
    small.until(running["id"], "running")
    _fill(small)
    statuses = [201]
    wait_until_blocking(lambda: statuses.append(_submit(small, "x" * 900)) or statuses[-1] == 507, 30, "a refusal")  # type: ignore[func-returns-value]
    assert set(statuses) == {201, 507}
    accepted = statuses.count(201) - 1
    assert small.job(kept["id"])["result"] == {"message": "kept"}
    assert small.request("GET", "/health").status == 503
    _ballast(small).unlink()
    wait_until_blocking(lambda: _submit(small, "again") == 201, 30, "submits to work again")
    ended = small.job(running["id"], wait_s=20)
    said = "what a runner said while the disk was full is not lost"
    assert (ended["state"], ended["attempt"]) == ("succeeded", 1), said
    summary = small.get("/v1/jobs/summary?wait=20")
    assert summary == {"counts": {"succeeded": accepted + 3}, "total": accepted + 3, "final": True}
