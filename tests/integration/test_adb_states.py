"""Devices that are slow, offline, unauthorized, hung or gone, with the real adb: what jobs and operators see of it."""

import asyncio
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hpcq_runners.adb import fleet
from tests.support.fake_device.lab import FakePhone, Lab
from tests.support.fake_device.stage import JOB_S, AdbStage, running
from tests.support.processes import command_line, marked
from tests.support.wait import wait_until

LONG = {"command": "echo begun; sleep 600"}
SHA256 = "0123456789abcdef" * 4


async def begun(stage: AdbStage) -> "asyncio.Future[Any]":
    """A job is in the middle of its work; its outcome."""
    request = stage.request(LONG)
    handle = await stage.start(request)
    waiting = asyncio.ensure_future(stage.wait(request, handle, JOB_S))
    output = request.output
    await wait_until(lambda: output.exists() and b"begun" in output.read_bytes(), 20, "the job to begin")
    return waiting


def offered(stage: AdbStage, name: str) -> bool:
    return any(slot.name == name for slot in stage.context.slots)


# Phones.


async def test_all_that_adb_shows_are_devices_with_labels_of_their_own(devices: Lab) -> None:
    phone, other = devices.phone(model="Pixel 7", api=34), devices.phone(model="Galaxy S9", api=29, battery=12)
    labels = {phone.serial: {"room": "berlin"}}
    async with running(devices, labels=labels) as stage:
        assert stage.context.slots == []
        assert "adb shows no device" in (await stage.runner.health()).message
        for each in (phone, other):
            await asyncio.to_thread(devices.adb, "connect", each.serial)
            await wait_until(partial(offered, stage, each.serial), 20)
            await stage.until(each.serial, "ready")
        first, second = stage.slot(phone.serial), stage.slot(other.serial)
        assert (await stage.runner.health()).ready
    expected = {"model": "Pixel 7", "api": "34", "abi": "x86_64", "kind": "phone", "device": phone.serial}
    assert first.labels == {**expected, "room": "berlin"}
    assert second.labels["api"] == "29"
    assert (second.device or {})["battery"] == 12


async def test_an_unplugged_phone_waits_to_come_back(devices: Lab, phone: FakePhone) -> None:
    async with running(devices) as stage:
        await asyncio.to_thread(devices.adb, "connect", phone.serial)
        await wait_until(lambda: stage.context.slots, 20)
        await stage.until(phone.serial, "ready")
        await asyncio.to_thread(devices.adb, "disconnect", phone.serial)
        await stage.until(phone.serial, "absent")
        assert stage.slot(phone.serial).state == "held"
        await stage.until(phone.serial, "ready")


async def test_an_unauthorized_phone_is_never_used_and_says_what_to_do(devices: Lab, phone: FakePhone) -> None:
    phone.behave(state="unauthorized")
    async with running(devices, serials=[phone.serial]) as stage:
        await stage.until(phone.serial, "unauthorized", 40)
        slot = stage.slot(phone.serial)
        outcome = await stage.outcome()
    assert slot.state == "held"
    assert "allow USB debugging" in slot.reason
    assert outcome.error.type == "infra"
    assert phone.commands() == []


async def test_a_phone_that_is_lost_in_mid_job_is_not_the_jobs_fault(devices: Lab, phone: FakePhone) -> None:
    async with running(devices, serials=[phone.serial], reconnect_s=1) as stage:
        waiting = await begun(stage)
        phone.behave(state="offline")
        outcome = await waiting
        assert outcome.error.type == "infra"
        assert f"device {phone.serial} was lost in mid-job" in outcome.error.message
        assert stage.slot(phone.serial).state == "held"
        await stage.until(phone.serial, "quarantined")
        assert f"hpcq devices ready {phone.serial}" in stage.slot(phone.serial).reason
        phone.behave()
        await stage.runner.readmit(phone.serial)
        await stage.until(phone.serial, "ready")
        assert (await stage.outcome("adb shell true")).error is None


