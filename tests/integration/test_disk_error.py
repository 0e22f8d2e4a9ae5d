"""A write that fails at COMMIT leaves the outcome unknown: the server says so, stops with 74, and recovers."""

import resource

from tests.support.server import ServerProcess


def test_an_io_error_at_commit_is_unknown_stops_the_server_and_is_recovered_from(server: ServerProcess) -> None:
    kept = server.submit("noop", {"message": "kept"}, wait_s=10)
    log_bytes = (server.data_dir / "hpcq.db-wal").stat().st_size
    server.note_offspring()
    # A file may not grow any more: write() fails with EFBIG, which SQLite reports as an I/O error.
    limit = (max(log_bytes, 4096), resource.RLIM_INFINITY)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, limit)
    params = {"operation": "square_sum", "data": [1] * 30_000}
    body = {"queue": "compute", "params": params, "idempotency_key": "once"}
    answer = server.request("POST", "/v1/jobs", body)
    assert answer.status == 503, answer.body
    assert answer.json["outcome"] == "unknown"
    assert server.wait() == 74
    server.start()
    assert server.job(kept["id"])["state"] == "succeeded"
    again = server.request("POST", "/v1/jobs", body)
    assert again.status in (200, 201), "the key decides whether it was kept"
    assert server.get("/v1/jobs/summary?wait=10") == {"counts": {"succeeded": 2}, "total": 2, "final": True}
