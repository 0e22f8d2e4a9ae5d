"""Fake devices for a test: phones to connect to, an SDK with AVDs, and the real adb on a port of the test's own."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.support.sources import ROOT
from tests.support.wait import wait_until_blocking

ENTRY = """#!{python}
import sys
sys.path.insert(0, {root!r})
from tests.support.fake_device.emulator import main
sys.exit(main(sys.argv[1:]))
"""


def adb_binary() -> Path:
    """The real adb, out of the adbutils wheel."""
    found = find_spec("adbutils")
    assert found is not None, "pip install -e '.[test]' brings adbutils, and adb with it"
    assert found.origin is not None
    return Path(found.origin).parent / "binaries" / "adb"


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def free_even_pair() -> int:
    """An even port of which the next is free too, for an emulator; far from those that adb servers scan."""
    for _ in range(200):
        port = free_port() & ~1
        with socket.socket() as first, socket.socket() as second:
            try:
                first.bind(("127.0.0.1", port))
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
    raise AssertionError("no two free ports in a row")


class Folder:
    """A device's folder, from outside."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def behave(self, **behaviour: Any) -> None:
        """Behave so from now on."""
        new = self.folder / "behaviour.new"
        new.write_text(json.dumps(behaviour))
        new.rename(self.folder / "behaviour.json")

    def log(self, what: str | None = None) -> list[dict[str, Any]]:
        """What it was asked and did, oldest first."""
        file = self.folder / "log.ndjson"
        lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        return [line for line in lines if what is None or line["what"] == what]

    def commands(self) -> list[str]:
        """The shell commands that it was given."""
        return [line["line"] for line in self.log("command")]


class FakePhone(Folder):
    """A phone that can be connected to over TCP: its serial is `127.0.0.1:PORT`."""

    def __init__(self, folder: Path, **behaviour: Any) -> None:
        super().__init__(folder)
        self.behave(**behaviour)
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.on()

    @property
    def serial(self) -> str:
        return f"127.0.0.1:{self.port}"

    def on(self) -> None:
        """Switch it on; again on the port it had."""
        (self.folder / "port").unlink(missing_ok=True)
        module = "tests.support.fake_device.daemon"
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, str(self.folder), "--port", str(self.port)], cwd=ROOT
        )
        wait_until_blocking((self.folder / "port").exists, 20, "the fake device")
        self.port = int((self.folder / "port").read_text())

    def off(self) -> None:
        """Switch it off."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class FakeSdk:
    """$ANDROID_HOME with an emulator, and AVDs."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "sdk"
        self.avds = folder / "avd"
        program = self.home / "emulator" / "emulator"
        program.parent.mkdir(parents=True)
        self.avds.mkdir()
        program.write_text(ENTRY.format(python=sys.executable, root=str(ROOT)))
        program.chmod(0o755)
        tools = self.home / "platform-tools"
        tools.mkdir()
        (folder / "home").mkdir()
        self.adb = tools / "adb"  # the real one; its keys are not the user's
        self.adb.write_text(f'#!/bin/sh\nHOME={folder}/home exec {adb_binary()} "$@"\n')
        self.adb.chmod(0o755)

    def avd(self, name: str, **behaviour: Any) -> Folder:
        """Make an AVD."""
        folder = Folder(self.avds / f"{name}.avd")
        folder.behave(emulator=True, **behaviour)
        (self.avds / f"{name}.ini").write_text(f"avd.ini.encoding=UTF-8\npath={folder.folder}\ntarget=android-34\n")
        (folder.folder / "config.ini").write_text(
            "abi.type = x86_64\nhw.device.name=pixel_7\nimage.sysdir.1=system-images/android-34/google_apis/x86_64/\n"
        )
        return folder


@contextmanager
def lab(folder: Path) -> Iterator["Lab"]:
    """Devices, switched off at the end; the adb server on `port` too, whoever started it."""
    built = Lab(folder)
    kept = {name: os.environ.get(name) for name in built.env}
    os.environ.update(built.env)
    try:
        yield built
    finally:
        for phone in built.phones:
            phone.off()
        if built.server_answers():
            built.adb("kill-server")
        for name, value in kept.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


class Lab:
    """The devices of one test, and the real adb."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.sdk = FakeSdk(folder)
        self.phones: list[FakePhone] = []
        self.env = {
            "ADB_MDNS": "0",  # loopback only
            "ADB_USB": "0",  # what is plugged in here is none of a test's business
            "ADB_LOCAL_TRANSPORT_MAX_PORT": "5553",  # no other test's emulators are looked for
            "ANDROID_ADB_SERVER_PORT": str(self.port),
            "ANDROID_AVD_HOME": str(self.sdk.avds),
            "ANDROID_ADB_LOG_PATH": str(folder / "adb.log"),
        }

    def phone(self, **behaviour: Any) -> FakePhone:
        """A phone that is on."""
        phone = FakePhone(self.folder / f"phone-{len(self.phones) + 1}", **behaviour)
        self.phones.append(phone)
        return phone

    def settings(self, **more: Any) -> dict[str, Any]:
        """The settings of a queue of these devices."""
        first = free_even_pair()
        return {
            "android_home": str(self.sdk.home),
            "adb_port": self.port,
            "emulator_ports": [first, first + 8],
            **more,
        }

    def adb(self, *words: str, timeout_s: float = 20.0) -> str:
        """What the real adb says to this."""
        done = subprocess.run(
            [self.sdk.adb, "-P", str(self.port), *words], capture_output=True, text=True, timeout=timeout_s, check=False
        )
        return done.stdout + done.stderr

    def server_answers(self) -> bool:
        """There is an adb server on our port."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
