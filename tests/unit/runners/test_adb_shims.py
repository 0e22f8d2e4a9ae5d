"""What makes AppWright's own provider work beside another on one machine: an Appium port of one's own, and what goes
in front of npx, pkill and osascript."""

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from hpcq_runners.adb.run import PRELOAD, SHIMS
from tests.support.playwright import node
from tests.support.processes import is_alive, marker
from tests.support.wait import wait_until_blocking

ASK = """
const body = JSON.stringify({ capabilities: { alwaysMatch: { "appium:udid": "x", "appium:fullReset": true } } });
const options = { method: "POST", body, headers: { "content-type": "application/json" } };
fetch("http://127.0.0.1:4723/session", options).then((answer) => answer.text()).then(console.log);
"""
ASK_BY_HTTP = """
const http = require("node:http");
http.get({ host: "127.0.0.1", port: 4723, path: "/status" }, (answer) => answer.pipe(process.stdout));
"""


class Appium(http.server.BaseHTTPRequestHandler):
    """Answers what it was sent."""

    seen: ClassVar[list[Any]] = []

    def do_GET(self) -> None:
        self._answer(b"status")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append(json.loads(body))
        self._answer(b"session")

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: Any) -> None:
        """Nobody reads it."""


@pytest.fixture
def appium() -> Iterator[int]:
    Appium.seen.clear()
    server = http.server.HTTPServer(("127.0.0.1", 0), Appium)
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    serving.join()


def run(words: list[str], **env: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(words, env={**os.environ, **env}, capture_output=True, text=True, timeout=30, check=False)


def program(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)
    return folder


def asked(script: str, port: int, **env: str) -> str:
    env = {"ANDROID_ADB_SERVER_PORT": "5038", "HPCQ_APPIUM_PORT": str(port), **env}
    done = run([str(node()), "--require", str(PRELOAD), "-e", script], **env)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_one_port_that_appwright_knows_leads_to_the_attempts_own_appium(appium: int) -> None:
    assert asked(ASK_BY_HTTP, appium) == "status"
    assert asked(ASK, appium) == "session"


def test_the_app_is_not_uninstalled_after_each_test(appium: int) -> None:
    asked(ASK, appium)
    (sent,) = Appium.seen
    wanted = sent["capabilities"]["alwaysMatch"]
    assert (wanted["appium:udid"], wanted["appium:fullReset"]) == ("x", False)


@pytest.mark.parametrize("reset", ["true", "false"])
def test_appium_is_led_to_the_adb_server_of_the_queue(appium: int, reset: str) -> None:
    asked(ASK.replace("true", reset), appium, ANDROID_ADB_SERVER_PORT="5038")
    asked(ASK.replace('"x"', '"x", "appium:adbPort": 5039'), appium, ANDROID_ADB_SERVER_PORT="5038")
    ours, given = Appium.seen
    assert ours["capabilities"]["alwaysMatch"]["appium:adbPort"] == 5038
    assert given["capabilities"]["alwaysMatch"]["appium:adbPort"] == 5039, "whoever says it himself is heard"


def test_appium_is_led_to_the_device_and_the_port_of_the_attempt_and_leaves_the_adb_server_alone(appium: int) -> None:
    unnamed = ASK.replace('"appium:udid": "x"', '"appium:udid": undefined')
    asked(unnamed, appium, ANDROID_SERIAL="emulator-5560", HPCQ_SYSTEM_PORT="14999")
    asked(ASK, appium, ANDROID_SERIAL="emulator-5560")
    ours, given = (sent["capabilities"]["alwaysMatch"] for sent in Appium.seen)
    assert (ours["appium:udid"], ours["appium:systemPort"]) == ("emulator-5560", 14999)
    assert ours["appium:suppressKillServer"] is True
    assert given["appium:udid"] == "x", "whoever says it himself is heard"


def test_what_is_asked_of_others_is_not_changed(appium: int) -> None:
    asked(ASK.replace('"appium:udid": "x", "appium:fullReset": true', '"browserName": "x"'), appium, ANDROID_SERIAL="y")
    assert Appium.seen == [{"capabilities": {"alwaysMatch": {"browserName": "x"}}}]


def test_appiums_driver_is_not_installed_anew_and_appium_gets_its_port(tmp_path: Path) -> None:
    real = program(tmp_path / "bin", "npx", '#!/bin/sh\necho "real npx $*"\n')
    env = {"PATH": f"{SHIMS}:{real}:{os.environ['PATH']}", "HPCQ_APPIUM_PORT": "41234"}
    assert run(["npx", "appium", "driver", "install", "uiautomator2"], **env).stdout == ""
    assert run(["npx", "appium"], **env).stdout == "real npx appium --address 127.0.0.1 --port 41234\n"
    assert run(["npx", "playwright", "test"], **env).stdout == "real npx playwright test\n"


@pytest.fixture
def two() -> Iterator[dict[str, "subprocess.Popen[bytes]"]]:
    """What looks like an Appium on each of two ports. They end late."""
    wait = "import signal, sys, time; signal.signal(15, lambda *_: time.sleep(1) or sys.exit()); time.sleep(600)"
    words = [sys.executable, "-c", wait, "appium", "--address", "127.0.0.1", "--port"]
    both = {port: subprocess.Popen([*words, port, marker()]) for port in ("41235", "41236")}
    yield both
    for process in both.values():
        process.kill()
        process.wait()


def test_only_the_attempts_own_appium_is_ended(two: dict[str, "subprocess.Popen[bytes]"]) -> None:
    done = run(["sh", "-c", "pkill -f appium"], PATH=f"{SHIMS}:{os.environ['PATH']}", HPCQ_APPIUM_PORT="41235")
    assert done.returncode == 0, "or AppWright fails the test that has passed"
    wait_until_blocking(lambda: two["41235"].poll() is not None, 5)
    assert is_alive(two["41236"].pid)


def test_an_appium_that_a_test_has_left_ends_before_the_next_one_begins(
    tmp_path: Path, two: dict[str, "subprocess.Popen[bytes]"]
) -> None:
    real = program(tmp_path / "bin", "npx", "#!/bin/sh\npgrep -f 'sleep.600. appium .*--port 4123'\n")
    env = {"PATH": f"{SHIMS}:{real}:{os.environ['PATH']}", "HPCQ_APPIUM_PORT": "41235"}
    assert run(["npx", "appium"], **env).stdout.split() == [str(two["41236"].pid)]


def test_the_mac_is_not_asked_for_the_apps_name() -> None:
    env = {"PATH": f"{SHIMS}:{os.environ['PATH']}", "HPCQ_APP_PACKAGE": "com.example.app"}
    assert run(["osascript", "-e", 'id of app "app.apk"'], **env).stdout == "com.example.app\n"
