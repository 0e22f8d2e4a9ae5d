"""The adb runner: AppWright tests, or commands, on emulators that it boots and devices that are attached."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel

from hpcq.plugin import Context, Handle, Health, Infra, Outcome, Part, Rejected, Request, Runner, SlotView
from hpcq_runners.adb import appium, builds, tools
from hpcq_runners.adb.device import Device
from hpcq_runners.adb.emulator import CLOSE_KILL_S
from hpcq_runners.adb.fleet import Fleet
from hpcq_runners.adb.params import AdbParams, DeviceTests
from hpcq_runners.adb.recovery import Recovery
from hpcq_runners.adb.run import Run, install
from hpcq_runners.adb.settings import AdbSettings
from hpcq_runners.appwright.modules import uploads_lack
from hpcq_runners.appwright.run import clear
from hpcq_runners.appwright.split import split
from hpcq_runners.appwright.tools import lacking


class AdbRunner(Runner):
    """A slot is a device. Jobs of one build share a session: booted once, installed once; it stays warm after them."""

    API_VERSION: ClassVar[str] = "1.0"
    params: ClassVar[Any] = AdbParams
    settings: ClassVar[type[BaseModel]] = AdbSettings
    durable_handle: ClassVar[bool] = False
    isolation: ClassVar[Literal["thread", "loop"]] = "loop"

    def __init__(self) -> None:
        self._fleet: Fleet | None = None
        self._recovery: Recovery | None = None
        self._builds = builds.Builds()
        self._missing = "not opened yet"
        self._runs: dict[str, Run] = {}

    async def open(self, context: Context) -> None:
        """Nothing of an earlier life is left: emulators and the adb server end with the hpcq server."""
        context.set_slots([])
        await asyncio.to_thread(clear, context.data_dir)
        found = tools.find(context.settings)
        self._missing = found.missing
        if found.missing:
            return
        self._fleet = Fleet(context, found)
        self._recovery = Recovery(self._fleet)
        await self._fleet.open()

    async def health(self) -> Health:
        if self._fleet is None:
            return Health(False, self._missing)
        health = await self._fleet.health()
        if not health.ready:
            return health
        missing = await asyncio.to_thread(_lacking, self._fleet.settings)
        tests = f"commands run, but tests cannot: {missing}" if missing else uploads_lack(self._fleet.context)
        return Health(True, "; ".join(filter(None, (health.message, tests))))

    def session_key(self, params: Any) -> str | None:
        return builds.session_key(params)

    async def prepare(self, slot: SlotView, request: Request) -> None:
        """Boot, and install. What only `wait` can say of a build (it is the job's fault) is found again there."""
        fleet, recovery, device = self._place(slot)
        device.jobs += 1
        try:
            await recovery.ready(device)
            build = await self._builds.of(request, fleet.settings)
            if build is not None:
                await install(fleet, recovery, device, build)
        except Rejected as error:
            fleet.context.log.info("job %s: %s", request.job_id, error)
        finally:
            device.jobs -= 1

    async def start(self, request: Request) -> Handle:
        fleet, recovery, device = self._place(request.slot)
        self._runs[request.key] = Run(fleet, recovery, self._builds, device, request)
        return {"serial": device.serial}

    async def wait(self, request: Request, handle: Handle) -> Outcome:  # noqa: ARG002
        run = self._runs.get(request.key)
        if run is None:
            raise Infra(f"nothing of {request.key} was started here")
        try:
            return await asyncio.shield(run.outcome)
        finally:
            if run.outcome.done():
                self._runs.pop(request.key, None)

    async def stop(self, request: Request, handle: Handle, grace_s: float) -> None:  # noqa: ARG002
        run = self._runs.get(request.key)
        if run is not None:
            await run.stop(grace_s)

    async def split(self, params: Any, blob: Callable[[str], Path]) -> Sequence[Part]:
        if not isinstance(params, DeviceTests):
            return await super().split(params, blob)
        if self._fleet is None:
            raise Infra(self._missing)
        return await split(params, self._fleet.context, blob)

    async def release(self, slot: SlotView) -> None:
        """The device stays on, for the next build."""
        if self._recovery is not None and self._fleet is not None and slot.name in self._fleet.devices:
            self._recovery.released(self._fleet.devices[slot.name])

    async def readmit(self, slot_name: str) -> None:
        _, recovery, device = self._named(slot_name)
        await recovery.readmit(device)

    async def close(self) -> None:
        runs, self._runs = list(self._runs.values()), {}
        await asyncio.gather(*(run.stop(0.0) for run in runs), return_exceptions=True)
        await asyncio.gather(*(run.outcome for run in runs), return_exceptions=True)
        if self._recovery is not None and self._fleet is not None:
            await self._recovery.close()
            await self._fleet.close(CLOSE_KILL_S)

    def _place(self, slot: SlotView) -> tuple[Fleet, Recovery, Device]:
        return self._named(slot.name)

    def _named(self, name: str) -> tuple[Fleet, Recovery, Device]:
        if self._fleet is None or self._recovery is None:
            raise Infra(self._missing)
        device = self._fleet.devices.get(name)
        if device is None:
            raise Infra(f"there is no device {name}; there are: {', '.join(self._fleet.devices) or 'none'}")
        return self._fleet, self._recovery, device


def _lacking(settings: AdbSettings) -> str:
    return lacking(settings) or appium.lacking(settings)
