"""Emulators that the queue boots itself: once for many jobs, within a budget, and ended for good."""

import asyncio
from pathlib import Path

from tests.support.fake_device.apk import make_apk
from tests.support.fake_device.lab import Folder, Lab
from tests.support.fake_device.stage import JOB_S, running
from tests.support.processes import marked
from tests.support.wait import wait_until


def boots(avd: Folder) -> int:
    return len(avd.log("boot"))


async def test_an_emulator_is_off_until_a_job_wants_it_and_then_stays_warm(devices: Lab, tmp_path: Path) -> None:
    avd = devices.sdk.avd("Pixel_7", boot_s=0.5)
    builds = [str(make_apk(tmp_path / f"{name}.apk", f"com.example.{name}")) for name in ("one", "two")]
    async with running(devices, avds=["Pixel_7"]) as stage:
        slot = stage.slot("Pixel_7")
        assert stage.state("Pixel_7") == "off"
        assert slot.state == "ready"
        assert slot.labels == {
            "model": "pixel_7", "api": "34", "abi": "x86_64", "kind": "emulator", "device": "Pixel_7",
        }  # fmt: skip
        assert boots(avd) == 0
        for build in (*builds, *builds):
            assert (await stage.outcome("adb shell true", app=build)).error is None
        assert stage.state("Pixel_7") == "ready"
        assert stage.slot("Pixel_7").labels == slot.labels
    assert boots(avd) == 1
    assert len(avd.log("install")) == 2
    assert avd.log("emu kill"), "it was asked to end by itself"
    assert not marked(str(avd.folder)), "nothing of it is left"


async def test_animations_are_off_and_the_screen_is_unlocked(devices: Lab) -> None:
    avd = devices.sdk.avd("Pixel_7")
    async with running(devices, avds=["Pixel_7"]) as stage:
        await stage.outcome("adb shell true")
    said = "; ".join(avd.commands())
    for name in ("window_animation_scale", "transition_animation_scale", "animator_duration_scale"):
        assert f"settings put global {name} 0" in said
    assert "input keyevent 82" in said


async def test_an_emulator_without_work_is_switched_off_after_a_while(devices: Lab) -> None:
    avd = devices.sdk.avd("Pixel_7")
    async with running(devices, avds=["Pixel_7"], warm_s=0.2) as stage:
        await stage.outcome("adb shell true")
        await stage.until("Pixel_7", "off")
        assert not marked(str(avd.folder))
        assert (await stage.outcome("adb shell true")).error is None
    assert boots(avd) == 2


async def test_several_emulators_of_one_avd_are_clones(devices: Lab) -> None:
    avd = devices.sdk.avd("Pixel_7")
    async with running(devices, avds=["Pixel_7", "Pixel_7"]) as stage:
        both = await asyncio.gather(
            stage.outcome("adb shell true; echo $ANDROID_SERIAL"), stage.outcome("adb shell true", slot=1)
        )
        assert [outcome.error for outcome in both] == [None, None]
        assert sorted(slot.name for slot in stage.context.slots) == ["Pixel_7", "Pixel_7-2"]
    assert all("-read-only" in line["words"] for line in avd.log("boot"))
    assert boots(avd) == 2


async def test_a_boot_that_stalls_is_infra_and_the_emulator_comes_back_wiped(devices: Lab) -> None:
    avd = devices.sdk.avd("Pixel_7", boot_s=9999, wipe_heals={"boot_s": 0})
    async with running(devices, avds=["Pixel_7"], boot_timeout_s=4) as stage:
        error = (await stage.outcome("adb shell true")).error
        assert error.type == "infra"
        assert "has not booted within 4 s: sys.boot_completed is not 1" in error.message
        await stage.until("Pixel_7", "ready")
        assert (await stage.outcome("adb shell true")).error is None
    assert ["-wipe-data" in line["words"] for line in avd.log("boot")] == [False, True]


async def test_an_emulator_that_never_boots_is_put_aside(devices: Lab) -> None:
    avd = devices.sdk.avd("Pixel_7", boot_s=9999)
    async with running(devices, avds=["Pixel_7"], boot_timeout_s=4) as stage:
        assert (await stage.outcome("true")).error.type == "infra"
        await stage.until("Pixel_7", "quarantined")
        assert "has not booted within 4 s" in stage.slot("Pixel_7").reason
        avd.behave(emulator=True)
        await stage.runner.readmit("Pixel_7")
        assert (await stage.outcome("adb shell true")).error is None
    assert boots(avd) == 3