async def test_a_connection_that_comes_back_at_once_costs_the_job_nothing(devices: Lab, phone: FakePhone) -> None:
    async with running(devices, serials=[phone.serial], reconnect_s=20) as stage:
        request = stage.request({"command": "adb disconnect $ANDROID_SERIAL; sleep 3; adb shell echo still here"})
        handle = await stage.start(request)
        outcome = await stage.wait(request, handle, JOB_S)
        assert outcome.error is None, outcome
        assert b"still here" in request.output.read_bytes()
        await stage.until(phone.serial, "ready")


async def test_a_quarantine_is_kept_over_restarts(devices: Lab, phone: FakePhone) -> None:
    async with running(devices, serials=[phone.serial], reconnect_s=1) as stage:
        waiting = await begun(stage)
        phone.off()
        assert (await waiting).error.type == "infra"
        await stage.until(phone.serial, "quarantined")
    phone.on()
    async with running(devices, serials=[phone.serial]) as stage:
        assert stage.state(phone.serial) == "quarantined"
        assert (await stage.outcome()).error.type == "infra"


async def test_a_phone_that_hangs_is_rebooted_and_its_job_requeued(devices: Lab, phone: FakePhone) -> None:
    async with running(devices, serials=[phone.serial]) as stage:
        phone.behave(hang=[""], hang_until_reboot=True)
        outcome = await stage.outcome("false")
        assert outcome.error.type == "infra"
        await stage.until(phone.serial, "ready", 60)
        assert len(phone.log("reboot")) == 1
        assert (await stage.outcome("adb shell true")).error is None


async def test_a_job_that_is_stopped_on_a_phone_that_hangs_leaves_the_phone_to_its_recovery(
    devices: Lab, phone: FakePhone
) -> None:
    async with running(devices, serials=[phone.serial]) as stage:
        request = stage.request({"command": "echo begun; adb shell sleep 600"})
        handle = await stage.start(request)
        waiting = asyncio.ensure_future(stage.wait(request, handle, JOB_S))
        await wait_until(lambda: "sleep 600" in phone.commands(), 20)
        phone.behave(hang=[""], hang_until_reboot=True)
        await stage.stop(request, handle, 1.0)
        assert (await waiting).error is not None
        await stage.until(phone.serial, "recovering")
        await stage.until(phone.serial, "ready", 60)


async def test_three_jobs_in_a_row_are_enough_of_a_phone(devices: Lab, phone: FakePhone) -> None:
    async with running(devices, serials=[phone.serial], reconnect_s=20) as stage:
        for state in ("ready", "ready", "quarantined"):
            error = (await stage.outcome("adb disconnect $ANDROID_SERIAL; sleep 1; false")).error
            assert error.type == "infra"
            await stage.until(phone.serial, state)
        assert "3 jobs in a row lost it" in stage.slot(phone.serial).reason


# The adb server.


async def test_an_adb_server_that_is_killed_is_replaced_and_no_device_is_blamed(devices: Lab, phone: FakePhone) -> None:
    devices.sdk.avd("Pixel_7")
    async with running(devices, serials=[phone.serial], avds=["Pixel_7"]) as stage:
        emulator = next(slot.name for slot in stage.context.slots if slot.name == "Pixel_7")
        assert (await stage.outcome("adb shell true", slot=0)).error is None
        assert (await stage.outcome("adb shell true", slot=1)).error is None
        await asyncio.to_thread(devices.adb, "kill-server")
        await wait_until(lambda: all(slot.state == "held" for slot in stage.context.slots), 10)
        await wait_until(lambda: all(slot.state == "ready" for slot in stage.context.slots), 30)
        assert (await stage.outcome("adb shell true", slot=0)).error is None
        assert (await stage.outcome("adb shell true", slot=1)).error is None
    assert len((devices.sdk.avds / f"{emulator}.avd" / "log.ndjson").read_text().split('"what": "boot"')) == 2


async def test_an_adb_server_of_somebody_else_is_used_and_left_running(devices: Lab, phone: FakePhone) -> None:
    devices.adb("start-server")
    async with running(devices, serials=[phone.serial]) as stage:
        assert (await stage.outcome("adb shell true")).error is None
    assert devices.server_answers()


