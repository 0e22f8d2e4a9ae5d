"""Uploaded projects on a device farm: each attempt has a folder of its own, and nothing of it stays."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hpcq.plugin.testing_stage import Stage
from hpcq_runners.device_farm.runner import DeviceFarmRunner
from tests.integration.conftest import MakeServer
from tests.support.fake_farm.farm import FakeFarm
from tests.support.playwright import packed, playwright, project
from tests.support.server import ServerProcess
from tests.support.wait import wait_until_blocking

LONG_S = 90.0  # Playwright's start on a busy machine
SHA256 = "0123456789abcdef" * 4
# Says where it runs, and leaves a trace there.
ALONE = """const fs = require("fs");
test.beforeAll(() => {
  fs.writeFileSync(`${process.env.HPCQ_ARTIFACTS}/folder-${process.env.HPCQ_ATTEMPT}`, process.cwd());
});
test("is alone", async () => {
  expect(fs.existsSync("trace")).toBe(false);
  fs.writeFileSync("trace", "");
});"""
# Each runs until all of them do.
TOGETHER = """test("is not the only one", async () => {
  const { MEETING, HPCQ_JOB_ID } = process.env;
  fs.writeFileSync(`${MEETING}/${HPCQ_JOB_ID}`, "");
  await expect.poll(() => fs.readdirSync(MEETING).length, { timeout: 60000 }).toBe(2);
});"""
ONCE = 'test("breaks once", async () => { expect(process.env.HPCQ_ATTEMPT).toBe("2"); });'


@pytest.fixture
def server(make_server: MakeServer, farm: FakeFarm) -> ServerProcess:
    table = {"node_modules": str(playwright()), **farm.settings}
    lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in table.items())
    return make_server(f"[queues.device_farm]\n{lines}", env=farm.env)


def folders(server: ServerProcess, job: dict[str, Any]) -> list[Path]:
    """Where the attempts of a job ran."""
    names = sorted(each["name"] for each in job["artifacts"] if each["name"].startswith("folder-"))
    return [Path(server.request("GET", f"/v1/jobs/{job['id']}/artifacts/{name}").body.decode()) for name in names]


def final(server: ServerProcess, job_id: str) -> dict[str, Any]:
    return server.until(job_id, "succeeded", "failed", "cancelled", timeout_s=LONG_S)


def test_two_jobs_of_one_uploaded_project_run_at_once_each_in_a_folder_of_its_own(
    server: ServerProcess, farm: FakeFarm, tmp_path: Path
) -> None:
    folder, meeting = project(tmp_path / "shop", one=ALONE + TOGETHER), tmp_path / "meeting"
    (folder / "app.apk").write_bytes(b"a build")
    meeting.mkdir()
    params = {"test_path": "tests", "cwd": server.upload(packed(folder)), "app": "app.apk"}
    env = {"MEETING": str(meeting)}
    ids = [server.submit("device_farm", {**params, "env": env})["id"] for _ in range(2)]
    jobs = [final(server, job_id) for job_id in ids]
    assert [job["state"] for job in jobs] == ["succeeded", "succeeded"], [server.output(job_id) for job_id in ids]
    places = [place for job in jobs for place in folders(server, job)]
    assert len(set(places)) == 2
    assert all(place.is_relative_to(server.data_dir) for place in places)
    wait_until_blocking(lambda: not any(place.exists() for place in places), 10, "the folders to be removed")
    assert not copies(server)
    assert [upload.name for upload in farm.uploads] == ["app.apk"], "the build lies in the project, and is but one"


def test_a_retry_runs_what_failed_in_a_folder_of_its_own(server: ServerProcess, tmp_path: Path) -> None:
    folder = project(tmp_path / "shop", one=ALONE + ONCE)
    params = {"test_path": "tests/one.spec.js", "cwd": server.upload(packed(folder))}
    job = final(server, server.submit("device_farm", params, retries={"max": 1, "backoff_s": 0})["id"])
    assert (job["state"], job["attempt"]) == ("succeeded", 2), server.output(job["id"])
    first, second = server.get(f"/v1/jobs/{job['id']}/attempts")["attempts"]
    assert {test["title"]: test["status"] for test in first["result"]["tests"]} == {
        "is alone": "passed",
        "breaks once": "failed",
    }
    assert [test["title"] for test in second["result"]["tests"]] == ["breaks once"]
    places = folders(server, job)
    assert len(set(places)) == 2
    wait_until_blocking(lambda: not any(place.exists() for place in places), 10, "the folders to be removed")


def copies(server: ServerProcess) -> list[str]:
    """The specs of unpacked projects; folders may vanish meanwhile, which `rglob` does not bear."""
    return [name for _, _, names in os.walk(server.data_dir) for name in names if name.endswith(".spec.js")]


def test_an_uploaded_project_is_split(server: ServerProcess, tmp_path: Path) -> None:
    folder = project(tmp_path / "shop", one=ALONE, two=ALONE)
    params = {"test_path": "tests", "cwd": server.upload(packed(folder)), "split": "file"}
    answer = server.request("POST", "/v1/jobs", {"queue": "device_farm", "params": params})
    assert answer.status == 201, answer.body
    jobs = [final(server, job_id) for job_id in answer.json["ids"]]
    assert [job["state"] for job in jobs] == ["succeeded", "succeeded"]
    assert {job["params"]["test_path"] for job in jobs} == {"tests/one.spec.js", "tests/two.spec.js"}
    wait_until_blocking(lambda: not copies(server), 10, "all copies to be removed")


@pytest.fixture
async def stage(tmp_path: Path, farm: FakeFarm, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    for name, value in farm.env.items():
        monkeypatch.setenv(name, value)
    stage = Stage(tmp_path / "root", DeviceFarmRunner, farm.settings, {SHA256: tmp_path / "endless"})
    await stage.open()
    yield stage
    await stage.close()


async def test_a_start_does_not_wait_for_the_unpacking_which_a_stop_ends(
    stage: Stage, farm: FakeFarm, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "endless")
    request = stage.request({"test_path": "tests", "cwd": {"blob": SHA256}})
    handle = await asyncio.wait_for(stage.start(request), 10)
    waiting = asyncio.ensure_future(stage.wait(request, handle, 30))
    writer = await asyncio.wait_for(asyncio.to_thread((tmp_path / "endless").open, "wb"), 20)  # the child reads it
    assert not waiting.done()
    await stage.stop(request, handle, 5.0)
    outcome = await waiting
    writer.close()
    assert outcome.error
    assert (outcome.error.type, outcome.error.message) == ("signal", "stopped")
    assert not farm.sessions
    assert not list(request.folder.rglob("upload-*"))
