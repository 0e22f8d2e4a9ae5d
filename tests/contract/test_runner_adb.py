"""The adb runner takes the exam: real adb, a phone that is attached over TCP, and an emulator that it boots itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hpcq.plugin.testing import RunnerContract
from hpcq_runners.adb.runner import AdbRunner
from tests.support.fake_device.apk import make_apk
from tests.support.fake_device.lab import lab

LASTS = "echo '{\"done\": 1}' > $HPCQ_PROGRESS; sleep 600"


class TestOnAPhone(RunnerContract):
    runner = AdbRunner
    succeeds = {"command": "adb shell getprop ro.product.model; echo $ANDROID_SERIAL"}
    fails = {"command": ["false"]}
    lasts = {"command": LASTS}
    fails_with = "exit"
    prints = b"Pixel 7\n127.0.0.1:"
    leaves = ("attempt-1/logcat.txt",)
    reports = True

    @pytest.fixture(autouse=True)
    def _devices(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        with lab(tmp_path_factory.mktemp("lab")) as devices:
            phones = [devices.phone(), devices.phone()]
            self.settings = devices.settings(serials=[phone.serial for phone in phones])
            yield


class TestOnAnEmulator(RunnerContract):
    runner = AdbRunner
    fails = {"command": ["adb", "shell", "exit 7"]}
    lasts = {"command": LASTS}
    fails_with = "exit"
    reports = True

    @pytest.fixture(autouse=True)
    def _devices(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        folder: Path = tmp_path_factory.mktemp("lab")
        app, other = make_apk(folder / "app.apk"), make_apk(folder / "other.apk", "com.example.other")
        self.succeeds = {"command": ["adb", "shell", "pm path com.example.app"], "app": str(app)}
        self.other_session = {"command": ["adb", "shell", "pm path com.example.other"], "app": str(other)}
        with lab(folder) as devices:
            devices.sdk.avd("Pixel_7", boot_s=0.3)
            devices.sdk.avd("Tablet")
            self.settings = devices.settings(avds=["Pixel_7", "Tablet"])
            yield