async def test_without_adb_the_queue_says_what_mends_it(
    devices: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    devices.sdk.adb.unlink()
    async with running(devices) as stage:
        health = await stage.runner.health()
        assert stage.context.slots == []
    assert not health.ready
    assert "adb was not found" in health.message
    assert "apt install adb" in health.message


async def test_an_adb_server_that_hangs_is_replaced_if_it_is_ours(devices: Lab, phone: FakePhone) -> None:
    async with running(devices, serials=[phone.serial]) as stage:
        (pid,) = [pid for pid in marked("server nodaemon") if f"-P {devices.port} " in command_line(pid)]
        os.kill(pid, signal.SIGSTOP)
        assert not (await stage.runner.health()).ready
        assert stage.slot(phone.serial).state == "held"
        await stage.until(phone.serial, "ready", 60)
        assert (await stage.outcome("adb shell true")).error is None


async def test_a_job_that_failed_while_its_phone_was_away_for_a_moment_is_not_to_blame(
    devices: Lab, phone: FakePhone
) -> None:
    async with running(devices, serials=[phone.serial]) as stage:
        outcome = await stage.outcome("adb disconnect $ANDROID_SERIAL; sleep 2; false")
        assert outcome.error.type == "infra"
        await stage.until(phone.serial, "ready")


async def test_a_start_does_not_wait_for_the_unpacking_of_a_project_which_a_stop_ends(
    devices: Lab, phone: FakePhone, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "endless")
    async with running(devices, serials=[phone.serial]) as stage:
        stage.blobs = {SHA256: tmp_path / "endless"}
        request = stage.request({"test_path": "tests", "cwd": {"blob": SHA256}})
        handle = await asyncio.wait_for(stage.start(request), 20)
        waiting = asyncio.ensure_future(stage.wait(request, handle, JOB_S))
        writer = await asyncio.wait_for(asyncio.to_thread((tmp_path / "endless").open, "wb"), 20)  # the child reads it
        assert not waiting.done()
        await stage.stop(request, handle, 5.0)
        outcome = await waiting
        writer.close()
    assert outcome.error
    assert (outcome.error.type, outcome.error.message) == ("signal", "stopped before it began")
    assert not list(request.folder.rglob("upload-*"))


async def test_a_stop_does_not_wait_for_a_bug_report(devices: Lab, phone: FakePhone) -> None:
    async with running(devices, serials=[phone.serial]) as stage:
        phone.behave(hang=["bugreportz"])
        request = stage.request({"command": "false"})
        handle = await stage.start(request)
        waiting = asyncio.ensure_future(stage.wait(request, handle, JOB_S))
        await wait_until(lambda: "bugreportz -v" in phone.commands(), 20)
        await stage.stop(request, handle, 1.0)
        error = (await asyncio.wait_for(waiting, 5)).error
        assert error is not None
        assert error.type == "exit"


async def test_health_says_which_of_the_devices_of_the_configuration_are_not_there(
    devices: Lab, phone: FakePhone
) -> None:
    async with running(devices, serials=["127.0.0.1:9"]) as stage:
        health = await stage.runner.health()
        assert not health.ready, "its only device"
        assert health.message.startswith("1 of 1 devices cannot be used: 127.0.0.1:9 is absent (")
        assert "`adb devices`" in health.message
    async with running(devices, serials=["127.0.0.1:9", phone.serial]) as stage:
        await stage.until(phone.serial, "ready")
        health = await stage.runner.health()
        assert health.ready, "one will do"
        assert "1 of 2 devices cannot be used: 127.0.0.1:9 is absent (" in health.message


async def test_a_phone_that_is_away_for_a_moment_does_not_make_its_queue_unready(
    devices: Lab, phone: FakePhone, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(devices, serials=[phone.serial]) as stage:
        await stage.until(phone.serial, "ready")
        health = await stage.runner.health()
        assert (health.ready, "cannot be used" in health.message) == (True, False)
        phone.behave(state="unauthorized")
        await asyncio.to_thread(devices.adb, "disconnect", phone.serial)
        await stage.until(phone.serial, "unauthorized")
        health = await stage.runner.health()
        assert health.ready
        assert f"1 of 1 devices cannot be used: {phone.serial} is " in health.message
        monkeypatch.setattr(fleet, "AWAY_S", 0.0)
        assert not (await stage.runner.health()).ready, "now it is for longer"
