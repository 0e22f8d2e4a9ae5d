"""AppWright itself, with the real Appium, its real driver and the real adb, on the fake devices."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support import appium
from tests.support.fake_device.lab import Folder, Lab, lab
from tests.support.fake_device.signed_apk import make_signed_apk
from tests.support.server import ServerProcess
from tests.support.wait import wait_until_blocking

pytestmark = [pytest.mark.appwright, pytest.mark.parametrize("version", appium.versions())]

LONG_S = 240.0
MEETING = """
import fs from "fs";
test("meets the other", async ({ device }) => {
  console.log("port", process.env.HPCQ_APPIUM_PORT);
  fs.writeFileSync(process.env.MINE!, "");
  for (const begun = Date.now(); !fs.existsSync(process.env.OTHER!); await new Promise((done) => setTimeout(done, 50)))
    expect(Date.now() - begun).toBeLessThan(90_000);
  await expect(device.getByText("Login")).toBeVisible();
  await device.getByText("Login").tap();
});
test("says who it is", async ({ device }) => {
  console.log("it is", await device.getByText("I am").getText());
});
"""
FAILING = """
test("sees what is not there", async ({ device }) => {
  console.log("port", process.env.HPCQ_APPIUM_PORT);
  await expect(device.getByText("Logout")).toBeVisible({ timeout: 100 });
});
test("sees what is there", async ({ device }) => { await expect(device.getByText("Login")).toBeVisible(); });
"""
WAITING = """
test("never ends", async ({ device }) => {
  console.log("port", process.env.HPCQ_APPIUM_PORT);
  await device.getByText("Login").tap();
  WAIT
});
"""
Start = Callable[..., ServerProcess]


@pytest.fixture
def devices(tmp_path: Path) -> Iterator[Lab]:
    with lab(tmp_path / "lab") as built:
        yield built


@pytest.fixture
def start(tmp_path: Path, devices: Lab) -> Iterator[Start]:
    """Starts a server whose queue `emulator` has these settings."""
    servers: list[ServerProcess] = []

    def start(appium_home: str | None = None, **settings: Any) -> ServerProcess:
        lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in devices.settings(**settings).items())
        env = appium.appium_env(devices) | ({"APPIUM_HOME": appium_home} if appium_home else {})
        servers.append(ServerProcess(tmp_path, f"[queues.emulator]\nretries = 0\n{lines}\n", env=env))
        return servers[-1].start()

    yield start
    for server in servers:
        server.close()


def submit(server: ServerProcess, app: Path, **env: str) -> str:
    params = {"test_path": "tests/one.spec.ts", "app": str(app), "env": env}
    return str(server.submit("emulator", params)["id"])


def ended(server: ServerProcess, job: str) -> tuple[dict[str, Any], str]:
    """The job, and what it printed."""
    done = server.until(job, "succeeded", "failed", "cancelled", timeout_s=LONG_S)
    return done, server.output(job)


def attempt_of(server: ServerProcess, job: str) -> dict[str, Any]:
    """The first."""
    attempt: dict[str, Any] = server.get(f"/v1/jobs/{job}/attempts")["attempts"][0]
    return attempt


def port_of(output: str) -> str:
    found = re.search(r"^port (\d+)$", output, re.MULTILINE)
    assert found is not None, output
    return found[1]


def assert_nothing_is_left(server: ServerProcess, devices: Lab) -> None:
    """Neither a process of Node, nor a port that leads to a device."""

    def left() -> list[str]:
        found = []
        for process in psutil.Process(server.pid).children(recursive=True):
            try:
                words = process.cmdline()
            except psutil.Error:
                continue
            found += [" ".join(words)] if "node" in Path(words[0] if words else "").name or "appium" in words else []
        return found

    wait_until_blocking(lambda: not left(), 10, f"the end of {left()}")
    assert devices.adb("forward", "--list").strip() == ""


def builds_on(device: Folder, app: str = "com.example.app") -> list[str]:
    """What was done to the app's build on a device."""
    asked = [f"{line['what']} {line['package']}" for line in device.log() if line["what"] in ("clear", "uninstall")]
    return [line for line in asked if line.endswith(f" {app}")]


