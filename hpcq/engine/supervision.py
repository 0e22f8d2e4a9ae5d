"""What happens by itself: leases renewed, runners asked for their health, a sign of life, old things pruned."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hpcq.config import Retention
from hpcq.core.events import Renewed
from hpcq.engine import pruning
from hpcq.engine.alarm import now
from hpcq.engine.driver import Driver
from hpcq.engine.lane import Lane
from hpcq.engine.spawned import spawn

if TYPE_CHECKING:
    from hpcq.engine.engine import Engine

log = logging.getLogger("hpcq.supervision")
HEALTH_S = 30.0
LIFE_S = 5.0
RETIRE_S = 5.0
PRUNE_S = 3600.0


class Supervision:
    """Periodic work beside the engine's inbox."""

    def __init__(self, engine: "Engine", sign_of_life: Path, retention: Retention) -> None:
        self._engine = engine
        self._sign_of_life = sign_of_life
        self._retention = retention
        self._running: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin; idempotent it is not."""
        lanes = self._engine.lanes.values()
        self._running = [
            *(
                spawn(self._every(lane.config.lease_s / 4, self._renewer(lane)), f"leases {lane.name}")
                for lane in lanes
            ),
            spawn(self._every(HEALTH_S, self._ask_all), "health"),
            spawn(self._every(LIFE_S, self._live), "sign of life"),
            spawn(self._every(RETIRE_S, self._retire), "retire slots"),
            spawn(self._every(PRUNE_S, self._prune), "prune"),
        ]

    async def stop(self) -> None:
        """End all of it."""
        for running in self._running:
            running.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await work()
            except Exception:
                log.exception("periodic work failed")

    def _renewer(self, lane: Lane) -> Callable[[], Awaitable[None]]:
        async def renew() -> None:
            drivers = self._engine.floor.drivers(lane.name)
            await asyncio.gather(*(self._renew(driver) for driver in drivers))

        return renew

    async def _renew(self, driver: Driver) -> None:
        """Renew the leases of a slot's attempts that can be vouched for."""
        for attempt, handle in driver.live:
            try:
                alive = await driver.alive(attempt, handle)
            except Exception as error:
                log.warning("attempt %s cannot be vouched for: %s", attempt.key, error)
                continue
            if alive:
                self._engine.post(Renewed(attempt.job, attempt.attempt))

    async def _ask_all(self) -> None:
        await asyncio.gather(*(lane.ask_health() for lane in self._engine.lanes.values()))

    async def _live(self) -> None:
        os.utime(self._sign_of_life)

    async def _retire(self) -> None:
        """Slots that were scaled away release what they hold."""
        engine = self._engine
        for queue in engine.lanes:
            slots = {slot.name for slot in engine.core.queue_view(queue, now()).slots}
            await engine.floor.retire(queue, slots)

    async def _prune(self) -> None:
        await self.prune(dry_run=False)

    async def prune(self, *, dry_run: bool) -> pruning.Freed:
        """Remove what retention does not keep; `dry_run`: only say how much that is."""
        engine = self._engine
        return await pruning.prune(
            engine.writer,
            engine.around.data_dir,
            self._retention,
            at=now().wall,
            busy=lambda job: engine.core.state_of(job) is not None,
            dry_run=dry_run,
        )
