"""What AppWright lacks on the machine: said beforehand, and by the tests that fail for it."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from hpcq.plugin import Failure, Outcome, TestCase
from hpcq_runners.adb import appium
from hpcq_runners.adb.settings import AdbSettings

NO_DRIVER = """Error: Failed to create session.
An unknown server-side error occurred while processing the command. Original error: Could not find a driver for
automationName 'uiautomator2' and platformName 'android'.""".replace("\nautomationName", " automationName")
NO_TOOLS = "Error: Error reading /sdk/build-tools. Ensure it exists or download from Android Studio"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of AppWright, on a machine that has all it needs."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "appwright.config.ts").touch()
    tool = tmp_path / "sdk" / "build-tools" / "34.0.0" / "aapt"
    tool.parent.mkdir(parents=True)
    tool.touch()
    (tmp_path / "appium" / "node_modules" / appium.DRIVER).mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("APPIUM_HOME", str(tmp_path / "appium"))
    monkeypatch.setenv("ANDROID_HOME", str(tmp_path / "sdk"))
    monkeypatch.setenv("JAVA_HOME", "/usr")
    return folder


def settings(shop: Path, **more: Any) -> AdbSettings:
    return AdbSettings.model_validate({"avds": ["Pixel_7"], "project_dir": str(shop), **more})


def test_a_machine_that_has_all_lacks_nothing(shop: Path) -> None:
    assert appium.lacking(settings(shop)) == ""


@pytest.mark.parametrize("name", ["APPIUM_HOME", "ANDROID_HOME", "JAVA_HOME"])
def test_what_is_missing_is_said(shop: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv(name)
    what = {"APPIUM_HOME": "appium driver install", "ANDROID_HOME": "sdkmanager", "JAVA_HOME": "JAVA_HOME"}
    assert what[name] in appium.lacking(settings(shop))


def test_what_the_queues_config_says_counts_as_well(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = {name: os.environ[name] for name in ("APPIUM_HOME", "ANDROID_HOME", "JAVA_HOME")}
    for name in said:
        monkeypatch.delenv(name)
    assert appium.lacking(settings(shop))
    assert appium.lacking(settings(shop, env=said)) == ""


def test_plain_playwright_needs_no_appium(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (shop / "appwright.config.ts").rename(shop / "playwright.config.ts")
    monkeypatch.delenv("APPIUM_HOME")
    assert appium.lacking(settings(shop)) == ""


def test_appiums_home_is_the_project_that_depends_on_it_or_the_users(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("APPIUM_HOME")
    for text in ("", "[]", '{"dependencies": null}', json.dumps({"dependencies": {"appwright": "0.1.1"}})):
        (shop / "package.json").write_text(text)
        assert appium.appium_home(shop, {}) == shop.parent / "home" / ".appium"
    (shop / "package.json").write_text(json.dumps({"devDependencies": {"appium": "^2.6.0"}}))
    assert appium.appium_home(shop / "packages" / "mobile", {}) == shop


@pytest.mark.parametrize(("said", "mended_by"), [(NO_DRIVER, "npx appium driver install"), (NO_TOOLS, "sdkmanager")])
def test_a_test_that_failed_for_want_of_it_is_not_to_blame(said: str, mended_by: str) -> None:
    spoilt = TestCase("1", "a", "a.spec.ts", 1, "failed", 1.0, 0, said)
    own = TestCase("2", "b", "a.spec.ts", 2, "failed", 1.0, 0, "Error: expected 1")
    outcome = appium.blamed(Outcome(error=Failure("exit", "2 of 2 tests failed", exit_code=1), tests=(spoilt, own)))
    assert outcome.error is not None
    assert outcome.error.type == "infra"
    assert mended_by in outcome.error.message
    assert outcome.tests == (own,)


def test_what_a_test_has_found_stays(shop: Path) -> None:
    own = TestCase("2", "b", "a.spec.ts", 2, "failed", 1.0, 0, "Error: expected 1")
    outcome = Outcome(error=Failure("exit", "1 of 1 tests failed", exit_code=1), tests=(own,))
    assert appium.blamed(outcome) is outcome
