"""AppWright itself on the farm of the tests: not one line of it is changed."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import playwright
from tests.support.fake_farm.farm import FakeFarm
from tests.support.server import ServerProcess

LONG_S = 240.0
CONFIG = """\
import { defineConfig, Platform } from "appwright";
const device = { provider: "browserstack", name: "Google Pixel 8", osVersion: "14.0" } as const;
export default defineConfig({
  projects: [{ name: "android-bs", use: { platform: Platform.ANDROID, device, buildPath: "nothing.apk" } }],
});
"""
SPEC = """\
import { test, expect } from "appwright";
test("shows the login", async ({ device }) => { await expect(device.getByText("Login")).toBeVisible(); });
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    (folder / "tests").mkdir(parents=True)
    modules = playwright.installed("appwright-0.1.1", "appwright@0.1.1", f"@playwright/test@{playwright.VERSION}")
    (folder / "node_modules").symlink_to(modules)
    (folder / "appwright.config.ts").write_text(CONFIG)
    (folder / "tests" / "login.spec.ts").write_text(SPEC)
    return folder


@pytest.fixture
def server(tmp_path: Path, farm: FakeFarm, checkout: Path) -> Iterator[ServerProcess]:
    table = {"project_dir": str(checkout), **farm.settings}
    lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in table.items())
    server = ServerProcess(tmp_path, f"[queues.device_farm]\n{lines}", env=farm.env).start()
    yield server
    server.close()


@pytest.mark.appwright
def test_appwright_runs_twice_at_once_with_one_upload(server: ServerProcess, farm: FakeFarm, checkout: Path) -> None:
    app = checkout / "app.apk"
    app.write_bytes(b"a build")
    params = {"test_path": "tests/login.spec.ts", "app": str(app), "project": "android-bs"}
    jobs = [server.submit("device_farm", params) for _ in range(2)]
    ended = [server.until(job["id"], "succeeded", "failed", timeout_s=LONG_S) for job in jobs]
    assert [(job["state"], job["error"]) for job in ended] == [("succeeded", None)] * 2
    assert len(farm.uploads) == 1
    assert {session.app for session in farm.sessions.values()} == {farm.uploads[0].url}
    names = {f"{session.was_named} shows the login" for session in farm.sessions.values()}
    assert {session.name for session in farm.sessions.values()} == names
    assert len(names) == 2
    assert all(session.status == "passed" for session in farm.sessions.values())
    assert not farm.live
    assert any(artifact["name"].endswith(".mp4") for artifact in ended[0]["artifacts"]), "its videos are artifacts"
