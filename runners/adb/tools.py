"""Where adb and the emulator are, and what to do when they are nowhere."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from hpcq_runners.adb.settings import AdbSettings

NO_ADB = (
    "adb was not found in {places}: `apt install adb`, or `sdkmanager platform-tools` and ANDROID_HOME=/path/to/sdk, "
    "or its path as `adb` in the queue's config; then restart the server"
)
NO_EMULATOR = (
    "the config names AVDs, but the emulator was not found in {places}: `sdkmanager emulator`, and "
    "ANDROID_HOME=/path/to/sdk or `android_home` in the queue's config; then restart the server"
)


@dataclass(frozen=True, slots=True)
class Tools:
    """The programs of a queue; `missing` says what is not there and what mends it."""

    adb: Path | None
    emulator: Path | None
    missing: str


def find(settings: AdbSettings) -> Tools:
    """What the settings name, then the SDK, then the PATH."""
    home = settings.home
    adb = _runnable(settings.adb) if settings.adb else _search(home, "platform-tools", "adb")
    emulator = _search(home, "emulator", "emulator")
    missing = ""
    if adb is None:
        where = str(settings.adb) if settings.adb else _places(home, "platform-tools")
        missing = NO_ADB.format(places=where)
    elif settings.avds and emulator is None:
        missing = NO_EMULATOR.format(places=_places(home, "emulator"))
    return Tools(adb, emulator, missing)


def _search(home: Path | None, folder: str, name: str) -> Path | None:
    there = _runnable(home / folder / name) if home else None
    on_path = shutil.which(name)
    return there or (Path(on_path) if on_path else None)


def _runnable(path: Path) -> Path | None:
    return path if path.is_file() and os.access(path, os.X_OK) else None


def _places(home: Path | None, folder: str) -> str:
    return f"{home / folder} and the PATH" if home else "the PATH (ANDROID_HOME is not set)"
