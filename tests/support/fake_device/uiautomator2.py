"""The server that Appium's UiAutomator2 driver puts on a device: HTTP on its port 6790, while it is instrumented.

The screen shows the texts that behaviour.json has as `screen`. A button cannot be missed: `tap` in the log.
"""

import json
import re
import secrets
from collections.abc import Callable
from typing import Any

from tests.support.fake_device.wire import Stream

PORT = 6790
PACKAGE = "io.appium.uiautomator2.server"
INSTRUMENTATION = f"{PACKAGE}.test/androidx.test.runner.AndroidJUnitRunner"
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # as WebDriver names a reference to one
SELECTOR = re.compile(r'text(?P<part>Contains)?\("(?P<text>.*?)"\)')
SIZE = {"width": 1080, "height": 2400}
INFO = {
    "androidId": "0", "apiVersion": "34", "platformVersion": "14", "manufacturer": "fake", "model": "fake",
    "realDisplaySize": "1080x2400", "displayDensity": 420,
}  # fmt: skip


class NoSuchElement(Exception):
    """Not on the screen."""


class UiAutomator2:
    """Of one device."""

    def __init__(self, screen: Callable[[], list[str]], log: Callable[..., None]) -> None:
        self._screen = screen
        self._log = log
        self._sessions: dict[str, dict[str, Any]] = {}
        self._elements: dict[str, str] = {}  # their texts

    async def serve(self, stream: Stream) -> None:
        """One connection. Raises ConnectionError at its end."""
        while True:
            head = (await stream.read_until(b"\r\n\r\n")).decode()
            method, path, _ = head.split(" ", 2)
            size = re.search(r"^content-length: *(\d+)", head, re.IGNORECASE | re.MULTILINE)
            body = await stream.read(int(size[1])) if size else b""
            status, value = self._answer(method, path, json.loads(body or b"{}"))
            said = json.dumps(value).encode()
            kind = "Content-Type: application/json; charset=utf-8"
            await stream.write(f"HTTP/1.1 {status} -\r\n{kind}\r\nContent-Length: {len(said)}\r\n\r\n".encode() + said)

    def end(self) -> None:
        """It is instrumented no more."""
        self._sessions.clear()

    def _answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        words = path.removeprefix("/wd/hub").strip("/").split("/")
        self._log("uiautomator2", method=method, path=path)
        try:
            if words[0] != "session":
                return 200, {"value": [{"id": name} for name in self._sessions] if words[0] == "sessions" else {}}
            if len(words) == 1:
                return 200, self._begin(body)
            if words[1] not in self._sessions:
                return 404, _error("invalid session id", words[1])
            return 200, {"sessionId": words[1], "value": self._of_session(method, words[1:], body)}
        except NoSuchElement as error:
            return 404, _error("no such element", str(error))

    def _begin(self, body: dict[str, Any]) -> dict[str, Any]:
        (wanted,) = body["capabilities"]["firstMatch"]
        name = secrets.token_hex(16)
        self._sessions[name] = wanted
        self._log("session", capabilities=wanted)
        return {"sessionId": name, "value": {"sessionId": name, "capabilities": {}}}

    def _of_session(self, method: str, words: list[str], body: dict[str, Any]) -> Any:
        match words[1:]:
            case [] if method == "DELETE":
                del self._sessions[words[0]]
                self._log("session ended")
            case ["element"]:
                return self._found(body["selector"])[0]
            case ["elements"]:
                try:
                    return self._found(body["selector"])
                except NoSuchElement:
                    return []
            case ["element", name, "click"]:
                self._log("tap", text=self._text(name))
            case ["element", name, "text"]:
                return self._text(name)
            case ["element", name, "attribute", "displayed"]:
                return "true" if self._text(name) in self._screen() else "false"
            case ["window", *_]:
                return SIZE
            case ["appium", "device", "pixel_ratio"]:
                return 2.625
            case ["appium", "device", "system_bars"]:
                return {"statusBar": 63}
            case ["appium", "device", "info"]:
                return INFO
        return None

    def _found(self, selector: str) -> list[dict[str, str]]:
        asked = SELECTOR.search(selector)
        assert asked is not None, f"the fake screen has no way to find {selector}"
        texts = [text for text in self._screen() if asked["text"] == text or (asked["part"] and asked["text"] in text)]
        if not texts:
            raise NoSuchElement(selector)
        names = {secrets.token_hex(8): text for text in texts}
        self._elements.update(names)
        return [{"ELEMENT": name, ELEMENT: name} for name in names]

    def _text(self, name: str) -> str:
        if name not in self._elements:
            raise NoSuchElement(name)
        return self._elements[name]


def _error(kind: str, message: str) -> dict[str, Any]:
    return {"value": {"error": kind, "message": message, "stacktrace": ""}}
