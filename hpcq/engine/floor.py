"""Where work happens: the lanes, their slots' drivers, and the attempts that are live."""

import asyncio
import contextlib
import json
import logging
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import orjson

from hpcq.core.effects import Recall, Start, Stop
from hpcq.core.events import RunnerChanged, SlotsOffered, StopRequested
from hpcq.core.job import Moment, StopReason
from hpcq.core.job import Slot as CoreSlot
from hpcq.engine import devices, files
from hpcq.engine.attempt import Attempt, Surroundings
from hpcq.engine.driver import Driver, SessionSlot, finished
from hpcq.engine.lane import Lane
from hpcq.engine.messages import ChangeQueue, Ended, Message, Noted
from hpcq.engine.scope import Scope, ScopeSpawn
from hpcq.engine.spawned import spawn
from hpcq.engine.testcases import from_json
from hpcq.engine.verdict import checked_reason, checked_slots, failure_of
from hpcq.plugin import Failure, Outcome, Rejected, Slot, Usage
from hpcq.plugin.types import FailureType
from hpcq.store.reader import Reader
from hpcq.store.rows import AttemptRow, JobRow
from hpcq.store.writer import Writer

Post = Callable[[Message], None]


@dataclass
class QueueContext:
    """A queue, as its runner sees it (`hpcq.plugin`'s Context). Thread-safe."""

    queue: str
    settings: Any
    data_dir: Path
    state: "QueueState"
    spawn: ScopeSpawn
    log: logging.Logger
    _offer: Callable[[Sequence[Slot]], None]
    _pause: Callable[[str], None]
    _resume: Callable[[str], None]

    def set_slots(self, slots: Sequence[Slot]) -> None:
        self._offer(checked_slots(slots))

    def pause(self, reason: str) -> None:
        self._pause(checked_reason(reason))

    def resume(self, reason: str) -> None:
        self._resume(checked_reason(reason))


class QueueState:
    """Small JSON values that a runner keeps over restarts."""

    def __init__(self, writer: Writer, queue: str, loop: asyncio.AbstractEventLoop) -> None:
        self._writer = writer
        self._queue = queue
        self._loop = loop

    async def get(self, key: str) -> Any:
        text = await self._on_loop(self._writer.state_get(self._queue, key))
        return None if text is None else orjson.loads(text)

    async def put(self, key: str, value: Any) -> None:
        await self._on_loop(self._writer.state_put(self._queue, key, json.dumps(value, allow_nan=False).encode()))

    async def _on_loop(self, work: Any) -> Any:
        if asyncio.get_running_loop() is self._loop:
            return await work
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))