def test_two_jobs_at_once_have_a_device_and_an_appium_each(
    start: Start, devices: Lab, tmp_path: Path, version: str
) -> None:
    avds = {name: devices.sdk.avd(name, screen=["Login", f"I am {name}"]) for name in ("Pixel_7", "Tablet")}
    shop = appium.project(tmp_path / "shop", version, one=MEETING)
    app = make_signed_apk(tmp_path / "app.apk")
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    server = start(avds=list(avds), project_dir=str(shop))
    jobs = [submit(server, app, MINE=a, OTHER=b), submit(server, app, MINE=b, OTHER=a)]
    ports = {}
    for job in jobs:
        done, output = ended(server, job)
        assert done["state"] == "succeeded", (done, output)
        slot = attempt_of(server, job)["slot"]
        assert f"it is I am {slot}" in output
        ports[slot] = port_of(output)
    assert ports.keys() == avds.keys()
    assert len(set(ports.values())) == 2
    for avd in avds.values():
        (installed,) = [line for line in avd.commands() if f"-S {app.stat().st_size}" in line]
        assert "install" in installed, "once, by hpcq"
        assert builds_on(avd) == ["clear com.example.app"] * 2, "what is fresh for a test is its data"
        assert [line["text"] for line in avd.log("tap")] == ["Login"]
    assert_nothing_is_left(server, devices)


def test_after_a_test_that_fails_the_next_one_runs_and_a_phone_is_served_too(
    start: Start, devices: Lab, tmp_path: Path, version: str
) -> None:
    phone = devices.phone(screen=["Login"])
    shop = appium.project(tmp_path / "shop", version, one=FAILING)
    server = start(serials=[phone.serial], project_dir=str(shop))
    job = submit(server, make_signed_apk(tmp_path / "app.apk"))
    done, output = ended(server, job)
    tests = server.get(f"/v1/jobs/{job}")["result"]["tests"]
    assert [test["status"] for test in tests] == ["failed", "passed"], output
    assert done["error"]["message"] == "1 of 2 tests failed"
    assert_nothing_is_left(server, devices)


@pytest.mark.parametrize("wait", ["await new Promise(() => {});", "while (true);"], ids=["waits", "hangs"])
def test_a_cancelled_test_leaves_nothing(start: Start, devices: Lab, tmp_path: Path, version: str, wait: str) -> None:
    avd = devices.sdk.avd("Pixel_7", screen=["Login"])
    shop = appium.project(tmp_path / "shop", version, one=WAITING.replace("WAIT", wait))
    server = start(avds=["Pixel_7"], project_dir=str(shop))
    job = submit(server, make_signed_apk(tmp_path / "app.apk"))
    wait_until_blocking(lambda: avd.log("tap") or server.job(job)["state"] == "failed", LONG_S, "the test to begin")
    assert avd.log("tap"), server.output(job)
    assert server.request("POST", f"/v1/jobs/{job}/cancel").status < 300
    done, output = ended(server, job)
    assert done["state"] == "cancelled", output
    assert_nothing_is_left(server, devices)
    assert bool(avd.log("session ended")) == wait.startswith("await"), "where the test can end, its session does"


def test_an_appium_without_its_driver_is_not_the_tests_fault(
    start: Start, devices: Lab, tmp_path: Path, version: str
) -> None:
    devices.sdk.avd("Pixel_7", screen=["Login"])
    shop = appium.project(tmp_path / "shop", version, one=FAILING)
    server = start(avds=["Pixel_7"], project_dir=str(shop), appium_home=str(tmp_path / "nowhere"))
    said = server.get("/health")["parts"]["queues"]["emulator"]
    assert f"no driver for Android in {tmp_path}/nowhere" in said["message"], said
    job = submit(server, make_signed_apk(tmp_path / "app.apk"))
    server.until(job, "delayed", "failed", timeout_s=LONG_S)
    error = attempt_of(server, job)["error"]
    assert error["type"] == "infra", error
    assert "npx appium driver install --source=npm appium-uiautomator2-driver" in error["message"]
    assert server.get("/v1/tests")["tests"] == []
