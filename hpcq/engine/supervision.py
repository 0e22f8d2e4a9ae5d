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
from hpcq.engine.attempt import Attempt
from hpcq.engine.driver import Driver
from hpcq.engine.lane import Lane
from hpcq.engine.spawned import spawn
from hpcq.plugin import Handle

if TYPE_CHECKING:
    from hpcq.engine.engine import Engine

log = logging.getLogger("hpcq.supervision")
HEALTH_S = 30.0
ALIVE_S = 5.0  # for an attempt's launcher and runner to vouch for it
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
        self._asking: dict[str, asyncio.Task[None]] = {}  # by the attempt's key: somebody is asked to vouch for it

    def start(self) -> None:
        """Begin; idempotent it is not."""
        lanes = self._engine.lanes.values()
        self._running = [
            *(
                spawn(self._every(lane.config.lease_s / 4, self._renewer(lane)), f"leases {lane.name}")
                for lane in lanes
            ),
            *(spawn(self._every(HEALTH_S, lane.ask_health), f"health {lane.name}") for lane in lanes),
            spawn(self._every(LIFE_S, self._live), "sign of life"),
            spawn(self._every(RETIRE_S, self._retire), "retire slots"),
            spawn(self._every(PRUNE_S, self._prune), "prune"),
        ]

    async def stop(self) -> None:
        """End all of it."""
        all_of_it = [*self._running, *self._asking.values()]
        for running in all_of_it:
            running.cancel()
        await asyncio.gather(*all_of_it, return_exceptions=True)

    async def _every(self, seconds: float, work: Callable[[], Awaitable[object]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await work()
            except Exception:
                log.exception("periodic work failed")

    def _renewer(self, lane: Lane) -> Callable[[], Awaitable[None]]:
        limit_s = min(ALIVE_S, lane.config.lease_s / 4)

        async def renew() -> None:
            for driver in self._engine.floor.drivers(lane.name):
                for attempt, handle in driver.live:
                    self._begin_renewal(driver, attempt, handle, limit_s)

        return renew

    def _begin_renewal(self, driver: Driver, attempt: Attempt, handle: Handle, limit_s: float) -> None:
        """Each by itself: one that hangs must not cost its neighbours their leases."""
        key = attempt.key
        if key not in self._asking:
            asking = self._asking[key] = spawn(self._renew(driver, attempt, handle, limit_s), f"lease of {key}")
            asking.add_done_callback(lambda _: self._asking.pop(key, None))

    async def _renew(self, driver: Driver, attempt: Attempt, handle: Handle, limit_s: float) -> None:
        """Renew the lease of an attempt that can be vouched for."""
        try:
            async with asyncio.timeout(limit_s) as limit:
                alive = await driver.alive(attempt, handle)
        except Exception as error:
            why = f"no answer within {limit_s:g} s" if limit.expired() else error
            log.warning("attempt %s cannot be vouched for: %s", attempt.key, why)
            return
        if alive:
            self._engine.post(Renewed(attempt.job, attempt.attempt))

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
        engine, at = self._engine, now().wall
        freed = await pruning.prune(
            engine.writer,
            engine.around.data_dir,
            self._retention,
            at=at,
            busy=lambda job: engine.core.state_of(job) is not None,
            dry_run=dry_run,
        )
        return freed + await engine.blobs.prune(self._retention, at=at, dry_run=dry_run)
