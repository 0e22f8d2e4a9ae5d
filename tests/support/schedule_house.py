"""A real engine on a real store, and schedules whose clock the test sets."""

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hpcq.config import Settings
from hpcq.core.job import FINAL
from hpcq.core.scheduler import Scheduler
from hpcq.engine import recovery
from hpcq.engine.alarm import now
from hpcq.engine.attempt import Surroundings
from hpcq.engine.engine import Engine, Parts
from hpcq.engine.numbers import Numbers
from hpcq.engine.schedules import Schedules
from hpcq.server import make_lanes
from hpcq.store.filter import Filter
from hpcq.store.reader import Reader
from hpcq.store.writer import Writer

# In the future: by the real clock, no alarm that a look sets rings within a test.
NOON = datetime(2096, 5, 13, 12, tzinfo=UTC).timestamp()
HOUR = 3600.0
NOOP = {"queue": "noop", "params": {}}
HOURLY = {"name": "hourly", "cron": "0 * * * *", "job": NOOP}


class Clock:
    """A wall clock that goes when it is told to."""

    def __init__(self, wall: float) -> None:
        self.wall = wall

    def __call__(self) -> float:
        return self.wall


class WallClock(Clock):
    """The real one."""

    def __call__(self) -> float:
        return now().wall


class House:
    """A real engine on a real store, and schedules whose clock the test sets. Queue noop is paused: its jobs wait."""

    def __init__(self, engine: Engine, schedules: Schedules, clock: Clock) -> None:
        self.engine, self.schedules, self.clock = engine, schedules, clock

    async def at(self, wall: float) -> float:
        """Set the clock and let the schedules look at it every minute until then, as they do."""
        while self.clock.wall + 60 < wall:
            self.clock.wall += 60
            await self.schedules.look()
        self.clock.wall = wall
        return await self.schedules.look()

    async def jobs(self, **wanted: Any) -> list[Any]:
        rows, _ = await self.engine.reader.jobs(None, Filter(**wanted), limit=1000, cursor=None, ascending=True)
        return list(rows)

    async def end_all(self) -> None:
        for row in await self.jobs():
            if row.state not in FINAL:
                await self.engine.cancel(None, row.id)

    async def runs(self, id_: str) -> list[tuple[str, float]]:
        """(outcome, hours after noon) of the last runs, newest first."""
        found = (await self.schedules.get(None, id_))["last_runs"]
        return [(run["outcome"], (wall(run["due_at"]) - NOON) / HOUR) for run in found]

    async def due(self, id_: str) -> float | None:
        """When it comes next, in hours after noon."""
        text = (await self.schedules.get(None, id_))["next_run_at"]
        return text and (wall(text) - NOON) / HOUR


def wall(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@contextlib.asynccontextmanager
async def opened(
    folder: Path, at: float = NOON - 600, config: dict[str, Any] | None = None, clock: Clock | None = None
) -> AsyncIterator[House]:
    """A house on this folder, from this time on."""
    queues = {"noop": {"runner": "noop", "slots": 1, "paused": True}, **(config or {})}
    lanes, _ = make_lanes(Settings(queues=queues), rehearse=False)
    async with contextlib.AsyncExitStack() as stack:
        writer = await Writer.open(folder / "hpcq.db")
        stack.push_async_callback(writer.close)
        reader = await Reader.open(folder / "hpcq.db")
        stack.push_async_callback(reader.close)
        around = Surroundings(data_dir=folder, env={}, output_cap=1 << 20, server_id="s")
        parts = Parts(lanes, lambda: Scheduler({"cpus": 2.0}), around, writer, reader)
        engine = Engine(parts, Numbers(await writer.counters()), 1000, recovery.reload)
        stack.push_async_callback(engine.floor.close)
        await engine.floor.open()
        await recovery.recover(engine, recovery.LastLife(clean=True, ended_at=0.0))
        engine.start()
        stack.push_async_callback(engine.stop)
        clock = clock or Clock(at)
        schedules = Schedules(engine, clock)
        await schedules.load()
        stack.push_async_callback(schedules.stop)
        yield House(engine, schedules, clock)
