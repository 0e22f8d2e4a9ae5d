"""Builds on devices, with the real adb: each is installed once, and each of Android's refusals means what it should."""

from pathlib import Path

import pytest

from hpcq_runners.adb import install
from tests.support.fake_device.apk import make_apk
from tests.support.fake_device.lab import FakePhone, Lab
from tests.support.fake_device.stage import running

IN_THE_WAY = ["UPDATE_INCOMPATIBLE", "ALREADY_EXISTS", "VERSION_DOWNGRADE"]
THE_USERS = [
    "INSTALL_PARSE_FAILED_NOT_APK",
    "INSTALL_PARSE_FAILED_NO_CERTIFICATES",
    "INSTALL_PARSE_FAILED_MANIFEST_MALFORMED",
    "INSTALL_FAILED_NO_MATCHING_ABIS",
    "INSTALL_FAILED_OLDER_SDK",
]


@pytest.fixture
def apk(tmp_path: Path) -> str:
    return str(make_apk(tmp_path / "app.apk"))


def installs(phone: FakePhone) -> list[str]:
    """What came of each installation that was tried."""
    return [line["answer"].removeprefix("Failure ") for line in phone.log("install")]


async def test_a_build_is_installed_once_for_all_jobs_of_it(devices: Lab, phone: FakePhone, apk: str) -> None:
    async with running(devices, serials=[phone.serial]) as stage:
        for _ in range(3):
            assert (await stage.outcome("adb shell pm path com.example.app", app=apk)).error is None
        app = (stage.slot(phone.serial).device or {})["app"]
    assert installs(phone) == ["Success"]
    assert app["package"] == "com.example.app"
    assert app["version"] == "1.0"
    assert len(app["sha256"]) == 64


async def test_a_restart_of_the_server_does_not_install_again(devices: Lab, phone: FakePhone, apk: str) -> None:
    for _ in range(2):
        async with running(devices, serials=[phone.serial]) as stage:
            assert (await stage.outcome(app=apk)).error is None
    assert installs(phone) == ["Success"]


async def test_a_build_that_a_job_has_removed_is_installed_again(devices: Lab, phone: FakePhone, apk: str) -> None:
    async with running(devices, serials=[phone.serial]) as stage:
        assert (await stage.outcome("adb uninstall com.example.app", app=apk)).error is None
        assert (await stage.outcome("adb shell pm path com.example.app", app=apk)).error is None
    assert installs(phone) == ["Success", "Success"]


async def test_refused_builds_are_remembered_but_not_for_ever(
    devices: Lab, phone: FakePhone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "REMEMBERED", 2)
    builds = [str(make_apk(tmp_path / f"{n}.apk", version_code=n)) for n in (1, 2, 3)]
    async with running(devices, serials=[phone.serial]) as stage:
        phone.behave(refuses="INSTALL_PARSE_FAILED_NOT_APK")
        for build in (*builds, builds[2], builds[0]):
            assert (await stage.outcome(app=build)).error.type == "rejected"
    assert len(phone.log("install")) == 4


async def test_another_build_of_the_same_app_takes_its_place(
    devices: Lab, phone: FakePhone, apk: str, tmp_path: Path
) -> None:
    newer = str(make_apk(tmp_path / "newer.apk", version_code=2, utf8=True))
    async with running(devices, serials=[phone.serial]) as stage:
        for build in (apk, newer, newer, apk):
            assert (await stage.outcome(app=build)).error is None
        app = (stage.slot(phone.serial).device or {})["app"]
    assert [answer for answer in installs(phone) if answer == "Success"] == ["Success"] * 3
    assert app["version"] == "1.0"


async def test_a_build_of_another_signer_makes_room_for_the_new_one(
    devices: Lab, phone: FakePhone, apk: str, tmp_path: Path
) -> None:
    theirs = str(make_apk(tmp_path / "theirs.apk", signer="theirs"))
    async with running(devices, serials=[phone.serial]) as stage:
        assert (await stage.outcome(app=theirs)).error is None
        assert (await stage.outcome(app=apk)).error is None
    first, refused, third = installs(phone)
    assert (first, third) == ("Success", "Success")
    assert "UPDATE_INCOMPATIBLE" in refused
    assert [line["package"] for line in phone.log("uninstall")] == ["com.example.app"]


@pytest.mark.parametrize("code", IN_THE_WAY)
async def test_what_is_in_the_way_is_uninstalled_and_the_build_tried_once_more(
    devices: Lab, phone: FakePhone, apk: str, code: str, tmp_path: Path
) -> None:
    other = str(make_apk(tmp_path / "other.apk", version_code=2))
    async with running(devices, serials=[phone.serial]) as stage:
        assert (await stage.outcome(app=other)).error is None
        phone.behave(refuses=f"INSTALL_FAILED_{code}", until="uninstall")
        assert (await stage.outcome(app=apk)).error is None
        assert (await stage.outcome(app=apk)).error is None
    assert installs(phone) == ["Success", f"[INSTALL_FAILED_{code}]", "Success"]


