"""Devices behind a whole server: batches with one boot and one install, what HTTP and the command line show of them."""

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from hpcq_runners.adb import ports
from tests.support.cli import Cli
from tests.support.fake_device.apk import make_apk
from tests.support.fake_device.lab import Lab, lab
from tests.support.playwright import project
from tests.support.server import ServerProcess
from tests.support.wait import wait_until_blocking

SPEC = """
const { execFileSync } = require("node:child_process");
test("sees its device", async ({}, info) => {
  const { device, buildPath } = info.project.use;
  const { ANDROID_SERIAL: serial, HPCQ_APPIUM_PORT: port } = process.env;
  console.log(JSON.stringify({ device, buildPath, serial, port: Number(port) }));
  expect(String(execFileSync("adb", ["shell", "pm", "path", "com.example.app"]))).toContain("com.example.app");
});
"""


@pytest.fixture
def devices(tmp_path: Path) -> Iterator[Lab]:
    with lab(tmp_path / "lab") as built:
        yield built


@pytest.fixture
def start(tmp_path: Path, devices: Lab) -> Iterator[Any]:
    """Starts servers whose queue `emulator` has these settings."""
    servers: list[ServerProcess] = []

    def start(more: str = "", **settings: Any) -> ServerProcess:
        table = {**devices.settings(), **settings}
        lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in table.items())
        server = ServerProcess(tmp_path, f"[queues.emulator]\n{lines}\n{more}")
        servers.append(server)
        return server.start()

    yield start
    for server in servers:
        server.close()


def job(command: str, **more: Any) -> dict[str, Any]:
    return {"queue": "emulator", "params": {"command": command, **more.pop("params", {})}, **more}