class Floor:
    """Acts on what the core wants of runners, and tells it of slots and their health."""

    def __init__(
        self, lanes: Mapping[str, Lane], around: Surroundings, writer: Writer, reader: Reader, post: Post
    ) -> None:
        self.lanes = lanes
        self.live: dict[int, Attempt] = {}
        self.offered: dict[str, tuple[Slot, ...]] = {}
        self.on_progress: Callable[[Attempt, dict[str, Any]], None] = lambda _attempt, _progress: None
        self._around = around
        self._writer = writer
        self._reader = reader
        self._post = post
        self._loop = asyncio.get_running_loop()
        self._drivers: dict[tuple[str, str], Driver] = {}
        self._scopes: dict[str, Scope] = {}

    # Runners.

    async def open(self) -> None:
        """Open every lane's runner, side by side."""
        await asyncio.gather(*(self._open(lane) for lane in self.lanes.values()))

    async def _open(self, lane: Lane) -> None:
        folder = self._around.data_dir / "runners" / lane.name
        scope = self._scopes[lane.name] = Scope(self._loop, shared=True)
        context = QueueContext(
            queue=lane.name,
            settings=lane.settings,
            data_dir=files.make(folder),
            state=QueueState(self._writer, lane.name, self._loop),
            spawn=self._spawn(scope, folder),
            log=logging.getLogger(f"hpcq.runner.{lane.name}"),
            _offer=lambda slots: self._threadsafe(lambda: self._offer(lane, slots)),
            _pause=lambda reason: self._threadsafe(lambda: self._pause(lane, reason, paused=True)),
            _resume=lambda reason: self._threadsafe(lambda: self._pause(lane, reason, paused=False)),
        )
        await lane.open(context)
        lane.on_health = lambda: self._post(self.runner_event(lane.name))
        self.offered.setdefault(lane.name, self._default_slots(lane))

    def _spawn(self, scope: Scope, folder: Path) -> ScopeSpawn:
        env = self._around.env
        return ScopeSpawn(
            scope,
            env=lambda: env,
            output=lambda: files.make(folder) / "runner.log",
            cwd=lambda: files.make(folder),
            output_cap=self._around.output_cap,
        )

    def _default_slots(self, lane: Lane, slots: int | None = None) -> tuple[Slot, ...]:
        """For a runner that offers none of its own: as many as configured, else one a core."""
        count = next(n for n in (slots, lane.config.slots, os.cpu_count(), 1) if n is not None)
        return tuple(Slot(f"{lane.name}-{number}") for number in range(1, count + 1))

    def widen(self, queue: str, slots: int | None) -> SlotsOffered | None:
        """A queue whose runner offers no slots of its own has as many as it is scaled to."""
        lane = self.lanes[queue]
        if lane.own_slots:
            return None
        self.offered[queue] = self._default_slots(lane, slots)
        return self.slots_event(queue)

    def slots_event(self, queue: str) -> SlotsOffered:
        """What the core must know of a queue's slots."""
        return SlotsOffered(
            queue,
            tuple(
                CoreSlot(slot.name, tuple(sorted(slot.labels.items())), slot.state == "ready", slot.reason)
                for slot in self.offered.get(queue, ())
            ),
        )

    def runner_event(self, queue: str) -> RunnerChanged:
        """What the core must know of a queue's runner."""
        health = self.lanes[queue].health
        return RunnerChanged(queue, health.ready, health.message)

    def _threadsafe(self, call: Callable[[], None]) -> None:
        self._loop.call_soon_threadsafe(call)

    def _offer(self, lane: Lane, slots: Sequence[Slot]) -> None:
        lane.own_slots = True
        before, self.offered[lane.name] = self.offered.get(lane.name, ()), tuple(slots)
        self._post(self.slots_event(lane.name))
        if events := devices.changes(lane.name, before, slots, time.time()):
            self._post(Noted(events))
        if lane.runner is not None and _any_ready(before) != _any_ready(slots):  # it can run jobs now, or no longer
            spawn(lane.ask_health(), f"health of {lane.name}")

    def _pause(self, lane: Lane, reason: str, *, paused: bool) -> None:
        self._post(ChangeQueue(lane.name, paused, ..., reason, by_runner=True))

    # Attempts.

    def act(self, effect: Start | Stop | Recall, row: JobRow | None) -> None:
        """Do what the core wants; everything about it is on disk."""
        driver = self._driver(effect.queue, effect.slot)
        if isinstance(effect, Start):
            assert row is not None
            self._begin(driver, effect, row)
            return
        attempt = self.live.get(effect.job)
        if attempt is None or attempt.attempt != effect.attempt:
            return  # it has ended: its news is on the way
        if isinstance(effect, Stop):
            driver.stop(attempt, effect.grace_s)
        else:
            driver.recall(attempt)

    def ended(self, job: int, number: int) -> None:
        """This attempt is over, or was taken back, and that is on disk."""
        attempt = self.live.get(job)
        if attempt is not None and attempt.attempt == number:
            del self.live[job]

    def _driver(self, queue: str, name: str) -> Driver:
        driver = self._drivers.get((queue, name))
        if driver is None:
            lane = self.lanes[queue]
            scope = Scope(self._loop, shared=True)
            labels = next((slot.labels for slot in self.offered.get(queue, ()) if slot.name == name), {})
            folder = self._around.data_dir / "runners" / queue
            slot = SessionSlot(name, labels, self._spawn(scope, folder))
            driver = self._drivers[queue, name] = Driver(lane, slot, scope, self._post)
            driver.on_over_memory = self._over_memory
        return driver

    def _begin(self, driver: Driver, effect: Start, row: JobRow) -> None:
        spec = orjson.loads(row.spec)
        attempt = self.attempt(driver, row, spec, effect.attempt, effect.items)
        self.live[row.job] = attempt
        if effect.attempt > 1 or driver.lane.foreign:
            spawn(self._begin_later(driver, attempt, spec), f"begin {attempt.key}")
            return
        try:
            attempt.params = driver.lane.request_params(spec["params"])
        except Exception as error:
            self._refuse(attempt, error)
            return
        driver.give(attempt)

    async def _begin_later(self, driver: Driver, attempt: Attempt, spec: dict[str, Any]) -> None:
        """What cannot be had at once: earlier outcomes, and a foreign runner's model of the params."""
        lane = driver.lane
        try:
            attempt.previous = await self._previous(attempt)
            if lane.foreign:
                attempt.params = await lane.guarded(lambda: lane.request_params(spec["params"]))
            else:
                attempt.params = lane.request_params(spec["params"])
        except Exception as error:
            self._refuse(attempt, error)
            return
        driver.give(attempt)

    async def _previous(self, attempt: Attempt) -> tuple[Outcome, ...]:
        """The outcomes of the job's earlier attempts."""
        rows = await self._reader.attempts(None, attempt.job_id) if attempt.attempt > 1 else []
        return tuple(outcome_of(row) for row in rows)

    def _refuse(self, attempt: Attempt, error: Exception) -> None:
        """Params that were fine when submitted are not any more: the runner or its settings have changed."""
        outcome = failure_of(Rejected(f"the params do not fit the runner any more: {error}"))
        self._post(Ended(finished(attempt, outcome), attempt, outcome))

    def attempt(
        self,
        driver: Driver,
        row: JobRow,
        spec: dict[str, Any],
        number: int,
        items: tuple[tuple[str, tuple[str, ...]], ...] = (),
    ) -> Attempt:
        """The attempt that a driver is given."""
        treatment = row.treatment
        return Attempt(
            around=self._around,
            job=row.job,
            job_id=row.id,
            number=row.number,
            attempt=number,
            queue=treatment.queue,
            org_id=treatment.org_id,
            slot=driver.slot,
            scope=driver.scope,
            params=None,
            resources=dict(treatment.resources),
            items=items,
            on_progress=self.on_progress,
            dependencies=frozenset(need["job"] for need in spec.get("depends_on", ()) if "job" in need),
            pins=spec.get("blobs", {}),
            treatment=treatment,
            session_key=treatment.session_key,
            timeout_s=treatment.timeout_s,
        )

    async def resumable(self, row: JobRow) -> Attempt:
        """The attempt that was live before a restart, so that its runner can be asked for it."""
        assert row.slot is not None
        driver = self._driver(row.queue, row.slot)
        lane, spec = driver.lane, orjson.loads(row.spec)
        attempt = self.attempt(driver, row, spec, row.history.attempt)
        attempt.previous = await self._previous(attempt)
        if lane.foreign:
            attempt.params = await lane.guarded(lambda: lane.request_params(spec["params"]))
        else:
            attempt.params = lane.request_params(spec["params"])
        return attempt

    def resume(self, attempt: Attempt, handle: dict[str, Any], now: Moment, started_at: float | None) -> None:
        """Its runner has found it again: wait for its end. One that had not begun begins now."""
        if started_at is not None:
            attempt.begin(Moment(started_at, now.mono - max(0.0, now.wall - started_at)))
        self.live[attempt.job] = attempt
        self._driver(attempt.queue, attempt.slot.name).resume(attempt, handle)

    def put_away(self, row: JobRow) -> None:
        """The private folder of an attempt that ended with the server before this one."""
        files.remove_soon(files.job_folder(self._around.data_dir, row.id).work(row.history.attempt))

    def _over_memory(self, attempt: Attempt) -> None:
        self._post(StopRequested(attempt.job, attempt.attempt, StopReason.OOM))

    # Supervision.

    def drivers(self, queue: str) -> list[Driver]:
        return [driver for (name, _), driver in self._drivers.items() if name == queue]

    async def retire(self, queue: str, slots: Collection[str]) -> None:
        """End the idle drivers of slots that the queue has no longer."""
        gone = [key for key, driver in self._drivers.items() if key[0] == queue and key[1] not in slots and driver.idle]
        await asyncio.gather(*(self._drivers.pop(key).close() for key in gone))

    async def close(self) -> None:
        """End all sessions, processes and runners, within a minute."""
        drivers, self._drivers = list(self._drivers.values()), {}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(60):
                await asyncio.gather(*(driver.close() for driver in drivers), return_exceptions=True)
                await asyncio.gather(*(lane.close() for lane in self.lanes.values()), return_exceptions=True)
                await asyncio.gather(*(scope.close() for scope in self._scopes.values()), return_exceptions=True)


def _any_ready(slots: Sequence[Slot]) -> bool:
    return any(slot.state == "ready" for slot in slots)


def outcome_of(row: AttemptRow) -> Outcome:
    """An earlier attempt's outcome, from its row."""
    error = orjson.loads(row.error) if row.error else None
    usage = orjson.loads(row.usage) if row.usage else None
    failure = None
    if error:
        kind: FailureType = error["type"] if error["type"] in get_args(FailureType) else "infra"
        failure = Failure(kind, error["message"], error.get("exit_code"), error.get("signal"))
    result = orjson.loads(row.result) if row.result else None
    tests = from_json(row.tests)
    return Outcome(result, failure, tests, Usage(**usage) if usage else None, row.commit)
