"""What is kept of an attempt on a device: its log all along, and after a failure a picture and a bug report."""

import contextlib
from pathlib import Path

from hpcq.plugin import Infra, Process, Request
from hpcq_runners.adb.client import Adb
from hpcq_runners.adb.device import Device
from hpcq_runners.adb.settings import AdbSettings

PNG = b"\x89PNG\r\n\x1a\n"
CLEAR_S = 5.0
SCREENSHOT_S = 10.0
HURRIED_S = 3.0  # when the attempt is being stopped


class Evidence:
    """Of one attempt, in `attempt-N/` among the job's artifacts."""

    def __init__(self, adb: Adb, device: Device, request: Request, settings: AdbSettings) -> None:
        assert device.serial is not None
        self._adb = adb
        self._serial = device.serial
        self._request = request
        self._settings = settings
        self._folder = request.artifacts_dir / f"attempt-{request.attempt}"
        self._logcat: Process | None = None

    async def begin(self) -> None:
        """Follow the device's log from here on. Raises Infra."""
        self._folder.mkdir(parents=True, exist_ok=True)
        await self._adb.run("logcat", "-c", serial=self._serial, limit_s=CLEAR_S)
        argv = self._adb.argv("logcat", "-v", "threadtime", serial=self._serial)
        self._logcat = await self._request.spawn(argv, output=self._folder / "logcat.txt")

    async def end(self) -> None:
        """The log is complete."""
        if self._logcat is not None:
            with contextlib.suppress(Infra):
                await self._logcat.terminate(0.0)

    async def after_failure(self, *, infra: bool) -> None:
        """A picture, and a bug report if the queue wants one."""
        await self.screenshot(SCREENSHOT_S)
        wanted = self._settings.bugreport
        if wanted == "failure" or (infra and wanted == "infra"):
            await self._bugreport()

    async def screenshot(self, limit_s: float = HURRIED_S) -> None:
        """What the screen shows; no file rather than one that is no picture."""
        path = self._folder / "screenshot.png"
        good = False
        try:
            with contextlib.suppress(Infra):
                good = await self._adb.save(self._serial, "screencap -p", path, limit_s, self._request.spawn)
        finally:
            if not good or not _is_png(path):
                path.unlink(missing_ok=True)

    async def _bugreport(self) -> None:
        path = self._folder / "bugreport.zip"
        good = False
        try:
            with contextlib.suppress(Infra):
                limit_s = self._settings.bugreport_timeout_s
                answer = await self._adb.run("bugreport", str(path), serial=self._serial, limit_s=limit_s)
                good = answer.good
        finally:
            if not good:
                path.unlink(missing_ok=True)


def _is_png(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(PNG)) == PNG
    except OSError:
        return False
