"""docs/appwright.md and the workflow work as they stand."""

from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from tests.integration.conftest import MakeServer
from tests.support import guide, playwright
from tests.support.guide import config, follow, read_the_guide
from tests.support.sources import ROOT

STAND_IN = """\
const { test, expect } = require("@playwright/test");
module.exports = {
  test: test.extend({ device: async ({}, use) => use({}) }),
  expect,
  defineConfig: (config) => config,
  Platform: { ANDROID: "android", IOS: "ios" },
};
"""


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    """A node_modules with Playwright itself, and as much of AppWright as tests without a device use."""
    modules = tmp_path / "installed" / "node_modules"
    (modules / "appwright").mkdir(parents=True)
    (modules / "appwright" / "index.js").write_text(STAND_IN)
    for path in playwright.playwright().iterdir():
        (modules / path.name).symlink_to(path)
    return modules


def test_the_guide_leads_from_an_empty_project_to_green(
    make_server: MakeServer, stand_in: Path, tmp_path: Path
) -> None:
    read_the_guide(make_server(config(), env=guide.stand_in(tmp_path, stand_in)), stand_in, tmp_path)


def test_the_workflow_s_command_runs_as_it_stands(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server(f'[queues.local]\nslots = 1\nnode_modules = "{playwright.playwright()}"\n')
    workflow = yaml.safe_load((ROOT / "config" / "github-actions" / "appwright.yml").read_text(encoding="utf-8"))
    (step,) = [step for step in workflow["jobs"]["tests"]["steps"] if step.get("name") == "Test"]
    folder = playwright.project(tmp_path / "checkout", good='test("passes", async () => {});')
    (folder / "app.apk").write_bytes(b"a build")
    ours = {"QUEUE": "local", "APP": "app.apk", "PR": "12", "CI": "true"}
    env = {name: str(value) for name, value in workflow["env"].items() if "${{" not in str(value)} | ours
    github = {"GITHUB_SHA": "0123456789abcdef", "GITHUB_RUN_ID": "1", "GITHUB_RUN_ATTEMPT": "1"}
    follow(server, playwright.playwright(), folder, step["run"], **env, **github)
    assert {path.name for path in (folder / "appwright").iterdir()} == {
        "artifacts", "report", "junit.xml", "results.json",
    }  # fmt: skip
    (job,) = server.get("/v1/jobs?tag=ci:1-1")["jobs"]
    assert job["tags"]["pr"] == "12"
    assert '\n  "exit_code": 0,\n' in (folder / "appwright" / "results.json").read_text(), "as the workflow greps it"
