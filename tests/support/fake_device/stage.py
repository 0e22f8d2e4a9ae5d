"""One life of the adb runner with the devices of a lab, without a server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from hpcq.plugin import Slot
from hpcq.plugin.testing_stage import Stage
from hpcq_runners.adb.runner import AdbRunner
from tests.support.fake_device.lab import Lab
from tests.support.wait import wait_until

JOB_S = 30.0


class AdbStage(Stage):
    """With what tests of devices ask again and again."""

    def slot(self, name: str) -> Slot:
        """A device as it is offered now."""
        return next(slot for slot in self.context.slots if slot.name == name)

    def state(self, name: str) -> str:
        """The device's own word for its state."""
        return str((self.slot(name).device or {})["state"])

    async def until(self, name: str, state: str, timeout_s: float = 30.0) -> None:
        """Wait for it."""
        await wait_until(lambda: self.state(name) == state, timeout_s, f"{name} to be {state}, and not as it is")

    async def outcome(self, command: str = "true", *, slot: int = 0, **params: Any) -> Any:
        """What came of a job."""
        return (await self.run({"command": command, **params}, JOB_S, slot))[1]


@contextlib.asynccontextmanager
async def running(lab: Lab, **settings: Any) -> AsyncIterator[AdbStage]:
    """The runner, opened, and closed in order."""
    root: Path = lab.folder / "root"
    root.mkdir(exist_ok=True)  # noqa: ASYNC240
    stage = AdbStage(root, AdbRunner, lab.settings(**settings))
    await stage.open()
    try:
        yield stage
    finally:
        await asyncio.wait_for(stage.close(), 40)
        await stage.die()
