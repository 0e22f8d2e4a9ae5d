"""One device of a queue: what is known of it, and how others see it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from hpcq.plugin import JSON, Process, Slot

# off: an emulator that is booted when a job needs it. new: attached, and not looked at yet. absent: not attached.
State = Literal["off", "booting", "ready", "new", "absent", "offline", "unauthorized", "recovering", "quarantined"]
USABLE = ("off", "booting", "ready")
UNKNOWN_SERIAL = "????????????"
PROPERTIES = {"model": "ro.product.model", "api": "ro.build.version.sdk", "abi": "ro.product.cpu.abi"}
EMULATED = ("ro.kernel.qemu", "ro.boot.qemu")


@dataclass(frozen=True, slots=True)
class Installed:
    """A build on a device. `path` is where Android keeps it: another one after each installation."""

    package: str
    sha256: str
    version: str
    path: str

    def as_json(self) -> dict[str, str]:
        return {"package": self.package, "sha256": self.sha256, "version": self.version, "path": self.path}


@dataclass(eq=False)
class Device:
    """A slot. `name` is an AVD's name or a serial; it stays, while the serial of an emulator is of one boot."""

    name: str
    avd: str | None = None
    clone: bool = False  # one of several of its AVD: it keeps nothing
    serial: str | None = None
    state: State = "absent"
    reason: str = ""
    facts: dict[str, str] = field(default_factory=dict)  # model, api, abi, kind
    battery: int | None = None
    installed: Installed | None = None  # the build that was last asked for
    packages: dict[str, Installed] = field(default_factory=dict)  # all that we have put there, by package
    emulator: Process | None = None
    strikes: int = 0  # jobs in a row that lost it
    jobs: int = 0  # that use it now, or are about to
    unfit: dict[str, str] = field(default_factory=dict)  # builds that can never be installed here, and why
    gone: asyncio.Event = field(default_factory=asyncio.Event)  # not in adb's state `device`
    online: asyncio.Event = field(default_factory=asyncio.Event)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)  # it is being booted, switched off, or installed on

    def heard(self, state: str | None) -> None:
        """What adb says of its serial; None: nothing."""
        if state == "device":
            self.gone.clear()
            self.online.set()
        else:
            self.online.clear()
            self.gone.set()

    @property
    def usable(self) -> bool:
        return self.state in USABLE

    @property
    def kind(self) -> str:
        return "emulator" if self.avd else self.facts.get("kind", "phone")

    def slot(self, own: Mapping[str, Mapping[str, str]], down: str) -> Slot:
        """As the server sees it; `own`: labels from the configuration, `down`: why adb cannot be asked, if so."""
        labels = {name: value for name, value in self.facts.items() if value} | {"kind": self.kind, "device": self.name}
        for name in (self.avd, self.serial, self.name):
            labels |= own.get(name, {}) if name else {}
        return Slot(
            self.name,
            labels=labels,
            state="ready" if self.usable and not down else "held",
            reason=down or ("" if self.usable else f"{self.state}: {self.reason}" if self.reason else self.state),
            device=self.as_json(),
        )

    def as_json(self) -> dict[str, JSON]:
        app = self.installed
        return {
            "state": self.state,
            "reason": self.reason,
            "kind": self.kind,
            "serial": self.serial,
            "avd": self.avd,
            "battery": self.battery,
            "app": {"package": app.package, "version": app.version, "sha256": app.sha256} if app else None,
        }

    @property
    def address(self) -> str | None:
        """ADDRESS:PORT of one that is reached over the network."""
        host, _, port = (self.serial or "").rpartition(":")
        return self.serial if host and port.isdecimal() else None


def facts_of(properties: str) -> dict[str, str]:
    """Labels, from what `getprop` prints: lines of `[name]: [value]`."""
    said: dict[str, str] = {}
    for line in properties.splitlines():
        name, _, value = line.partition("]: [")
        said[name.lstrip("[")] = value.rstrip().removesuffix("]")
    facts = {label: said[name] for label, name in PROPERTIES.items() if said.get(name)}
    emulated = any(said.get(name) == "1" for name in EMULATED)
    return {**facts, "kind": "emulator" if emulated else "phone"}
