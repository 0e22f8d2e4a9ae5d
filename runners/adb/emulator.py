"""Emulators that the queue boots itself: an AVD's labels, booting within a budget, and an end that is one."""

import asyncio
import contextlib
import os
import re
from collections.abc import Callable
from pathlib import Path

from hpcq.plugin import Context, Infra, Process
from hpcq_runners.adb.client import Adb, AdbFailed
from hpcq_runners.adb.device import Device
from hpcq_runners.adb.ports import is_free
from hpcq_runners.adb.settings import AdbSettings

POLL_S = 0.5
LOOK_S = 5.0  # for one question to a device that may not have booted
KILL_S = 20.0  # for an emulator to go after `emu kill`
CLOSE_KILL_S = 8.0  # the same when the queue closes, for which it has 30 s in all
TERM_S = 5.0  # and after SIGTERM
ANIMATIONS = ("window_animation_scale", "transition_animation_scale", "animator_duration_scale")
UNLOCK = "input keyevent 82"
LAST_WORDS = 500  # characters of an emulator's log


class BootFailed(Infra):
    """The device did not come up within its budget."""


class Emulators:
    """Boots and ends the emulators of one queue."""

    def __init__(
        self,
        adb: Adb,
        program: Path,
        context: Context,
        taken: Callable[[str], bool],
        left: Callable[[str], None],
    ) -> None:
        """`taken`: takes a serial for a device of ours; False: another queue has it. `left`: gives it back."""
        self._adb = adb
        self._program = program
        self._context = context
        self._taken = taken
        self._left = left
        self._settings: AdbSettings = context.settings
        self._ports: dict[Device, int] = {}

    def log(self, device: Device) -> Path:
        """What its emulator prints."""
        return self._context.data_dir / f"emulator-{device.name}.log"

    async def boot(self, device: Device, *, wipe: bool = False) -> None:
        """Start it and wait until Android is up. Raises BootFailed; whatever came up then is ended."""
        assert device.avd is not None
        port = self._ports[device] = self._free_port()
        device.serial = f"emulator-{port}"
        if not device.clone:
            remove_locks(device.avd)
        self.log(device).unlink(missing_ok=True)
        env = ["/usr/bin/env", f"ANDROID_ADB_SERVER_PORT={self._settings.port}"]
        home = [f"ANDROID_HOME={self._settings.home}"] if self._settings.home else []
        argv = [*env, *home, str(self._program), "-avd", device.avd, "-port", str(port), "-no-snapshot-save"]
        argv += ["-no-snapshot-load"] if wipe else []
        argv += ["-wipe-data"] if wipe else []
        argv += ["-read-only"] if device.clone else []
        argv += self._settings.emulator_args
        try:
            device.emulator = await self._context.spawn(argv, output=self.log(device))
        except BaseException:
            self._leave_port(device)
            raise
        try:
            await self._until_up(device, device.emulator)
        except BaseException as error:
            kill_s = KILL_S if isinstance(error, Infra) else CLOSE_KILL_S
            await asyncio.shield(self.end(device, kill_s))
            raise

    async def _until_up(self, device: Device, process: Process) -> None:
        ended = asyncio.ensure_future(process.wait())
        up = asyncio.ensure_future(booted(self._adb, device, self._settings.boot_timeout_s))
        try:
            await asyncio.wait({ended, up}, return_when=asyncio.FIRST_COMPLETED)
            if not up.done():
                raise BootFailed(f"the emulator of {device.name} ended while it booted: {self._last_words(device)}")
            await up
        finally:
            ended.cancel()
            up.cancel()
            await asyncio.gather(ended, up, return_exceptions=True)

    def _last_words(self, device: Device) -> str:
        with contextlib.suppress(OSError):
            text = self.log(device).read_text(errors="replace").strip()
            return text[-LAST_WORDS:] or "it said nothing"
        return "it said nothing"

    def _free_port(self) -> int:
        """An even port that nobody listens on, and the next; real emulators want such. Raises Infra."""
        first, last = self._settings.emulator_ports
        for port in range(first + first % 2, last + 1, 2):
            free = port not in self._ports.values() and is_free(port) and is_free(port + 1)
            if free and self._taken(f"emulator-{port}"):
                return port
        raise Infra(f"no free port for an emulator from {first} to {last}: see emulator_ports in the queue's config")

    async def end(self, device: Device, kill_s: float) -> None:
        """By its console, then SIGTERM, then SIGKILL to its tree; then nothing of it is left, locks included."""
        process, device.emulator = device.emulator, None
        if process is None:
            return
        ended = asyncio.ensure_future(process.wait())
        try:
            with contextlib.suppress(Infra):
                await self._adb.run("emu", "kill", serial=device.serial, limit_s=LOOK_S)
                await asyncio.wait({ended}, timeout=kill_s)
            if not ended.done():
                self._context.log.warning("queue %s: %s does not end by itself", self._context.queue, device.name)
        finally:
            ended.cancel()
            await asyncio.shield(process.terminate(TERM_S))
            self._leave_port(device)
            if not device.clone and device.avd:
                remove_locks(device.avd)

    def _leave_port(self, device: Device) -> None:
        if (port := self._ports.pop(device, None)) is not None:
            self._left(f"emulator-{port}")

    async def names(self) -> list[str]:
        """The AVDs that there are. Raises Infra."""
        output = self._context.data_dir / "avds.out"
        output.unlink(missing_ok=True)
        process = await self._context.spawn([str(self._program), "-list-avds"], output=output)
        try:
            async with asyncio.timeout(LOOK_S * 2):
                await process.wait()
        except TimeoutError:
            await process.terminate(0.0)
            raise Infra(f"`{self._program} -list-avds` does not answer") from None
        lines = output.read_text(errors="replace").splitlines()
        return [line.strip() for line in lines if re.fullmatch(r"[\w.-]+", line.strip())]


