"""The device farm runner takes the exam: with tests that run here, and with builds that the farm runs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpcq.plugin.testing import RunnerContract
from hpcq_runners.device_farm.runner import DeviceFarmRunner
from tests.support.fake_farm import project
from tests.support.fake_farm.farm import FakeFarm


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a project, a build and a test suite."""
    folder = tmp_path_factory.mktemp("farm")
    project.make(folder / "project")
    (folder / "app.apk").write_bytes(b"a build")
    (folder / "suite.apk").write_bytes(b"a suite")
    return folder


@pytest.fixture
def farm(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeFarm]:
    with FakeFarm() as farm:
        for name, value in farm.env.items():
            monkeypatch.setenv(name, value)
        yield farm


class TestTestsOnAFarm(RunnerContract):
    runner = DeviceFarmRunner
    fails_with = "exit"
    prints = b"1 passed"
    limit_s = 90.0
    grace_s = 5.0
    leaves = ("attempt-1/blob-report/report-job-1-1.zip", "attempt-1/junit.xml", "attempt-1/report.json")

    @pytest.fixture(autouse=True)
    def _around(self, farm: FakeFarm, place: Path) -> Iterator[None]:
        self.settings = {**farm.settings, "project_dir": str(place / "project")}
        app = {"app": str(place / "app.apk")}
        self.succeeds: dict[str, Any] = {"test_path": "tests/login.spec.js", **app}
        self.fails = {"test_path": "tests/missing.spec.js", **app}
        self.lasts = {"test_path": "tests/lasts.spec.js", **app}
        yield
        assert not [session for session in farm.live if session.name], "a session was left open"


class TestBuildsOnAFarm(RunnerContract):
    runner = DeviceFarmRunner
    fails_with = "exit"
    reports = True

    @pytest.fixture(autouse=True)
    def _around(self, farm: FakeFarm, place: Path) -> Iterator[None]:
        self.settings = {**farm.settings, "poll_s": 0.02}
        build = {"kind": "farm_build", "framework": "espresso"}
        build |= {"app": str(place / "app.apk"), "test_suite": str(place / "suite.apk")}
        self.succeeds: dict[str, Any] = {**build, "devices": ["Passes-14.0"]}
        self.fails = {**build, "devices": ["Fails-14.0"]}
        self.lasts = {**build, "devices": ["Lasts-14.0"]}
        yield
        assert not [each for each in farm.builds.values() if each.status == "running"], "a build was left running"
