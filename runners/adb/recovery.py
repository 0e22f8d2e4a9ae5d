"""What is done about a device that broke: reconnect it, boot it anew, and when that does not help, put it aside until
somebody says that it is fit again. The adb server, which is everybody's, is left alone."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from hpcq.plugin import Infra
from hpcq_runners.adb.device import Device
from hpcq_runners.adb.emulator import KILL_S, booted
from hpcq_runners.adb.fleet import Fleet

NUDGE_S = 5.0
NUDGE_PAUSE_S = 1.0
STRIKES = 3  # jobs in a row that lost it
Step = Callable[[Device], Awaitable[bool]]


class Recovery:
    """Of the devices of one queue; and the warmth of its emulators."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._settings = fleet.settings
        self._boots: dict[Device, asyncio.Task[None]] = {}
        self._cooling: dict[Device, asyncio.TimerHandle] = {}
        self._recoveries: dict[Device, asyncio.Task[None]] = {}
        fleet.on_trouble = self.trouble

    # For jobs.

    async def ready(self, device: Device) -> None:
        """The device can be used; an emulator that is off is booted for it. Raises Infra.

        A boot goes on when the job that wanted it is stopped: the next one will want it too.
        """
        self._keep_warm(device)
        if down := self._fleet.server.down:
            raise Infra(down)
        if not device.usable or (device.avd is None and device.state != "ready"):
            raise Infra(f"device {device.name} is {device.state}: {device.reason}")
        if device.avd is None or (device.emulator is not None and device.state == "ready"):
            return
        if device not in self._boots:
            boot = self._boots[device] = asyncio.create_task(self._boot(device), name=f"boot {device.name}")
            boot.add_done_callback(lambda _: self._boots.pop(device, None))
        await asyncio.shield(self._boots[device])

    async def _boot(self, device: Device) -> None:
        fleet = self._fleet
        async with device.lock:
            if device.emulator is not None:
                return
            fleet.say(device, "booting")
            try:
                await self._up(device, wipe=False)
            except Exception as error:
                self.trouble(device, str(error), stalled=True, lost_job=True)
                raise Infra(str(error) or f"booting {device.name} failed: {error!r}") from error
            except asyncio.CancelledError:
                fleet.say(device, "off")
                raise
        self.released(device)

    async def _up(self, device: Device, *, wipe: bool) -> None:
        fleet = self._fleet
        await fleet.emulators.boot(device, wipe=wipe)
        await fleet.learn(device)
        process = device.emulator
        assert process is not None

        async def watch() -> None:
            await process.wait()
            if device.emulator is process:  # nobody ended it
                device.emulator = None
                if device.state == "ready" and device.jobs == 0:
                    fleet.say(device, "off", "its emulator ended by itself")

        fleet.background(watch(), f"watch {device.name}")
        fleet.say(device, "ready")

    def released(self, device: Device) -> None:
        """No job uses it now: an emulator stays warm for a while."""
        self._keep_warm(device)
        if device.emulator is not None and device.jobs == 0:
            loop = asyncio.get_running_loop()
            self._cooling[device] = loop.call_later(self._settings.warm_s, self._cool, device)

    def _keep_warm(self, device: Device) -> None:
        if timer := self._cooling.pop(device, None):
            timer.cancel()

    def _cool(self, device: Device) -> None:
        self._cooling.pop(device, None)
        self._fleet.background(self._switch_off(device), f"switch off {device.name}")

    async def _switch_off(self, device: Device) -> None:
        async with device.lock:
            if device.jobs == 0 and device.state == "ready":
                await self._fleet.emulators.end(device, KILL_S)
                self._fleet.say(device, "off")

    async def close(self) -> None:
        """Nothing is booted or switched off any more."""
        boots = list(self._boots.values())
        for boot in boots:
            boot.cancel()
        await asyncio.gather(*boots, return_exceptions=True)
        for timer in self._cooling.values():
            timer.cancel()
        self._cooling.clear()

    # For what broke.

    def trouble(self, device: Device, why: str, *, stalled: bool = False, lost_job: bool = False) -> None:
        """It broke: nothing runs on it until it is well. `stalled`: a boot did not come to its end."""
        if device.state in ("recovering", "quarantined"):
            return
        device.strikes += lost_job and not self._fleet.server.down
        self._keep_warm(device)
        recovery = self._fleet.background(self._recover(device, why, stalled=stalled), f"recover {device.name}")
        self._recoveries[device] = recovery
        recovery.add_done_callback(lambda _: self._recovered(device, recovery))
        self._fleet.say(device, "recovering", why)

    def _recovered(self, device: Device, recovery: "asyncio.Task[None]") -> None:
        if self._recoveries.get(device) is recovery:
            del self._recoveries[device]

    async def _recover(self, device: Device, why: str, *, stalled: bool) -> None:
        fleet = self._fleet
        async with device.lock:
            await fleet.server.up.wait()  # a server that is down is no device's fault
            if device.strikes >= STRIKES:
                await self.quarantine(device, f"{device.strikes} jobs in a row lost it; the last time: {why}")
                return
            for step in self._ladder(device, stalled=stalled):
                if await self._helps(step, device):
                    self._well(device)
                    return
                if device.avd is None and device.address is None and fleet.server.states.get(device.name) is None:
                    fleet.say(device, "absent", f"{why}; then it was unplugged")
                    return
            await self.quarantine(device, why)

    async def _helps(self, step: Step, device: Device) -> bool:
        """A step that fails, however it does, was no help: the device must not stay in recovery for ever."""
        try:
            return await step(device)
        except Infra:
            return False
        except Exception as error:
            self._fleet.context.log.error("queue %s: %s: %r", self._fleet.context.queue, device.name, error)
            return False

    def _well(self, device: Device) -> None:
        """Back; an attached device is looked at first, as one that has just come."""
        fleet = self._fleet
        if device.avd is None:
            fleet.say(device, "absent", "it was away")
            fleet.judge(device)
        else:
            fleet.say(device, "ready" if device.emulator else "off")
            self.released(device)

    def _ladder(self, device: Device, *, stalled: bool) -> tuple[Step, ...]:
        if device.avd is None:
            return (self._reconnected, self._rebooted)
        return (self._wiped,) if stalled else (self._reconnected, self._booted_cold, self._wiped)

    async def quarantine(self, device: Device, why: str) -> None:
        """Somebody has to look at it."""
        fleet = self._fleet
        await fleet.keep_quarantine(device, why)
        fleet.say(device, "quarantined", f"{why}; see to it, then: hpcq devices ready {device.name}")
        await fleet.emulators.end(device, KILL_S)

    async def readmit(self, device: Device) -> None:
        """It is said to be fit again: it has to show it."""
        fleet = self._fleet
        device.strikes = 0
        device.unfit.clear()
        await fleet.keep_quarantine(device, None)
        if device in self._recoveries:
            return
        if device.avd is not None:
            if not device.usable:
                fleet.say(device, "off")
            return
        if device.state != "ready":
            fleet.say(device, "absent", "it is looked for")
            await self.nudge(device)
            fleet.judge(device)

    async def nudge_always(self, device: Device) -> None:
        """Until somebody has heard enough."""
        while True:
            await self.nudge(device)
            await asyncio.sleep(NUDGE_PAUSE_S)

    async def nudge(self, device: Device) -> None:
        """Whatever may bring a connection back."""
        fleet = self._fleet
        with contextlib.suppress(Infra):
            await fleet.adb.run("reconnect", "offline", limit_s=NUDGE_S)
            await fleet.connect(device)
            if device.avd and device.emulator and device.serial:
                await fleet.adb.tell(f"host:emulator:{int(device.serial.removeprefix('emulator-')) + 1}")

    # Steps: each says whether the device is well again.

    async def _reconnected(self, device: Device) -> bool:
        """Without a boot: the connection was at fault."""
        fleet = self._fleet
        if device.online.is_set():
            return await fleet.answers(device)
        loop = asyncio.get_running_loop()
        until = loop.time() + self._settings.reconnect_s
        while loop.time() < until:
            await self.nudge(device)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(device.online.wait(), max(0.1, (until - loop.time()) / 2))
                return await fleet.answers(device)
        return False

    async def _rebooted(self, device: Device) -> bool:
        """A phone that still listens to adb."""
        fleet = self._fleet
        if not device.online.is_set():
            return False
        await fleet.adb.run("reboot", serial=device.serial, limit_s=NUDGE_S)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(device.gone.wait(), NUDGE_S)
        budget_s = self._settings.boot_timeout_s
        connecting = asyncio.ensure_future(self._connect_again(device))
        try:
            await booted(fleet.adb, device, budget_s)
        finally:
            connecting.cancel()
        return True

    async def _connect_again(self, device: Device) -> None:
        while True:
            await self._fleet.connect(device)
            await asyncio.sleep(1.0)

    async def _booted_cold(self, device: Device) -> bool:
        await self._fleet.emulators.end(device, KILL_S)
        await self._up(device, wipe=False)
        return True

    async def _wiped(self, device: Device) -> bool:
        """The last thing to try: as it came out of the box."""
        await self._fleet.emulators.end(device, KILL_S)
        device.packages.clear()
        device.installed = None
        await self._up(device, wipe=True)
        return True
