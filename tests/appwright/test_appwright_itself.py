"""AppWright itself: off by default, run by `tox -e appwright`. No device is needed for tests that use none."""

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hpcq.engine.launcher import Launcher
from hpcq_runners.appwright.run import Target
from tests.support.playwright import VERSION, installed
from tests.support.testruns import House, verdicts

pytestmark = pytest.mark.appwright

CONFIG = """
import { defineConfig, Platform } from "appwright";
export default defineConfig({
  projects: [{ name: "android", use: {
    platform: Platform.ANDROID, device: { provider: "local-device" }, buildPath: "old.apk" } }],
});
"""
SPEC = """
import { test, expect } from "appwright";
import fs from "fs";
test("meets the other", async ({}, info) => {
  fs.writeFileSync(process.env.MINE!, "");
  while (!fs.existsSync(process.env.OTHER!)) await new Promise((r) => setTimeout(r, 20));
  const use = info.project.use as any;
  await info.attach("use", { body: JSON.stringify([use.buildPath, use.device.udid]) });
});
test("fails", async () => { expect(1).toBe(2); });
"""


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    launcher = await Launcher.open()
    (tmp_path / "queue").mkdir()
    yield House(tmp_path / "queue", launcher)
    await launcher.close()


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """An AppWright project."""
    folder = tmp_path / "shop"
    (folder / "tests").mkdir(parents=True)
    modules = installed("appwright-0.1.1", "appwright@0.1.1", f"@playwright/test@{VERSION}")
    (folder / "node_modules").symlink_to(modules)
    (folder / "appwright.config.ts").write_text(CONFIG)
    (folder / "tests" / "one.spec.ts").write_text(SPEC)
    return folder


@pytest.mark.parametrize("named", [True, False], ids=["by name", "the only project"])
async def test_a_project_runs_twice_at_once_each_with_its_own_build(
    house: House, shop: Path, tmp_path: Path, named: bool
) -> None:
    a, b = str(tmp_path / "a"), str(tmp_path / "b")

    async def run(job: str, mine: str, other: str) -> dict[str, str]:
        build = tmp_path / f"{job}.apk"
        build.write_text("an app")
        env = {"MINE": mine, "OTHER": other, "ANDROID_HOME": str(tmp_path)}
        params = {"test_path": "tests/one.spec.ts", "cwd": str(shop), "env": env}
        request = house.request({**params, **({"project": "android"} if named else {})}, job)
        target = Target(device={"provider": "local-device", "udid": job}, build=str(build))
        outcome = await (await house.start(request, target)).outcome
        assert outcome.error, request.output.read_text()
        assert outcome.error.message == "1 of 2 tests failed", (outcome.error, request.output.read_text())
        report = json.loads((request.artifacts_dir / "attempt-1" / "report.json").read_text())
        (result,) = next(spec for spec in report["suites"][0]["specs"] if spec["ok"])["tests"][0]["results"]
        (use,) = result["attachments"]
        assert json.loads(base64.b64decode(use["body"])) == [str(build), job]
        return verdicts(outcome)

    before = sorted(os.listdir(shop))
    found = await asyncio.gather(run("one", a, b), run("two", b, a))
    assert list(found) == [{"meets the other": "passed", "fails": "failed"}] * 2
    assert sorted(os.listdir(shop)) == before


async def test_a_setup_without_its_tools_is_infra(house: House, shop: Path, tmp_path: Path) -> None:
    (tmp_path / "app.apk").write_text("an app")
    request = house.request({"test_path": "tests", "cwd": str(shop), "app": str(tmp_path / "app.apk")})
    outcome = await (await house.start(request)).outcome
    assert outcome.error
    assert (outcome.error.type, "ANDROID_HOME" in outcome.error.message) == ("infra", True)


async def test_a_build_that_is_not_there_is_the_projects_mistake(house: House, shop: Path) -> None:
    outcome = await house.run({"test_path": "tests", "cwd": str(shop), "env": {"ANDROID_HOME": "/"}})
    assert outcome.error
    assert outcome.error.type == "exit"
    assert "old.apk" in outcome.error.message
