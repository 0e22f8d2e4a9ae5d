"""The devices of one queue: who is there, in what state, and what the server is offered."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from hpcq.plugin import Context, Health, Infra, Slot
from hpcq_runners.adb import claims
from hpcq_runners.adb.client import Adb, AdbFailed
from hpcq_runners.adb.device import UNKNOWN_SERIAL, Device, State, facts_of
from hpcq_runners.adb.emulator import Emulators, avd_facts, booted, settle
from hpcq_runners.adb.install import Installer
from hpcq_runners.adb.kept import keep
from hpcq_runners.adb.server import AdbServer
from hpcq_runners.adb.settings import AdbSettings
from hpcq_runners.adb.tools import Tools

PING_S = 5.0
CONNECT_S = 10.0
CONNECTED_S = 2.0  # for adb to show what it has connected to
CONNECT_PAUSE_S = 1.0
KEEP_EVERY_S = 10.0  # addresses that are absent are connected to, batteries looked at
BATTERY_EVERY = 30  # of these turns
FIRST_LOOK_S = 8.0  # for the devices that are there when the queue opens
AWAY_S = 60.0  # the last device that is away for longer makes the queue unready; it may only have been reconnected
NAMED = 5  # devices that are away, in a sentence
OPEN_S = 20.0  # for all of the opening, for which there are 30 s; what is not known by then is learnt later
WHY = {
    "unauthorized": "unlock it and allow USB debugging for this computer's key",
    "no permissions": "the server's user may not open it: add it to the group plugdev, or add udev rules",
    "absent": "not attached: adb does not show it",
}


class Fleet:
    """Devices by slot name. `work` keeps what goes on in the background."""

    def __init__(self, context: Context, tools: Tools) -> None:
        assert tools.adb is not None
        self.context = context
        self.settings: AdbSettings = context.settings
        scratch = context.data_dir / "scratch"
        scratch.mkdir(exist_ok=True)
        for left in scratch.iterdir():
            left.unlink()
        self.adb = Adb(tools.adb, self.settings.port, context.spawn, scratch)
        self.server = AdbServer(self.adb, context, self._heard)
        self.installer = Installer(self.adb, context)
        self.emulators = Emulators(self.adb, tools.emulator or Path("emulator"), context, self._take, self._leave)
        self.devices: dict[str, Device] = {}
        self.work: set[asyncio.Task[None]] = set()
        self.on_trouble: Callable[[Device, str], None] = lambda device, why: self.say(device, "offline", why)
        self._offered: list[Slot] | None = None
        self._absent = asyncio.Event()
        self._quarantined: dict[str, str] = {}
        self._seen_at = -AWAY_S  # on the loop's clock: when health last found a device

    # Beginning and end.

    async def open(self) -> None:
        """Know the devices, and look at those that are there."""
        self._quarantined = dict(await self.context.state.get("quarantined") or {})
        claims.listen(self.context.queue, self._heard)
        for avd in self.settings.avds:
            await self._add_avd(avd)
        for serial in self.settings.serials:
            claims.take_away(self.context.queue, self.settings.port, serial)
            await self._add(Device(serial, serial=serial))
        asked = self.background(self._ask(), "ask for devices")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(OPEN_S):
                await asyncio.wait({asked})
                async with asyncio.timeout(FIRST_LOOK_S):
                    while self.work:
                        await asyncio.wait(self.work)
        self.background(self._keep(), "keep devices")
        self.publish()

    async def _ask(self) -> None:
        await self.server.open()
        if self.settings.avds:
            await self._check_avds()
        for device in list(self.devices.values()):
            self.background(self.connect(device), f"connect {device.name}")

    async def close(self, kill_s: float) -> None:
        """Switch off what is ours, and let the rest be."""
        for task in self.work:
            task.cancel()
        await asyncio.gather(*self.work, return_exceptions=True)
        await asyncio.gather(*(self.emulators.end(device, kill_s) for device in self.devices.values()))
        claims.leave_all(self.context.queue)
        await self.server.close()

    def background(self, work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        """Let it go on; what goes wrong is logged."""
        task = asyncio.create_task(work, name=name)
        self.work.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self.work.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self.context.log.error("queue %s: %s: %r", self.context.queue, task.get_name(), error)

    # Who there is.

    async def _add_avd(self, avd: str) -> None:
        same = [device for device in self.devices.values() if device.avd == avd]
        name = f"{avd}-{len(same) + 1}" if same else avd
        for device in same:
            device.clone = True
        await self._add(Device(name, avd=avd, clone=bool(same), state="off", facts=avd_facts(avd)))

    async def _add(self, device: Device) -> None:
        await self.installer.recall(device)
        device.facts = dict(await self.context.state.get(f"facts {device.name}") or {}) | device.facts
        if device.state == "absent":
            device.reason = WHY["absent"]
        if why := self._quarantined.get(device.name):
            device.state, device.reason = "quarantined", why
        self.devices[device.name] = device
        device.heard(self.server.states.get(device.serial or ""))

    async def _check_avds(self) -> None:
        try:
            known = await self.emulators.names()
        except Infra as error:
            self.context.log.warning("queue %s: %s", self.context.queue, error)
            return
        for device in self.devices.values():
            if device.avd and device.avd not in known and device.state == "off":
                names = ", ".join(known) or "none"
                self.say(device, "absent", f"there is no such AVD; there are: {names}; see `avdmanager create avd`")

    def _take(self, serial: str) -> bool:
        return claims.take(self.context.queue, self.settings.port, serial)

    def _leave(self, serial: str) -> None:
        claims.leave(self.context.queue, self.settings.port, serial)

    # What adb says.

    def _heard(self) -> None:
        """The states of serials have changed, or another queue has taken or left one."""
        states = self.server.states
        if self.settings.every:
            self._see_all(set(states) - {UNKNOWN_SERIAL})
        for device in self.devices.values():
            device.heard(states.get(device.serial or ""))
            if device.avd is None:
                self.judge(device)
            elif device.emulator and device.state == "ready" and device.jobs == 0 and device.gone.is_set():
                self.on_trouble(device, "adb has lost its emulator")
        self.publish()

    def _see_all(self, serials: set[str]) -> None:
        """Have each device that no other queue has; one that was here once stays known."""
        for serial in sorted(serials):
            if self._take(serial) and serial not in self.devices:
                device = self.devices[serial] = Device(serial, serial=serial)
                self.background(self._meet(device), f"meet {serial}")
        for name, device in list(self.devices.items()):
            if device.avd is None and device.jobs == 0 and not self._take(name):
                del self.devices[name]

    async def _meet(self, device: Device) -> None:
        await self._add(device)
        self.judge(device)
        self.publish()

    def judge(self, device: Device) -> None:
        """What its state in adb means for an attached device."""
        state = self.server.states.get(device.serial or "")
        if device.state in ("recovering", "quarantined"):
            return
        if state == "device":
            if device.state not in ("ready", "new"):
                self.say(device, "new", "it is looked at")
                self.background(self.look(device), f"look at {device.name}")
        elif state is None:
            self.say(device, "absent", self.server.down or WHY["absent"])
            self._absent.set()
        elif state in ("unauthorized", "authorizing") or state.startswith("no permissions"):
            self.say(device, "unauthorized", WHY["no permissions" if state.startswith("no") else "unauthorized"])
        elif device.state != "offline":
            self.say(device, "offline", f"adb says {state}")
            self.background(self._wait_for(device), f"wait for {device.name}")

    async def _wait_for(self, device: Device) -> None:
        """Offline is also who is just being connected; who stays so is in trouble. A job that has it decides itself."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(device.online.wait(), self.settings.reconnect_s)
        if device.state == "offline" and device.jobs == 0:
            self.on_trouble(device, device.reason)

    async def look(self, device: Device) -> None:
        """Learn what an attached device is; then it is ready. One that does not answer is left to its recovery."""
        try:
            async with device.lock:
                await booted(self.adb, device, self.settings.boot_timeout_s)
                await self.learn(device)
        except Infra as error:
            if device.online.is_set() and device.state == "new":
                self.on_trouble(device, str(error))
            return
        if device.online.is_set() and device.state == "new":
            self.say(device, "ready")

    async def learn(self, device: Device) -> None:
        """Its labels and battery; animations off. Raises Infra."""
        assert device.serial is not None
        said = facts_of((await self.adb.shell(device.serial, "getprop")).text)
        facts = {**said, **avd_facts(device.avd), "kind": "emulator"} if device.avd else said
        if facts != device.facts:
            device.facts = facts
            await keep(self.context, f"facts {device.name}", facts)
        await settle(self.adb, device, animations=self.settings.animations)
        if device.kind == "phone":
            await self._look_at_battery(device)

    async def _look_at_battery(self, device: Device) -> None:
        assert device.serial is not None
        text = (await self.adb.shell(device.serial, "dumpsys battery")).text
        levels = [line.partition(":")[2].strip() for line in text.splitlines() if line.strip().startswith("level:")]
        device.battery = int(levels[0]) if levels and levels[0].isdecimal() else None

    async def answers(self, device: Device) -> bool:
        """It runs a command, soon."""
        if not device.online.is_set() or device.serial is None:
            return False
        try:
            return "ping" in (await self.adb.shell(device.serial, "echo ping", PING_S)).text
        except AdbFailed:
            await self.server.check()
            return False

    # What is offered.

    def say(self, device: Device, state: State, reason: str = "") -> None:
        """Its state is this now."""
        if (device.state, device.reason) != (state, reason):
            self.context.log.info("queue %s: device %s is %s %s", self.context.queue, device.name, state, reason)
            device.state, device.reason = state, reason
        self.publish()

    def publish(self) -> None:
        """Offer the devices to the server, if anything about them is new."""
        slots = [device.slot(self.settings.labels, self.server.down) for device in self.devices.values()]
        if slots != self._offered:
            self._offered = slots
            self.context.set_slots(slots)

    async def health(self) -> Health:
        """Whether there is anything to run jobs on, and who of those that belong here is not there."""
        await self.server.check()
        if self.server.down:
            return Health(False, self.server.down)
        if not self.devices:
            return Health(
                False,
                "adb shows no device: attach one and allow USB debugging (`adb devices`), "
                f"or name AVDs in [queues.{self.context.queue}] avds = [...]",
            )
        away = [device for device in self.devices.values() if device.state in ("absent", "offline", "unauthorized")]
        at = asyncio.get_running_loop().time()
        if len(away) < len(self.devices):
            self._seen_at = at
        return Health(at - self._seen_at < AWAY_S, self._about(away) if away else "")

    def _about(self, away: list[Device]) -> str:
        """Why these are of no use, and what to do."""
        shown = [f"{device.name} is {device.state} ({device.reason})" for device in away[:NAMED]]
        more = [f"and {len(away) - NAMED} more"] if len(away) > NAMED else []
        return (
            f"{len(away)} of {len(self.devices)} devices cannot be used: {'; '.join([*shown, *more])}. "
            "Attach and unlock them (`adb devices` shows who is there), or take them out of "
            f"[queues.{self.context.queue}]"
        )

    async def keep_quarantine(self, device: Device, why: str | None) -> None:
        """Over restarts; None: it is released."""
        if why is None:
            self._quarantined.pop(device.name, None)
        else:
            self._quarantined[device.name] = why
        await keep(self.context, "quarantined", self._quarantined)

    # Attached over the network, and batteries.

    async def connect(self, device: Device) -> None:
        """Connect to an address that adb does not show."""
        if device.address is None or device.online.is_set() or self.server.down:
            return
        with contextlib.suppress(Infra):
            answer = await self.adb.run("connect", device.address, limit_s=CONNECT_S)
            if answer.last.startswith(("connected", "already")):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(device.online.wait(), CONNECTED_S)
            elif device.state == "absent":
                self.say(device, "absent", answer.last)

    async def _keep(self) -> None:
        turn = 0
        while True:
            self._absent.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._absent.wait(), KEEP_EVERY_S)
            turn += 1
            await asyncio.gather(*(self.connect(each) for each in self.devices.values() if each.state == "absent"))
            if turn % BATTERY_EVERY == 0:
                await self._look_at_batteries()
            await asyncio.sleep(CONNECT_PAUSE_S)  # an address that is refused is seen coming and going

    async def _look_at_batteries(self) -> None:
        for device in list(self.devices.values()):
            if device.kind == "phone" and device.state == "ready" and device.jobs == 0:
                with contextlib.suppress(Infra):
                    await self._look_at_battery(device)
        self.publish()