def ended(server: ServerProcess, specs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Submit, and the jobs when all are final."""
    ids = server.request("POST", "/v1/jobs", specs).json["ids"]
    return [server.request("GET", f"/v1/jobs/{one}?wait=60").json for one in ids]


def shown(server: ServerProcess, name: str) -> dict[str, Any]:
    found: dict[str, Any] = server.request("GET", f"/v1/devices/{name}").json
    return found


def until(server: ServerProcess, name: str, state: str) -> dict[str, Any]:
    wait_until_blocking(lambda: shown(server, name).get("state") == state, 30, f"{name} to be {state}")
    return shown(server, name)


def test_jobs_of_two_builds_take_one_boot_and_one_install_a_batch(start: Any, devices: Lab, tmp_path: Path) -> None:
    avd = devices.sdk.avd("Pixel_7", boot_s=0.3)
    one = {"app": str(make_apk(tmp_path / "one.apk", version_code=2))}
    two = {"app": str(make_apk(tmp_path / "two.apk", version_code=2, signer="theirs"))}
    server = start(avds=["Pixel_7"])
    specs = [job(f"adb shell echo {n}", params=one if n % 2 else two) for n in range(6)]
    jobs = ended(server, specs)
    assert [each["state"] for each in jobs] == ["succeeded"] * 6
    assert len(avd.log("boot")) == 1
    assert [line["answer"] for line in avd.log("install") if line["answer"] == "Success"] == ["Success"] * 2
    order = [line.split()[1] for line in avd.commands() if line.startswith("echo ") and line != "echo ping"]
    assert order == ["0", "2", "4", "1", "3", "5"]


def test_a_lost_device_costs_the_job_nothing_and_another_one_takes_it(start: Any, devices: Lab) -> None:
    first, second = devices.phone(), devices.phone()
    server = start(serials=[first.serial, second.serial], reconnect_s=1, retries=0)
    for phone in (first, second):
        until(server, phone.serial, "ready")
    command = 'echo begun; test "$HPCQ_ATTEMPT" = 2 || sleep 600'
    posted = server.request("POST", "/v1/jobs", job(command)).json
    wait_until_blocking(lambda: server.request("GET", f"/v1/jobs/{posted['id']}").json["state"] == "running", 20)
    slot = server.request("GET", f"/v1/jobs/{posted['id']}").json["slot"]
    busy = shown(server, slot)
    assert (busy["state"], busy["job"]) == ("busy", posted["id"])
    lost, other = (first, second) if slot == first.serial else (second, first)
    lost.behave(state="offline")
    done = server.request("GET", f"/v1/jobs/{posted['id']}?wait=60").json
    assert (done["state"], done["attempt"]) == ("succeeded", 2)
    attempts = server.request("GET", f"/v1/jobs/{posted['id']}/attempts").json["attempts"]
    assert [each["slot"] for each in attempts] == [lost.serial, other.serial]
    assert attempts[0]["error"]["type"] == "infra"


def test_a_quarantined_device_is_shown_with_its_reason_and_released(start: Any, devices: Lab, tmp_path: Path) -> None:
    phone = devices.phone(refuses="INSTALL_FAILED_INSUFFICIENT_STORAGE")
    apk = make_apk(devices.folder / "app.apk")
    server = start(serials=[phone.serial])
    until(server, phone.serial, "ready")
    hpcq = Cli(server.url, tmp_path)
    waiting = server.request("POST", "/v1/jobs", job("true", params={"app": str(apk)})).json
    found = until(server, phone.serial, "quarantined")
    assert "quarantined" in hpcq("devices").out
    assert "is full" in found["reason"]
    explained = server.request("GET", f"/v1/jobs/{waiting['id']}/explain").json
    assert any("is full" in reason["message"] for reason in explained["reasons"]), explained
    phone.behave()
    said = hpcq("devices", "ready", phone.serial)
    assert said.code == 0, said
    assert server.request("GET", f"/v1/jobs/{waiting['id']}?wait=60").json["state"] == "succeeded"
    listed = hpcq("devices", "--json").json
    assert [each["name"] for each in listed] == [phone.serial]
    assert listed[0]["app"]["package"] == "com.example.app"
    assert listed[0]["battery"] == 87
    assert listed[0]["labels"]["model"] == "Pixel 7"
    assert server.request("PATCH", "/v1/devices/nobody", {"state": "ready"}).status == 404
    assert server.request("PATCH", f"/v1/devices/{phone.serial}", {"state": "broken"}).status == 422


def test_no_emulator_and_no_adb_server_outlives_a_killed_server(start: Any, devices: Lab) -> None:
    avd = devices.sdk.avd("Pixel_7")
    server = start(avds=["Pixel_7"])
    ended(server, [job("adb shell true")])
    assert shown(server, "Pixel_7")["state"] == "ready"
    server.kill()
    server.assert_nothing_lives()
    assert not devices.server_answers()
    server.start()
    (done,) = ended(server, [job("adb shell true")])
    assert done["state"] == "succeeded", "the lock that was left behind does not matter"
    assert len(avd.log("boot")) == 2


def test_changes_of_devices_are_events(start: Any, devices: Lab) -> None:
    devices.sdk.avd("Pixel_7")
    server = start(avds=["Pixel_7"])
    ended(server, [job("true")])
    changed = [line for line in _events(server) if line["type"] == "device.changed"]
    assert [(line["device"], line["state"]) for line in changed] == [
        ("Pixel_7", "off"), ("Pixel_7", "booting"), ("Pixel_7", "ready"),
    ]  # fmt: skip
    assert changed[0]["queue"] == "emulator"


def test_a_job_is_kept_for_a_device_with_the_labels_it_requires(start: Any, devices: Lab) -> None:
    devices.sdk.avd("Old", api=29)
    devices.sdk.avd("New", api=34)
    (devices.sdk.avds / "Old.avd" / "config.ini").write_text("image.sysdir.1=system-images/android-29/x/\n")
    server = start("[queues.emulator.labels.New]\nroom = 'berlin'\n", avds=["Old", "New"])
    jobs = ended(server, [job("true", requires={"api": "29"}), job("true", requires={"room": "berlin"})])
    attempts = [server.request("GET", f"/v1/jobs/{each['id']}/attempts").json["attempts"] for each in jobs]
    assert [each[0]["slot"] for each in attempts] == ["Old", "New"]
    refused = server.request("POST", "/v1/jobs", job("true", requires={"api": "21"}))
    assert refused.status == 422
    assert refused.json["errors"][0]["pointer"] == "/requires/api"


def test_jobs_wait_for_a_device_that_was_never_there(start: Any, devices: Lab) -> None:
    server = start()
    waiting = server.request("POST", "/v1/jobs", job("adb shell true")).json
    explained = server.request("GET", f"/v1/jobs/{waiting['id']}/explain").json
    assert [reason["code"] for reason in explained["reasons"]] == ["runner_unavailable", "no_matching_slot"]
    assert "adb shows no device" in explained["reasons"][0]["message"]
    assert server.request("GET", "/health").json["parts"]["queues"]["emulator"]["status"] == "degraded"
    phone = devices.phone()
    devices.adb("connect", phone.serial)
    assert server.request("GET", f"/v1/jobs/{waiting['id']}?wait=60").json["state"] == "succeeded"


def test_without_adb_an_unused_queue_is_no_cause_for_alarm(tmp_path: Path, devices: Lab) -> None:
    server = ServerProcess(tmp_path, env={"PATH": "/nowhere", "ANDROID_HOME": str(tmp_path)}).start()
    try:
        health = server.request("GET", "/health").json
        queue = health["parts"]["queues"]["emulator"]
        assert queue["status"] == "unused"
        assert "apt install adb" in queue["message"]
        waiting = server.request("POST", "/v1/jobs", job("true")).json
        explained = server.request("GET", f"/v1/jobs/{waiting['id']}/explain").json
        assert explained["reasons"][0]["code"] == "runner_unavailable"
        assert "apt install adb" in explained["reasons"][0]["message"]
    finally:
        server.close()


def test_a_serial_in_two_queues_is_an_error_of_the_configuration(start: Any) -> None:
    with pytest.raises(AssertionError) as refused:
        start("[queues.lab]\nrunner = 'adb'\nserials = ['R58M']\n", serials=["R58M"])
    assert "queues.lab.serials: R58M is also named by queues.emulator.serials" in str(refused.value)


def test_appwright_tests_run_on_the_device_of_their_slot(start: Any, devices: Lab, tmp_path: Path) -> None:
    avd = devices.sdk.avd("Pixel_7")
    folder = project(tmp_path / "shop", onboarding=SPEC)
    apk = make_apk(tmp_path / "app.apk")
    server = start(avds=["Pixel_7"], project_dir=str(folder))
    params = {"test_path": "tests/onboarding.spec.js", "app": str(apk), "app_version_id": "xyz123"}
    (done,) = ended(server, [{"queue": "emulator", "params": params}])
    output = server.request("GET", f"/v1/jobs/{done['id']}/output").body.decode()
    assert done["state"] == "succeeded", (done, output)
    said = json.loads(next(line for line in output.splitlines() if line.startswith('{"device"')))
    assert said["device"] == {"provider": "emulator", "udid": said["serial"]}
    assert said["buildPath"] == str(apk)
    assert said["serial"].startswith("emulator-")
    assert said["port"] in ports.candidates()
    assert done["result"]["passed"] == 1
    assert [line["answer"] for line in avd.log("install")] == ["Success"]
    names = [each["name"] for each in done["artifacts"]]
    assert "attempt-1/logcat.txt" in names
    assert "attempt-1/report.json" in names


def _events(server: ServerProcess) -> list[dict[str, Any]]:
    """All that are kept."""
    last = server.request("GET", "/v1/stats").json["last_seq"]
    place = urlsplit(server.url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=20)
    connection.request("GET", "/v1/events?since=0")
    found: list[dict[str, Any]] = []
    with connection.getresponse() as stream:
        while len(found) < last:
            line = stream.readline().decode()
            if line.startswith("data: "):
                found.append(json.loads(line.removeprefix("data: ")))
    connection.close()
    return found
