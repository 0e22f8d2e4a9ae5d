"""When what surrounds the devices fails too: a full disk, an adb that cannot be run, little time. Nothing is stuck."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from hpcq_runners.adb import fleet
from tests.support.fake_device.apk import make_apk
from tests.support.fake_device.lab import FakePhone, Lab
from tests.support.fake_device.stage import JOB_S, AdbStage, running
from tests.support.wait import wait_until


class FullDisk:
    """`hpcq.plugin.State` when nothing more can be written."""

    async def get(self, key: str) -> Any:
        return None

    async def put(self, key: str, value: Any) -> None:
        raise OSError(28, "No space left on device")


async def lost_in_mid_job(stage: AdbStage, phone: FakePhone) -> None:
    request = stage.request({"command": "echo begun; sleep 600"})
    handle = await stage.start(request)
    waiting = asyncio.ensure_future(stage.wait(request, handle, JOB_S))
    await wait_until(lambda: request.output.exists() and request.output.read_bytes(), 20, "the job to begin")
    phone.behave(state="offline")
    error = (await waiting).error
    assert error is not None
    assert error.type == "infra"


async def test_a_full_disk_neither_keeps_a_device_in_recovery_nor_in_quarantine(devices: Lab, phone: FakePhone) -> None:
    async with running(devices, serials=[phone.serial], reconnect_s=1) as stage:
        stage.context.state = FullDisk()  # type: ignore[assignment]
        await lost_in_mid_job(stage, phone)
        await stage.until(phone.serial, "quarantined")
        phone.behave()
        await stage.runner.readmit(phone.serial)
        await stage.until(phone.serial, "ready")


async def test_on_a_full_disk_emulators_boot_and_builds_are_installed(devices: Lab, tmp_path: Path) -> None:
    avd = devices.sdk.avd("Pixel_7")
    apk = str(make_apk(tmp_path / "app.apk"))
    async with running(devices, avds=["Pixel_7"]) as stage:
        stage.context.state = FullDisk()  # type: ignore[assignment]
        for _ in range(2):
            outcome = await stage.outcome("adb shell true", app=apk)
            assert outcome.error is None, outcome
    assert len(avd.log("boot")) == len(avd.log("install")) == 1


async def test_a_recovery_that_fails_in_an_unforeseen_way_ends_in_quarantine(devices: Lab, phone: FakePhone) -> None:
    async with running(devices, serials=[phone.serial], reconnect_s=1) as stage:
        request = stage.request({"command": "echo begun; sleep 600"})
        handle = await stage.start(request)
        waiting = asyncio.ensure_future(stage.wait(request, handle, JOB_S))
        await wait_until(lambda: request.output.exists() and request.output.read_bytes(), 20, "the job to begin")
        devices.sdk.adb.chmod(0o644)
        phone.behave(state="offline")
        await waiting
        await stage.until(phone.serial, "quarantined")
        devices.sdk.adb.chmod(0o755)
        phone.behave()
        await stage.runner.readmit(phone.serial)
        await stage.until(phone.serial, "ready")


async def test_a_failed_job_is_told_before_its_deadline_whatever_a_bug_report_takes(
    devices: Lab, phone: FakePhone
) -> None:
    async with running(devices, serials=[phone.serial]) as stage:
        phone.behave(hang=["bugreportz"])
        request = stage.request({"command": ["sh", "-c", "exit 7"]})
        handle = await stage.start(request)
        request.deadline = time.time() + 12
        error = (await stage.wait(request, handle, JOB_S)).error
        assert error is not None
        assert error.exit_code == 7
        assert "bugreportz -v" in phone.commands(), "it was tried"
        assert time.time() < request.deadline
        assert request.artifacts() == [f"attempt-1/{name}" for name in ("logcat.txt", "screenshot.png")]


async def test_an_opening_takes_no_longer_than_it_may(devices: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    devices.sdk.avd("Pixel_7")
    monkeypatch.setattr(fleet, "OPEN_S", 3.0, raising=False)
    program = devices.sdk.home / "emulator" / "emulator"
    real = program.rename(program.with_name("real-emulator"))
    asked = devices.folder / "asked"
    program.write_text(f'#!/bin/sh\n[ "$1" = -list-avds ] && touch {asked} && exec sleep 600\nexec {real} "$@"\n')
    program.chmod(0o755)
    async with running(devices, avds=["Pixel_7"]) as stage:
        await wait_until(asked.exists, 20)
        names = {task.get_name() for task in asyncio.all_tasks()}
        assert "ask for devices" in names, "it goes on"
        assert stage.slot("Pixel_7").state == "ready"
        assert (await stage.outcome("adb shell true")).error is None
