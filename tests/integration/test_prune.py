"""Pruning on request: what retention does not keep goes, what it keeps stays."""

from tests.integration.conftest import MakeServer


def test_old_jobs_go_with_their_files_and_a_dry_run_only_counts(make_server: MakeServer) -> None:
    server = make_server("[retention]\njobs_days = 0\n")
    old = [server.submit("local", {"command": "echo x"}, wait_s=20) for _ in range(3)]
    waiting = server.submit("noop", {}, delay_s=1000, depends_on=[old[2]["id"]])
    newest = server.submit("noop", {"message": "the newest job stays, for its number"}, wait_s=20)
    dry = server.request("POST", "/v1/prune", {"dry_run": True}).json
    assert dry["jobs"] == 2, "one is still needed by a waiting job"
    assert server.get("/v1/jobs/summary")["total"] == 5
    assert server.request("POST", "/v1/prune", {}).json["jobs"] == 2
    left = {job["id"] for job in server.get("/v1/jobs")["jobs"]}
    assert left == {old[2]["id"], waiting["id"], newest["id"]}
    assert not (server.data_dir / "jobs" / old[0]["id"][-2:] / old[0]["id"]).exists()
