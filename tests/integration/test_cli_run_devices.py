"""`hpcq run --test` on a device and on a farm: the real adb and Playwright, and stand-ins that speak as they do."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import Cli
from tests.support.fake_device.apk import make_apk
from tests.support.fake_device.lab import Lab, lab
from tests.support.fake_farm import project as farm_project
from tests.support.fake_farm.farm import FakeFarm
from tests.support.playwright import playwright, project
from tests.support.server import ServerProcess

LIMIT_S = 300.0
ON_IT = """const { execFileSync } = require("child_process");
test("talks to its device", async () => {
  expect(execFileSync("adb", ["shell", "echo", "hello"]).toString()).toContain("hello");
});"""


@pytest.fixture
def devices(tmp_path: Path) -> Iterator[Lab]:
    with lab(tmp_path / "lab") as built:
        yield built


def test_two_files_take_one_install_and_a_broken_device_is_no_failed_test(devices: Lab, tmp_path: Path) -> None:
    phone = devices.phone()
    table = devices.settings(serials=[phone.serial], node_modules=str(playwright()), bugreport="never")
    lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in table.items())
    server = ServerProcess(tmp_path, f"[queues.emulator]\n{lines}").start()
    try:
        cli = Cli(server.url, project(tmp_path / "checkout", one=ON_IT, two=ON_IT))
        make_apk(cli.folder / "app.apk")
        words = ("run", "--queue", "emulator", "--test", "tests", "--project-dir", ".", "--app", "app.apk", "--json")
        good = cli(*words, "--report", "html", timeout_s=LIMIT_S)
        assert good.code == 0, (good.err, good.out)
        assert "tests: 2 passed" in good.err
        assert (cli.folder / "html" / "index.html").is_file()
        assert [line["answer"] for line in phone.log("install")] == ["Success"]
        assert [line for line in phone.commands() if line.startswith("echo hello")] == ["echo hello"] * 2

        phone.behave(refuses="INSTALL_FAILED_INTERNAL_ERROR: Session failed")
        make_apk(cli.folder / "app.apk", version_code=2)
        bad = cli(*words, "--max-failures", "1", timeout_s=LIMIT_S)
        assert bad.code == 4, bad.err
        errors = [job["error"]["type"] for job in bad.json["jobs"] if job["state"] == "failed"]
        assert set(errors) == {"infra"}
    finally:
        server.close()


def test_a_farm_gets_an_uploaded_build_once_over_two_runs(tmp_path: Path) -> None:
    checkout = farm_project.make(tmp_path / "checkout")
    (checkout / "app.apk").write_bytes(b"a build")
    with FakeFarm() as farm:
        table = {"node_modules": str(playwright()), **farm.settings}
        lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in table.items())
        server = ServerProcess(tmp_path, f"[queues.device_farm]\n{lines}", env=farm.env).start()
        try:
            cli = Cli(server.url, checkout)
            words = ("run", "--queue", "device_farm", "--test", "tests/login.spec.js", "--project-dir", ".")
            for _ in range(2):
                done = cli(*words, "--app", "app.apk", timeout_s=LIMIT_S)
                assert done.code == 0, (done.err, done.out)
            assert [upload.name.endswith(".apk") for upload in farm.uploads] == [True]
        finally:
            server.close()