async def booted(adb: Adb, device: Device, budget_s: float) -> None:
    """Wait until Android is up, and all that a test needs of it. Raises BootFailed."""
    state = "adb does not see it"
    try:
        async with asyncio.timeout(budget_s):
            while True:
                if device.online.is_set():
                    state = await _missing(adb, device)
                    if not state:
                        return
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        raise BootFailed(f"{device.name} has not booted within {budget_s:g} s: {state}") from None


async def _missing(adb: Adb, device: Device) -> str:
    """What is not up yet; empty when all is."""
    assert device.serial is not None
    try:
        if (await adb.shell(device.serial, "getprop sys.boot_completed", LOOK_S)).text.strip() != "1":
            return "sys.boot_completed is not 1"
        if (await adb.shell(device.serial, "getprop init.svc.bootanim", LOOK_S)).text.strip() == "running":
            return "the boot animation runs"
        if not (await adb.shell(device.serial, "pm path android", LOOK_S)).good:
            return "the package manager does not answer"
    except AdbFailed as error:
        return str(error)
    return ""


async def settle(adb: Adb, device: Device, *, animations: bool) -> None:
    """What is done once after a boot: no animations, no lock screen. Raises Infra."""
    assert device.serial is not None
    if not animations:
        lines = "; ".join(f"settings put global {name} 0" for name in ANIMATIONS)
        await adb.shell(device.serial, lines)
    await adb.shell(device.serial, UNLOCK)


def avd_home() -> Path:
    """Where AVDs are, as the emulator looks for them."""
    if home := os.environ.get("ANDROID_AVD_HOME"):
        return Path(home)
    user = os.environ.get("ANDROID_USER_HOME") or str(Path.home() / ".android")
    return Path(user) / "avd"


def _pairs(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition("=") for line in lines)}


def avd_folder(name: str) -> Path:
    """Where an AVD's files are."""
    said = _pairs(avd_home() / f"{name}.ini").get("path")
    return Path(said) if said else avd_home() / f"{name}.avd"


def avd_facts(name: str) -> dict[str, str]:
    """Labels of an AVD that has not booted yet, from its config."""
    config = _pairs(avd_folder(name) / "config.ini")
    api = re.search(r"android-(\d+)", config.get("image.sysdir.1", ""))
    found = {"model": config.get("hw.device.name", ""), "api": api[1] if api else "", "abi": config.get("abi.type", "")}
    return {label: value for label, value in found.items() if value}


def remove_locks(name: str) -> None:
    """What a killed emulator leaves behind, on which the next one would stumble; not that of one that lives."""
    for lock in avd_folder(name).glob("*.lock"):
        with contextlib.suppress(OSError):
            holder = _holder(lock)
            if holder is None or not Path(f"/proc/{holder}").exists():
                _remove(lock)


def _holder(lock: Path) -> int | None:
    """The pid in a lock: in a file, or in the file `pid` of a folder."""
    file = lock / "pid" if lock.is_dir() else lock
    text = file.read_text(errors="replace").strip("\0 \n") if file.is_file() else ""
    return int(text) if text.isdecimal() else None


def _remove(lock: Path) -> None:
    if lock.is_dir():
        for file in lock.iterdir():
            file.unlink()
        lock.rmdir()
    else:
        lock.unlink()
