"""What a queue's table says of its devices."""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator
from pydantic.config import JsonDict

from hpcq_runners.appwright.settings import AppwrightSettings, Folder

ONE_QUEUE: JsonDict = {"one_queue": True}  # no two queues may name the same: a device serves one
Port = Annotated[int, Field(ge=1, le=65535)]


def _port(value: object) -> object:
    return int(os.environ.get("ANDROID_ADB_SERVER_PORT") or 5037) if value is None else value


class AdbSettings(AppwrightSettings):
    """Which devices, and how they are treated. With neither `avds` nor `serials`: all that adb shows."""

    avds: tuple[str, ...] = Field(
        (), description="Emulators that are booted here, by the names of their AVDs", json_schema_extra=ONE_QUEUE
    )
    serials: tuple[str, ...] = Field(
        (),
        description="Attached devices, as `adb devices` shows them; ADDRESS:PORT is connected to",
        json_schema_extra=ONE_QUEUE,
    )
    labels: dict[str, dict[str, str]] = Field(
        default_factory=dict, description="Labels of your own, by AVD or serial, that a job can require"
    )
    adb: Folder | None = Field(None, description="The `adb` to run; unset: that of the SDK, or of the PATH")
    adb_port: Annotated[Port | None, BeforeValidator(_port)] = Field(
        None, description="Port of the adb server; unset: $ANDROID_ADB_SERVER_PORT, or 5037"
    )
    android_home: Folder | None = Field(None, description="The Android SDK; unset: $ANDROID_HOME")
    emulator_ports: tuple[Port, Port] = Field(
        (5554, 5682), description="Console ports of the emulators, from the first even one to the last"
    )
    emulator_args: tuple[str, ...] = Field(
        ("-no-window", "-no-audio", "-no-boot-anim", "-gpu", "swiftshader_indirect"),
        description="Further arguments of the emulator",
    )
    boot_timeout_s: float = Field(300, gt=0, description="A device that has not booted by then is wiped or given up")
    install_timeout_s: float = Field(300, gt=0, description="An installation that takes longer has failed")
    reconnect_s: float = Field(10, gt=0, description="A device that is offline for longer is lost")
    warm_s: float = Field(600, ge=0, description="An emulator without work for longer is switched off")
    animations: bool = Field(False, description="Leave the devices' animations on")
    bugreport: Literal["never", "infra", "failure"] = Field(
        "failure", description="When to keep a bug report: never, when a device broke, or after each failure"
    )
    bugreport_timeout_s: float = Field(60, gt=0, description="A bug report that takes longer is done without")

    @field_validator("emulator_ports")
    @classmethod
    def _in_order(cls, ports: tuple[int, int]) -> tuple[int, int]:
        if ports[0] > ports[1]:
            raise ValueError("the first port is above the last")
        return ports

    @property
    def port(self) -> int:
        """Of the adb server."""
        return int(_port(self.adb_port))  # type: ignore[call-overload, no-any-return]

    @property
    def home(self) -> Path | None:
        """The SDK, wherever it was said."""
        said = os.environ.get("ANDROID_HOME") or os.environ.get("ANDROID_SDK_ROOT")
        return self.android_home or (Path(said) if said else None)

    @property
    def every(self) -> bool:
        """All that adb shows."""
        return not (self.avds or self.serials)
