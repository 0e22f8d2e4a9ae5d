"""Puts builds on devices: each once, and what each of Android's refusals means.

An installation is remembered with the path that Android gave it, which is another one after every installation; so one
look at the path says whether what is there is still ours.
"""

import re
import tempfile
from pathlib import Path, PurePosixPath

from hpcq.plugin import Context, Infra, Rejected
from hpcq_runners.adb.builds import Build
from hpcq_runners.adb.client import Adb, Answer
from hpcq_runners.adb.device import Device, Installed
from hpcq_runners.adb.kept import keep
from hpcq_runners.adb.settings import AdbSettings

CODE = re.compile(r"(INSTALL_[A-Z_]+)(?::\s*([^\]\n]*))?")
PACKAGE = re.compile(r"(?:[Pp]ackage |Existing package )([A-Za-z][\w.]+\.[\w.]+)")
IN_THE_WAY = (  # an older or another build: uninstall it, and try once more
    "INSTALL_FAILED_UPDATE_INCOMPATIBLE",
    "INSTALL_FAILED_ALREADY_EXISTS",
    "INSTALL_FAILED_VERSION_DOWNGRADE",
    "INSTALL_FAILED_SHARED_USER_INCOMPATIBLE",
)
NO_ROOM = "INSTALL_FAILED_INSUFFICIENT_STORAGE"
BAD_BUILD = (  # no device of this kind will ever take it
    "INSTALL_PARSE_FAILED_",
    "INSTALL_FAILED_NO_MATCHING_ABIS",
    "INSTALL_FAILED_CPU_ABI_INCOMPATIBLE",
    "INSTALL_FAILED_OLDER_SDK",
    "INSTALL_FAILED_NEWER_SDK",
    "INSTALL_FAILED_INVALID_APK",
    "INSTALL_FAILED_MISSING_SHARED_LIBRARY",
    "INSTALL_FAILED_MISSING_SPLIT",
    "INSTALL_FAILED_DEPRECATED_SDK_VERSION",
)
FLAGS = ("-r", "-t", "-g")  # replace, test builds too, grant all permissions
CLEAN_S = 30.0
REMEMBERED = 50  # builds of a device


class NoRoom(Infra):
    """The device stays full whatever is removed: somebody has to look at it."""


class Installer:
    """Of one queue. What is installed is kept over restarts, by the device's name."""

    def __init__(self, adb: Adb, context: Context) -> None:
        self._adb = adb
        self._context = context
        self._settings: AdbSettings = context.settings

    async def recall(self, device: Device) -> None:
        """What was installed there in an earlier life; it is looked at before it counts."""
        kept = await self._context.state.get(f"installed {device.name}")
        for one in kept if isinstance(kept, list) else ():
            device.installed = device.packages[one["package"]] = Installed(**one)

    async def ensure(self, device: Device, build: Build) -> bool:
        """The build is on the device; whether it had to be installed. Raises Rejected, Infra."""
        if build.sha256 in device.unfit:
            raise Rejected(device.unfit[build.sha256])
        if await self._is_there(device, build):
            return False
        await self._install(device, build)
        path = await self._path(device, build.package) if build.package else None
        device.installed = Installed(build.package or "", build.sha256, build.version, path or "")
        if build.package:
            device.packages[build.package] = device.installed
            kept = list(device.packages.values())[-REMEMBERED:]
            await keep(self._context, f"installed {device.name}", [one.as_json() for one in kept])
        return True

    async def clear(self, device: Device, package: str) -> None:
        """Take the app's data away. Raises Infra."""
        answer = await self._shell(device, f"pm clear {package}")
        if not answer.good or "Success" not in answer.text:
            raise Infra(f"`pm clear {package}` on {device.name}: {answer.last}")

    async def _is_there(self, device: Device, build: Build) -> bool:
        installed = device.packages.get(build.package or "")
        if installed is None or installed.sha256 != build.sha256 or not installed.path:
            return False
        if await self._path(device, installed.package) != installed.path:
            return False
        device.installed = installed
        return True

    async def _path(self, device: Device, package: str) -> str | None:
        answer = await self._shell(device, f"pm path {package}")
        lines = [line.removeprefix("package:").strip() for line in answer.text.splitlines() if "package:" in line]
        base = [line for line in lines if PurePosixPath(line).name == "base.apk"]
        return next(iter(base or lines), None) if answer.good else None

    async def _install(self, device: Device, build: Build) -> None:
        answer = await self._try(device, build)
        code = _code(answer)
        if code in IN_THE_WAY:
            await self._uninstall(device, build.package or _named(answer))
            answer = await self._try(device, build)
        elif code == NO_ROOM:
            await self._make_room(device, build)
            answer = await self._try(device, build)
            if _code(answer) == NO_ROOM:
                raise NoRoom(f"{device.name} is full, also without the builds that were installed on it: {answer.last}")
        if answer.good and "Success" in answer.text:
            return
        code = _code(answer)
        if code is not None and code.startswith(BAD_BUILD):
            why = f"{build.path.name} cannot be installed on {device.name}: {_sentence(answer)}"
            device.unfit[build.sha256] = why
            while len(device.unfit) > REMEMBERED:
                del device.unfit[next(iter(device.unfit))]
            raise Rejected(why)
        raise Infra(f"installing {build.path.name} on {device.name} failed: {_sentence(answer)}")

    async def _try(self, device: Device, build: Build) -> Answer:
        assert device.serial is not None
        with tempfile.TemporaryDirectory(dir=self._context.data_dir, prefix="install-") as folder:
            path = build.path if build.path.suffix == ".apk" else Path(folder, f"{build.sha256[:16]}.apk")
            if path != build.path:  # an upload has no such name, and adb takes no other
                path.symlink_to(build.path)
            words = ("install", *FLAGS, str(path))
            return await self._adb.run(*words, serial=device.serial, limit_s=self._settings.install_timeout_s)

    async def _make_room(self, device: Device, build: Build) -> None:
        """What we put there goes, and what others left in the place for temporary files."""
        for package in {*device.packages, build.package or ""} - {""}:
            await self._uninstall(device, package)
        await self._shell(device, "rm -rf /data/local/tmp/*", CLEAN_S)

    async def _uninstall(self, device: Device, package: str | None) -> None:
        if not package:
            return
        device.packages.pop(package, None)
        await self._adb.run("uninstall", package, serial=device.serial, limit_s=CLEAN_S)

    async def _shell(self, device: Device, command: str, limit_s: float = 15.0) -> Answer:
        assert device.serial is not None
        return await self._adb.shell(device.serial, command, limit_s)


def _code(answer: Answer) -> str | None:
    found = CODE.search(answer.text)
    return found[1] if found else None


def _sentence(answer: Answer) -> str:
    """Android's own words."""
    found = CODE.search(answer.text)
    return ": ".join(part for part in found.groups() if part) if found else answer.last


def _named(answer: Answer) -> str | None:
    """The package that a refusal speaks of."""
    found = PACKAGE.search(answer.text)
    return found[1] if found else None
