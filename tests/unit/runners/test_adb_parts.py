"""The parts of the adb runner that need no device."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from hpcq_runners.adb import apk, claims, tools
from hpcq_runners.adb.builds import session_key
from hpcq_runners.adb.device import Device, facts_of
from hpcq_runners.adb.emulator import avd_facts, remove_locks
from hpcq_runners.adb.params import AdbParams, DeviceCommand, DeviceTests
from hpcq_runners.adb.settings import AdbSettings
from tests.support.fake_device.apk import make_apk

PARAMS: TypeAdapter[Any] = TypeAdapter(AdbParams)
SUM = "a" * 64


@pytest.mark.parametrize("utf8", [False, True])
def test_a_build_says_its_package_and_version(tmp_path: Path, utf8: bool) -> None:
    about = apk.read(make_apk(tmp_path / "app.apk", "com.example.app", version_code=7, utf8=utf8))
    assert (about.package, about.version) == ("com.example.app", "7.0")


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x05\x06" + b"\0" * 18])
def test_what_is_no_build_is_told_apart(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "app.apk").write_bytes(content)
    with pytest.raises(apk.BadBuild):
        apk.read(tmp_path / "app.apk")


@pytest.mark.parametrize("cut", range(0, 200, 7))
def test_a_manifest_that_is_cut_off_is_no_build(tmp_path: Path, cut: int) -> None:
    import zipfile

    from tests.support.fake_device.apk import manifest

    whole = manifest("com.example.app", "1.0", utf8=False)
    with zipfile.ZipFile(tmp_path / "app.apk", "w") as archive:
        archive.writestr("AndroidManifest.xml", whole[: min(cut, len(whole) - 1)])
    with pytest.raises(apk.BadBuild):
        apk.read(tmp_path / "app.apk")


def test_jobs_of_one_build_have_one_session_key() -> None:
    def key(**params: Any) -> str:
        return session_key(PARAMS.validate_python({"command": "true", **params}))

    assert key(app={"blob": SUM}) == key(app={"blob": SUM}, app_version_id="xyz123") == f"build:{SUM}"
    assert key(app_version_id="xyz123") == "build:xyz123"
    assert key(app="/builds/app.apk") == "build:/builds/app.apk"
    assert key() == "build:"


def test_a_device_takes_commands_and_tests() -> None:
    command = PARAMS.validate_python({"command": ["maestro", "test"], "clear_data": True})
    tests = PARAMS.validate_python({"test_path": "tests/a.spec.js", "app": {"blob": SUM}})
    assert isinstance(command, DeviceCommand)
    assert isinstance(tests, DeviceTests)


def test_a_wrong_build_is_named_by_its_place() -> None:
    with pytest.raises(ValidationError) as refused:
        PARAMS.validate_python({"command": "true", "app": {"blob": "short"}})
    assert refused.value.errors()[0]["loc"][-2:] == ("app", "blob")
    for app in (7, " "):
        with pytest.raises(ValidationError, match="the path of a build file"):
            PARAMS.validate_python({"command": "true", "app": app})


@pytest.mark.parametrize("form", [{"command": "true"}, {"test_path": "tests/a.spec.js"}])
@pytest.mark.parametrize("app", ["https://builds.example/app.apk", "bs://0123abcd", "HTTP://x/y.apk"])
def test_an_address_is_no_build_for_a_device_and_refused_at_submit(form: dict[str, Any], app: str) -> None:
    with pytest.raises(ValidationError) as refused:
        PARAMS.validate_python({**form, "app": app})
    (error,) = refused.value.errors()
    assert error["loc"][-1] == "app"
    assert "a device installs files" in error["msg"]


def test_labels_come_from_the_devices_properties() -> None:
    text = "[ro.product.model]: [Pixel 7]\n[ro.build.version.sdk]: [34]\n[ro.product.cpu.abi]: [arm64-v8a]\n"
    assert facts_of(text) == {"model": "Pixel 7", "api": "34", "abi": "arm64-v8a", "kind": "phone"}
    assert facts_of("[ro.kernel.qemu]: [1]\n")["kind"] == "emulator"


def test_a_device_is_held_while_adb_cannot_be_asked() -> None:
    device = Device("R58M", serial="R58M", state="ready")
    assert device.slot({}, "").state == "ready"
    held = device.slot({}, "the adb server is gone")
    assert (held.state, held.reason) == ("held", "the adb server is gone")


def test_an_avds_config_gives_its_labels_before_it_ever_boots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANDROID_AVD_HOME", str(tmp_path))
    (tmp_path / "Pixel_7.avd").mkdir()
    text = "abi.type = arm64-v8a\nhw.device.name=pixel_7\nimage.sysdir.1=system-images/android-35/google/arm64-v8a/\n"
    (tmp_path / "Pixel_7.avd" / "config.ini").write_text(text)
    assert avd_facts("Pixel_7") == {"model": "pixel_7", "api": "35", "abi": "arm64-v8a"}
    assert avd_facts("unknown") == {}


def test_locks_of_the_dead_are_removed_and_of_the_living_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANDROID_AVD_HOME", str(tmp_path))
    folder = tmp_path / "Pixel_7.avd"
    (folder / "hardware-qemu.ini.lock").mkdir(parents=True)
    (folder / "hardware-qemu.ini.lock" / "pid").write_text("4194305")
    (folder / "multiinstance.lock").write_text("")
    (folder / "snapshot.lock").write_text("1")
    remove_locks("Pixel_7")
    assert sorted(path.name for path in folder.iterdir()) == ["snapshot.lock"]


def test_a_device_that_another_queue_names_is_left_to_it() -> None:
    told: list[str] = []
    claims.listen("all", lambda: told.append("all"))
    try:
        assert claims.take("all", 1, "R58M")
        claims.take_away("lab", 1, "R58M")
        assert told == ["all"]
        assert not claims.take("all", 1, "R58M")
        assert claims.take("all", 2, "R58M"), "another adb server's device"
        claims.leave_all("lab")
        assert claims.take("all", 1, "R58M")
    finally:
        claims.leave_all("all")


def settings(**given: Any) -> AdbSettings:
    return AdbSettings.model_validate(given)


def test_tools_are_found_in_the_settings_then_the_sdk_then_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def program(*parts: str) -> Path:
        path = tmp_path.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o755)
        return path

    on_path, in_sdk, named = program("bin", "adb"), program("sdk", "platform-tools", "adb"), program("own", "adb")
    monkeypatch.setenv("PATH", str(on_path.parent))
    monkeypatch.delenv("ANDROID_HOME", raising=False)
    monkeypatch.delenv("ANDROID_SDK_ROOT", raising=False)
    assert tools.find(settings()).adb == on_path
    monkeypatch.setenv("ANDROID_HOME", str(tmp_path / "sdk"))
    assert tools.find(settings()).adb == in_sdk
    assert tools.find(settings(adb=named)).adb == named
    missing = tools.find(settings(adb=tmp_path / "nowhere")).missing
    assert str(tmp_path / "nowhere") in missing
    assert "apt install adb" in missing
    assert "sdkmanager emulator" in tools.find(settings(avds=["Pixel_7"])).missing


def test_the_adb_servers_port_is_the_settings_or_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANDROID_ADB_SERVER_PORT", raising=False)
    assert settings().port == 5037
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "5100")
    assert settings().port == 5100
    assert settings(adb_port=5200).port == 5200
