"""Ports of the adb server that lead to a device, and that a job has left open."""

from pathlib import Path

from tests.support.fake_device.lab import free_port, lab
from tests.support.fake_device.stage import JOB_S, running
from tests.support.playwright import project

SPEC = """
const { execFileSync } = require("node:child_process");
test("dies before it can tidy up", () => {
  execFileSync("adb", ["forward", `tcp:${process.env.HPCQ_SYSTEM_PORT}`, "tcp:6790"]);
});
"""


async def test_what_an_appium_has_left_open_is_closed_and_what_others_have_opened_is_not(tmp_path: Path) -> None:
    folder = project(tmp_path / "shop", one=SPEC)
    with lab(tmp_path / "lab") as devices:
        phone, port = devices.phone(), free_port()
        async with running(devices, serials=[phone.serial], project_dir=str(folder)) as stage:
            await stage.until(phone.serial, "ready")
            devices.adb("-s", phone.serial, "forward", f"tcp:{port}", "tcp:7001")
            request, outcome = await stage.run({"test_path": "tests/one.spec.js"}, JOB_S)
            assert outcome.error is None, request.output.read_text()
            assert devices.adb("forward", "--list").split() == [phone.serial, f"tcp:{port}", "tcp:7001"]
