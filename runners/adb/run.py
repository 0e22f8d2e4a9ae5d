"""One attempt on a device: the device made ready, the build on it, the tests or the command, and what came of it."""

import asyncio
import contextlib
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpcq.plugin import Failure, Infra, Outcome, Rejected, Request
from hpcq_runners import command
from hpcq_runners.adb import appium, ports
from hpcq_runners.adb.builds import Build, Builds
from hpcq_runners.adb.device import Device
from hpcq_runners.adb.evidence import Evidence
from hpcq_runners.adb.fleet import Fleet
from hpcq_runners.adb.install import NoRoom
from hpcq_runners.adb.params import DeviceTests
from hpcq_runners.adb.recovery import Recovery
from hpcq_runners.appwright import run as appwright

HERE = Path(__file__).parent
SHIMS = HERE / "shims"
PRELOAD = HERE / "appium_port.cjs"
LOST_GRACE_S = 2.0  # for the work on a device that is gone
SPARE_S = 3.0  # before the deadline, the look at what a failure has left ends: the verdict must not come too late
Work = command.Command | appwright.TestRun


class Run:
    """The attempt. `outcome` goes on when whoever waits for it stops waiting; it may raise Rejected and Infra."""

    def __init__(self, fleet: Fleet, recovery: Recovery, builds: Builds, device: Device, request: Request) -> None:
        self._fleet = fleet
        self._recovery = recovery
        self._builds = builds
        self._device = device
        self._request = request
        self._work: Work | None = None
        self._evidence: Evidence | None = None
        self._looking: asyncio.Task[None] | None = None  # at what a failure has left
        self._ports: list[int] = []  # of its Appium, and of what leads that to the device
        self._wavered = False  # adb lost the device meanwhile, if only for a moment
        self._stopped: float | None = None  # the grace of the first stop
        self._setup: asyncio.Task[Work | Failure] = asyncio.create_task(self._set_up(), name=f"set up {request.key}")
        self.outcome: asyncio.Task[Outcome] = asyncio.create_task(self._see_through(), name=f"run {request.key}")

    async def stop(self, grace_s: float) -> None:
        """End it, and look at the screen meanwhile."""
        first = self._stopped is None
        self._stopped = grace_s if first else self._stopped
        if self._work is None:
            self._setup.cancel()
            await asyncio.wait({self._setup})
        elif not self._work.outcome.done():
            looks = [self._evidence.screenshot()] if first and self._evidence else []
            await asyncio.gather(self._work.stop(grace_s), *looks)
        elif self._looking is not None:
            self._looking.cancel()

    async def _see_through(self) -> Outcome:
        device = self._device
        device.jobs += 1
        try:
            outcome = await self._attempt()
        finally:
            if self._evidence is not None:
                await self._evidence.end()
            device.jobs -= 1
            self._recovery.released(device)
            await self._leave_ports()
        return outcome

    async def _attempt(self) -> Outcome:
        try:
            work = await self._setup
        except asyncio.CancelledError:
            if self._stopped is None:
                raise
            return Outcome(error=Failure("signal", "stopped before it began", signal=15))
        except Infra as error:
            await self._doubt(str(error))
            raise
        if isinstance(work, Failure):
            return Outcome(error=work)
        self._work = work
        if self._stopped is not None:  # while it began
            await work.stop(self._stopped)
        lost = asyncio.create_task(self._lost(), name=f"device of {self._request.key}")
        try:
            either: list[asyncio.Future[Any]] = [work.outcome, lost]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not work.outcome.done():
                await work.stop(LOST_GRACE_S)
                return self._without_device(await work.outcome)
            return await self._judged(await work.outcome)
        finally:
            lost.cancel()
            await asyncio.gather(lost, return_exceptions=True)

    async def _set_up(self) -> Work | Failure:
        fleet, device, request = self._fleet, self._device, self._request
        await self._recovery.ready(device)
        build = await self._builds.of(request, fleet.settings)
        if build is not None:
            await install(fleet, self._recovery, device, build)
        if request.params.clear_data:
            await fleet.installer.clear(device, _package(device, build))
        self._evidence = Evidence(fleet.adb, device, request, fleet.settings)
        await self._evidence.begin()
        if isinstance(request.params, DeviceTests):
            return await appwright.start(request, fleet.context, self._target(build))
        return await command.start(request, extra=self._env())

    def _env(self) -> dict[str, str]:
        """What leads a job's adb to its device, and to no other."""
        settings, device = self._fleet.settings, self._device
        assert device.serial is not None
        home = {"ANDROID_HOME": str(settings.home)} if settings.home else {}
        folder = str(self._fleet.adb.program.parent)
        path = self._request.params.env.get("PATH") or self._request.env.get("PATH", os.defpath)
        return {
            "ANDROID_SERIAL": device.serial,
            "ANDROID_ADB_SERVER_PORT": str(settings.port),
            "PATH": f"{path}:{folder}",
            **home,
        }

    def _target(self, build: Build | None) -> appwright.Target:
        """AppWright's own providers, bound to this device, with an Appium of the attempt's own."""
        device = self._device
        provider = "emulator" if device.kind == "emulator" else "local-device"
        package = device.installed.package if build and device.installed else ""
        own = {name: str(self._claimed_port()) for name in ("HPCQ_APPIUM_PORT", "HPCQ_SYSTEM_PORT")}
        return appwright.Target(
            device={"provider": provider, "udid": device.serial},
            build=str(self._linked(build)) if build else None,
            env={**self._env(), **own, "HPCQ_APP_PACKAGE": package},
            preload=(PRELOAD,),
            path=(SHIMS,),
            workers=1,
        )

    def _linked(self, build: Build) -> Path:
        """AppWright wants a name that ends with .apk; an upload has none."""
        if build.path.suffix == ".apk":
            return build.path
        link = self._request.work_dir / "build" / "app.apk"
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(build.path)
        return link

    def _claimed_port(self) -> int:
        self._ports.append(ports.claim())
        return self._ports[-1]

    async def _leave_ports(self) -> None:
        """An Appium that was killed leaves the adb server listening for it."""
        for port in self._ports:
            if not ports.is_free(port) and self._device.serial is not None:
                with contextlib.suppress(Infra, OSError):
                    await self._fleet.adb.run("forward", "--remove", f"tcp:{port}", serial=self._device.serial)
            ports.leave(port)

    # What came of it.

    async def _lost(self) -> None:
        """Returns when the device has been away for longer than it may."""
        device = self._device
        while True:
            await device.gone.wait()
            self._wavered = True
            nudge = asyncio.create_task(self._recovery.nudge_always(device))
            try:
                await asyncio.wait_for(device.online.wait(), self._fleet.settings.reconnect_s)
            except TimeoutError:
                return
            finally:
                nudge.cancel()
                await asyncio.gather(nudge, return_exceptions=True)

    def _without_device(self, outcome: Outcome) -> Outcome:
        """The device is to blame, not the tests; those that had passed have passed."""
        why = f"device {self._device.name} was lost in mid-job: {self._device.reason or 'adb does not show it'}"
        self._recovery.trouble(self._device, why, lost_job=True)
        passed = tuple(test for test in outcome.tests if test.status != "failed")
        return replace(outcome, error=Failure("infra", why), tests=passed)

    async def _judged(self, outcome: Outcome) -> Outcome:
        outcome = appium.blamed(outcome)
        if outcome.error is None:
            self._device.strikes = 0
            return outcome
        if self._stopped is not None:
            self._fleet.background(self._doubt("it did not answer after a job that was stopped"), "look after a stop")
            return outcome
        if self._wavered or not await self._fleet.answers(self._device):
            return self._without_device(outcome)
        assert self._evidence is not None
        look = self._evidence.after_failure(infra=outcome.error.type == "infra")
        self._looking = asyncio.create_task(look, name=f"evidence of {self._request.key}")
        deadline = self._request.deadline
        await asyncio.wait({self._looking}, timeout=None if deadline is None else deadline - SPARE_S - time.time())
        self._looking.cancel()
        await asyncio.gather(self._looking, return_exceptions=True)
        return outcome

    async def _doubt(self, why: str) -> None:
        """Something went wrong: is it the device?"""
        device = self._device
        if device.state == "ready" and not await self._fleet.answers(device):
            self._recovery.trouble(device, why, lost_job=True)


async def install(fleet: Fleet, recovery: Recovery, device: Device, build: Build) -> None:
    """The build is on the device. Raises Rejected, Infra; a device that stays full is put aside."""
    async with device.lock:
        try:
            if await fleet.installer.ensure(device, build):
                fleet.publish()
        except NoRoom as error:
            await recovery.quarantine(device, str(error))
            raise


def _package(device: Device, build: Build | None) -> str:
    package = build.package if build else device.installed.package if device.installed else None
    if not package:
        raise Rejected("clear_data: the job names no build whose package is known; give app or app_version_id")
    return package
