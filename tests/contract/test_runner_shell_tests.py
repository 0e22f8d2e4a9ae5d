"""The shell runner takes the exam with tests instead of commands."""

from pathlib import Path

import pytest

from hpcq.plugin.testing import RunnerContract
from hpcq_runners.shell import ShellRunner
from tests.support.playwright import project

LASTS = 'test("lasts", async () => { test.setTimeout(0); await new Promise(() => {}); });'


@pytest.fixture(scope="module", autouse=True)
def shop(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The project whose tests the exam runs."""
    folder = project(
        tmp_path_factory.mktemp("exam") / "shop",
        good='test("works", async () => {});',
        bad='test("breaks", async () => { expect(1).toBe(2); });',
        long=LASTS,
    )
    TestShellWithTests.settings = {"project_dir": folder}


class TestShellWithTests(RunnerContract):
    runner = ShellRunner
    settings = {"project_dir": Path("/")}
    succeeds = {"test_path": "tests/good.spec.js", "app_version_id": "1.2"}
    fails = {"test_path": "tests/bad.spec.js"}
    lasts = {"test_path": "tests/long.spec.js"}
    fails_with = "exit"
    prints = b"1 passed"
    leaves = (
        "attempt-1/blob-report/report-job-1-1.zip",
        "attempt-1/junit.xml",
        "attempt-1/report.json",
    )
    reports = True
    grace_s = 10.0