async def test_it_is_tried_only_once_more(devices: Lab, phone: FakePhone, apk: str) -> None:
    phone.behave(refuses="INSTALL_FAILED_UPDATE_INCOMPATIBLE")
    async with running(devices, serials=[phone.serial]) as stage:
        error = (await stage.outcome(app=apk)).error
    assert error.type == "infra"
    assert "INSTALL_FAILED_UPDATE_INCOMPATIBLE" in error.message
    assert len(installs(phone)) == 2


async def test_a_full_device_is_cleaned_and_tried_once_more(
    devices: Lab, phone: FakePhone, apk: str, tmp_path: Path
) -> None:
    other = str(make_apk(tmp_path / "other.apk", "com.example.other"))
    async with running(devices, serials=[phone.serial]) as stage:
        assert (await stage.outcome(app=other)).error is None
        phone.behave(refuses="INSTALL_FAILED_INSUFFICIENT_STORAGE", until="uninstall")
        assert (await stage.outcome(app=apk)).error is None
    assert installs(phone)[1:] == ["[INSTALL_FAILED_INSUFFICIENT_STORAGE]", "Success"]
    assert "com.example.other" in [line["package"] for line in phone.log("uninstall")]
    assert "rm -rf /data/local/tmp/*" in phone.commands()


async def test_a_device_that_stays_full_is_put_aside_with_the_reason(devices: Lab, phone: FakePhone, apk: str) -> None:
    phone.behave(refuses="INSTALL_FAILED_INSUFFICIENT_STORAGE")
    async with running(devices, serials=[phone.serial]) as stage:
        error = (await stage.outcome(app=apk)).error
        slot = stage.slot(phone.serial)
        again = (await stage.outcome(app=apk)).error
    assert error.type == again.type == "infra"
    assert slot.state == "held"
    assert "quarantined" in slot.reason
    assert "is full" in slot.reason
    assert f"hpcq devices ready {phone.serial}" in slot.reason
    assert len(installs(phone)) == 2, "nothing runs on a device that was put aside"


@pytest.mark.parametrize("code", THE_USERS)
async def test_a_build_that_no_such_device_takes_is_the_jobs_fault(
    devices: Lab, phone: FakePhone, apk: str, code: str
) -> None:
    phone.behave(refuses=f"{code}: some words of Android's")
    async with running(devices, serials=[phone.serial]) as stage:
        first, second = (await stage.outcome(app=apk)).error, (await stage.outcome(app=apk)).error
        state = stage.state(phone.serial)
    assert first.type == second.type == "rejected"
    assert f"{code}: some words of Android's" in first.message
    assert len(installs(phone)) == 1, "the device has said no once"
    assert state == "ready"


async def test_what_is_no_build_at_all_is_refused_by_the_device(devices: Lab, phone: FakePhone, tmp_path: Path) -> None:
    (tmp_path / "notes.apk").write_text("not a zip")
    async with running(devices, serials=[phone.serial]) as stage:
        error = (await stage.outcome(app=str(tmp_path / "notes.apk"))).error
        missing = (await stage.outcome(app=str(tmp_path / "nowhere.apk"))).error
    assert error.type == missing.type == "rejected"
    assert "INSTALL_PARSE_FAILED_NOT_APK" in error.message
    assert "cannot be read: No such file" in missing.message


async def test_a_refusal_that_nobody_has_heard_of_is_the_devices(devices: Lab, phone: FakePhone, apk: str) -> None:
    phone.behave(refuses="INSTALL_FAILED_INTERNAL_ERROR: Session failed")
    async with running(devices, serials=[phone.serial]) as stage:
        error = (await stage.outcome(app=apk)).error
    assert error.type == "infra"
    assert "INSTALL_FAILED_INTERNAL_ERROR: Session failed" in error.message


async def test_the_apps_data_is_cleared_when_a_job_asks_for_it(devices: Lab, phone: FakePhone, apk: str) -> None:
    async with running(devices, serials=[phone.serial]) as stage:
        await stage.outcome("adb shell echo first", app=apk)
        await stage.outcome("adb shell echo second", app=apk, clear_data=True)
        nothing = await stage.outcome(app_version_id="only-a-label", clear_data=True)
    lines = [line["what"] if line["what"] != "command" else line["line"] for line in phone.log()]
    assert lines.index("echo first") < lines.index("clear") < lines.index("echo second")
    assert lines.count("clear") == 2
    assert nothing.error is None, "the build that is there is the one that is meant"