async def test_an_emulator_that_ends_at_once_says_why(devices: Lab) -> None:
    devices.sdk.avd("Pixel_7", exit="the CPU cannot run x86 emulation: no /dev/kvm")
    async with running(devices, avds=["Pixel_7"]) as stage:
        error = (await stage.outcome("true")).error
        await stage.until("Pixel_7", "quarantined")
    assert error.type == "infra"
    assert "no /dev/kvm" in error.message


async def test_an_emulator_that_dies_in_mid_job_is_booted_again(devices: Lab) -> None:
    avd = devices.sdk.avd("Pixel_7")
    async with running(devices, avds=["Pixel_7"], reconnect_s=1) as stage:
        request = stage.request({"command": "echo begun; sleep 600"})
        handle = await stage.start(request)
        waiting = asyncio.ensure_future(stage.wait(request, handle, JOB_S))
        await wait_until(request.output.exists, 20)
        serial = str((stage.slot("Pixel_7").device or {})["serial"])
        await asyncio.to_thread(devices.adb, "-s", serial, "emu", "kill")
        error = (await waiting).error
        assert error is not None
        assert error.type == "infra"
        await stage.until("Pixel_7", "ready")
        assert (await stage.outcome("adb shell true")).error is None
    assert boots(avd) == 2


async def test_an_emulator_that_will_not_end_is_killed(devices: Lab) -> None:
    avd = devices.sdk.avd("Pixel_7", ignores_kill=True, ignores_term=True)
    async with running(devices, avds=["Pixel_7"]) as stage:
        await stage.outcome("adb shell true")
    assert [line["what"] for line in avd.log() if line["what"] in ("emu kill", "signal")][:2] == ["emu kill", "signal"]
    assert not (avd.folder / "hardware-qemu.ini.lock").exists()


async def test_a_lock_that_a_killed_emulator_left_behind_does_not_matter(devices: Lab) -> None:
    avd = devices.sdk.avd("Pixel_7")
    (avd.folder / "hardware-qemu.ini.lock").write_text("4194305")  # more than any pid
    async with running(devices, avds=["Pixel_7"]) as stage:
        assert (await stage.outcome("adb shell true")).error is None


async def test_a_boot_goes_on_when_the_job_that_wanted_it_is_stopped(devices: Lab) -> None:
    avd = devices.sdk.avd("Pixel_7", boot_s=2)
    async with running(devices, avds=["Pixel_7"]) as stage:
        request = stage.request({"command": "true"})
        handle = await stage.runner.start(request)
        await wait_until(lambda: boots(avd), 20)
        await stage.stop(request, handle, 1.0)
        assert (await stage.wait(request, handle, JOB_S)).error is not None
        assert (await stage.outcome("adb shell true")).error is None
    assert boots(avd) == 1


async def test_an_avd_that_is_not_there_is_named_with_those_that_are(devices: Lab) -> None:
    devices.sdk.avd("Pixel_7")
    async with running(devices, avds=["Pixel_7", "Pixel_8"]) as stage:
        assert stage.slot("Pixel_7").state == "ready"
        assert "no such AVD; there are: Pixel_7" in stage.slot("Pixel_8").reason


async def test_without_an_emulator_program_the_queue_says_what_mends_it(devices: Lab) -> None:
    (devices.sdk.home / "emulator" / "emulator").unlink()
    async with running(devices, avds=["Pixel_7"]) as stage:
        health = await stage.runner.health()
    assert not health.ready
    assert "sdkmanager emulator" in health.message


async def test_what_a_job_leaves_tells_what_happened(devices: Lab) -> None:
    devices.sdk.avd("Pixel_7")
    async with running(devices, avds=["Pixel_7"]) as stage:
        good, _ = await stage.run({"command": "adb shell sleep 0.3"}, JOB_S)
        bad, outcome = await stage.run({"command": "adb shell 'sleep 0.3; exit 7'"}, JOB_S)
    assert good.artifacts() == ["attempt-1/logcat.txt"]
    assert outcome.error is not None
    assert outcome.error.exit_code == 7
    assert bad.artifacts() == [f"attempt-1/{name}" for name in ("bugreport.zip", "logcat.txt", "screenshot.png")]
    folder = bad.artifacts_dir / "attempt-1"
    assert (folder / "screenshot.png").read_bytes().startswith(b"\x89PNG")
    assert "FakeDevice: line" in (folder / "logcat.txt").read_text()
