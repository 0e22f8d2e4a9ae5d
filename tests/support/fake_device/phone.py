"""What the device answers to shell commands. Its folder says how it behaves and keeps what it was asked:

behaviour.json   {"state": "device" | "offline" | "unauthorized", "boot_s": 0.5, "hang": ["getprop"], …}, read anew
log.ndjson       one line for each thing that it was asked or that it did
files/           its file system
"""

import asyncio
import contextlib
import json
import re
import shlex
import time
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.support.fake_device import files
from tests.support.fake_device.activity import Activity
from tests.support.fake_device.packages import Packages
from tests.support.fake_device.uiautomator2 import INSTRUMENTATION, PACKAGE, PORT, UiAutomator2
from tests.support.fake_device.wire import STDERR, Stream

Print = Callable[[bytes], Awaitable[None]]
QUIET = (
    "settings",
    "input",
    "wm",
    "svc",
    "cmd",
    "setprop",
    "locksettings",
    "appops",
    "dumpsys",
)  # all is well, they say
PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + b"\0" * 17 + b"\0\0\0\0IEND\xaeB`\x82"


class Phone:
    """A device that is on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "files"
        self.root.mkdir(parents=True, exist_ok=True)
        self.packages = Packages(folder)
        self.activity = Activity(UiAutomator2(lambda: list(self.behaviour.get("screen", ())), self.log))
        self.on_reboot: Callable[[], None] = lambda: None
        self._on_since = time.monotonic()
        self._reboots = 0

    @property
    def behaviour(self) -> dict[str, Any]:
        with contextlib.suppress(FileNotFoundError):
            return dict(json.loads((self.folder / "behaviour.json").read_text()))
        return {}

    def log(self, what: str, **more: object) -> None:
        """Keep a line of what it was asked, or did."""
        with (self.folder / "log.ndjson").open("a") as file:
            file.write(json.dumps({"what": what, "at": time.time(), **more}) + "\n")

    def greeting(self) -> bytes | None:
        behaviour = self.behaviour
        state = behaviour.get("state", "device")
        if state != "device":
            return b"" if state == "offline" else None
        model = behaviour.get("model", "Pixel 7")
        return f"device::ro.product.name=fake;ro.product.model={model};features=shell_v2,cmd".encode()

    @property
    def booted(self) -> bool:
        return time.monotonic() - self._on_since >= float(self.behaviour.get("boot_s", 0))

    def hangs(self, command: str) -> bool:
        behaviour = self.behaviour
        if self._reboots and behaviour.get("hang_until_reboot"):
            return False
        return any(command.startswith(prefix) for prefix in behaviour.get("hang", ()))

    async def serve(self, stream: Stream, service: str) -> None:
        """One service that the host has opened."""
        kind, _, rest = service.partition(":")
        name, *options = kind.split(",")
        if name in ("shell", "exec"):
            packets = "v2" in options
            code = await self._command(rest, stream, lambda data: stream.print(data, packets=packets))
            await stream.exit(code, packets=packets)
        elif name == "sync":
            await files.serve(stream, self.root)
        elif service == f"tcp:{PORT}":
            await self.activity.serve(stream)
        elif name == "reboot":
            self.log("reboot")
            self._reboots += 1
            self._on_since = time.monotonic()
            self.on_reboot()

    async def _command(self, line: str, stream: Stream, out: Print) -> int:
        line = re.sub(r"^export ANDROID_LOG_TAGS=.*?;\s*exec ", "", line)  # so comes `adb logcat`
        self.log("command", line=line)
        if self.hangs(line):
            await asyncio.Event().wait()
        words = shlex.split(line)
        for prefix, answer in ANSWERS.items():
            if words[: len(prefix)] == list(prefix):
                return await answer(self, words, stream, out)
        if words and words[0] in QUIET:
            return 0
        return await self._real(line, out)

    async def _real(self, line: str, out: Print) -> int:
        """Anything else: a real shell in the device's folder."""
        process = await asyncio.create_subprocess_exec(
            "/bin/sh", "-c", line, cwd=self.root, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        assert process.stdout is not None
        try:
            while data := await process.stdout.read(65536):
                await out(data)
            return await process.wait()
        finally:
            if process.returncode is None:
                process.kill()

    async def getprop(self, words: list[str], stream: Stream, out: Print) -> int:
        behaviour = self.behaviour
        known = {
            "ro.product.model": behaviour.get("model", "Pixel 7"),
            "ro.build.version.sdk": str(behaviour.get("api", 34)),
            "ro.build.version.release": "14",
            "ro.product.cpu.abi": behaviour.get("abi", "x86_64"),
            "ro.kernel.qemu": "1" if behaviour.get("emulator") else "",
            "sys.boot_completed": "1" if self.booted else "",
            "init.svc.bootanim": "stopped" if self.booted else "running",
        }
        if len(words) > 1:
            await out(f"{known.get(words[1], '')}\n".encode())
        else:
            await out("".join(f"[{name}]: [{value}]\n" for name, value in known.items()).encode())
        return 0

    async def install(self, words: list[str], stream: Stream, out: Print) -> int:
        size = int(words[words.index("-S") + 1])
        data = await stream.read(size)
        answer = self.packages.install(data, words, self.behaviour)
        self.log("install", answer=answer, sum=zlib.crc32(data))
        await out(f"{answer}\n".encode())
        return 0 if answer == "Success" else 1

    async def uninstall(self, words: list[str], stream: Stream, out: Print) -> int:
        answer = self.packages.uninstall(words[-1])
        self.log("uninstall", package=words[-1], answer=answer)
        await out(f"{answer}\n".encode())
        return 0 if answer == "Success" else 1

    async def path(self, words: list[str], stream: Stream, out: Print) -> int:
        if not self.booted:
            await out(b"cmd: Can't find service: package\n")
            return 20
        if words[-1] == "android":
            await out(b"package:/system/framework/framework-res.apk\n")
            return 0
        there = self.packages.installed.get(words[-1])
        if there:
            await out(f"package:{there['path']}\n".encode())
        return 0 if there else 1

    async def listed(self, words: list[str], stream: Stream, out: Print) -> int:
        await out("".join(f"package:{name}\n" for name in self.packages.installed).encode())
        return 0

    async def instrumentations(self, words: list[str], stream: Stream, out: Print) -> int:
        if f"{PACKAGE}.test" in self.packages.installed:
            await out(f"instrumentation:{INSTRUMENTATION} (target={PACKAGE})\n".encode())
        return 0

    async def package(self, words: list[str], stream: Stream, out: Print) -> int:
        await out(self.packages.dump(words[-1]).encode())
        return 0

    async def am(self, words: list[str], stream: Stream, out: Print) -> int:
        return await self.activity.am(words, out)

    async def services(self, words: list[str], stream: Stream, out: Print) -> int:
        return await self.activity.services(words, out)

    async def clear(self, words: list[str], stream: Stream, out: Print) -> int:
        there = words[-1] in self.packages.installed
        self.log("clear", package=words[-1])
        await out(b"Success\n" if there else b"Failed\n")
        return 0 if there else 1

    async def rm(self, words: list[str], stream: Stream, out: Print) -> int:
        self.packages.cleaned = True
        return 0

    async def logcat(self, words: list[str], stream: Stream, out: Print) -> int:
        if "-c" in words:
            return 0
        number = 0
        while True:
            await out(f"11-22 10:00:{number % 60:02}.000  1000  1000 I FakeDevice: line {number}\n".encode())
            number += 1
            await asyncio.sleep(0.05)

    async def screencap(self, words: list[str], stream: Stream, out: Print) -> int:
        await out(PNG)
        return 0

    async def bugreportz(self, words: list[str], stream: Stream, out: Print) -> int:
        if "-v" in words:
            await stream.print(b"1.1\n", packets=True, where=STDERR)
            return 0
        report = files.place(self.root, "/bugreports/report.zip")
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_bytes(b"PK\x05\x06" + b"\0" * 18)
        await out(b"BEGIN:/bugreports/report.zip\nPROGRESS:1/2\nOK:/bugreports/report.zip\n")
        return 0

    async def battery(self, words: list[str], stream: Stream, out: Print) -> int:
        await out(f"Current Battery Service state:\n  level: {self.behaviour.get('battery', 87)}\n".encode())
        return 0


ANSWERS: dict[tuple[str, ...], Callable[[Phone, list[str], Stream, Print], Awaitable[int]]] = {
    ("getprop",): Phone.getprop,
    ("cmd", "package", "install"): Phone.install,
    ("pm", "install"): Phone.install,
    ("cmd", "package", "uninstall"): Phone.uninstall,
    ("pm", "uninstall"): Phone.uninstall,
    ("pm", "path"): Phone.path,
    ("pm", "clear"): Phone.clear,
    ("pm", "list", "packages"): Phone.listed,
    ("cmd", "package", "list", "packages"): Phone.listed,
    ("pm", "list", "instrumentation"): Phone.instrumentations,
    ("dumpsys", "package"): Phone.package,
    ("am",): Phone.am,
    ("dumpsys", "activity", "services"): Phone.services,
    ("rm", "-rf"): Phone.rm,
    ("logcat",): Phone.logcat,
    ("screencap",): Phone.screencap,
    ("bugreportz",): Phone.bugreportz,
    ("dumpsys", "battery"): Phone.battery,
}
