"""Schedules over real HTTP, through kill -9 and restart."""

import asyncio
import time
from typing import Any

from hpcq.store.rows import Round
from hpcq.store.writer import Writer
from tests.support.server import ServerProcess
from tests.support.wait import wait_until_blocking

NOOP = {"queue": "noop", "params": {}}
HOURLY = {"name": "hourly", "cron": "@hourly", "timezone": "Europe/Berlin", "job": NOOP, "catch_up": "one"}


def made(server: ServerProcess, **change: Any) -> dict[str, Any]:
    answer = server.request("POST", "/v1/schedules", {**HOURLY, **change})
    assert answer.status == 201, answer.body
    schedule: dict[str, Any] = answer.json
    assert answer.headers["Location"] == f"/v1/schedules/{schedule['id']}"
    return schedule


def jobs_of(server: ServerProcess, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = server.get(f"/v1/jobs?tag=schedule:{name}")["jobs"]
    return found


def miss(server: ServerProcess, seconds: float) -> None:
    """While the server is down, let all its schedules have come due so many seconds ago."""

    async def write() -> None:
        writer = await Writer.open(server.data_dir / "hpcq.db")
        rows = [row._replace(next_run_at=time.time() - seconds) for row in await writer.schedules()]
        await writer.commit(Round(at=time.time(), schedules=[*rows]))
        await writer.close()

    asyncio.run(write())


def test_a_schedule_is_made_shown_changed_run_and_removed(server: ServerProcess) -> None:
    schedule = made(server)
    path = f"/v1/schedules/{schedule['id']}"
    assert server.get("/v1/schedules")["schedules"] == [schedule]
    paused = server.request("PATCH", path, {"paused": True})
    assert (paused.status, paused.json["next_run_at"]) == (200, None)
    run = server.request("POST", f"{path}/run")
    assert run.status == 201, run.body
    assert [server.job(id_, wait_s=20)["state"] for id_ in run.json["ids"]] == ["succeeded"]
    last = server.get(path)["last_runs"]
    assert [(one["outcome"], one["ids"]) for one in last] == [("fired", run.json["ids"])]
    assert server.request("DELETE", path).status == 204
    assert server.request("GET", path).status == 404
    assert len(jobs_of(server, "hourly")) == 1


def test_a_wrong_schedule_is_refused_with_every_place(server: ServerProcess) -> None:
    job = {"queue": "noop", "params": {"duration_s": -1}}
    answer = server.request("POST", "/v1/schedules", {**HOURLY, "cron": "0 0 30 2 *", "timezone": "Moon", "job": job})
    assert answer.status == 422
    assert {error["pointer"] for error in answer.json["errors"]} == {"/cron", "/timezone", "/job/params/duration_s"}
    made(server)
    assert server.request("POST", "/v1/schedules", HOURLY).status == 409


def test_what_was_missed_while_it_was_down_fires_once_over_kill_9(server: ServerProcess) -> None:
    schedule = made(server)
    server.kill()
    miss(server, seconds=3600)
    server.start()
    jobs = wait_until_blocking(lambda: jobs_of(server, "hourly"), 20.0, "the schedule to fire")
    assert server.job(jobs[0]["id"], wait_s=20)["state"] == "succeeded"
    server.kill()
    server.start()
    assert len(jobs_of(server, "hourly")) == 1
    runs = server.get(f"/v1/schedules/{schedule['id']}")["last_runs"]
    assert [(run["outcome"], run["ids"]) for run in runs] == [("fired", [jobs[0]["id"]])]
    events = [event["type"] for event in server.get(f"/v1/jobs/{jobs[0]['id']}/events")["events"]]
    assert events[0] == "job.submitted"
