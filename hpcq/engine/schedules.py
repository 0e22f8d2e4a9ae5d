"""Schedules: jobs that are submitted by the clock."""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson

from hpcq.engine import splitting
from hpcq.engine.alarm import Alarm, now
from hpcq.engine.cron import BadCron, next_after
from hpcq.engine.errors import (
    BadSpec,
    Conflict,
    EngineError,
    NotFound,
    OutcomeUnknown,
    OutOfSpace,
    TooMany,
    Unavailable,
)
from hpcq.engine.firing import BUSY, FAILED, FIRED, SKIPPED, WAITING, Decision, Firing, decide, waiting_since
from hpcq.engine.ids import uuid7
from hpcq.engine.messages import Message, Reply, SaveSchedule, Submit
from hpcq.engine.schedule_spec import check, placed, tagged
from hpcq.engine.spawned import spawn
from hpcq.engine.times import timestamp
from hpcq.store.rows import ScheduleRow, ScheduleRun

if TYPE_CHECKING:
    from hpcq.engine.engine import Engine

log = logging.getLogger("hpcq.schedules")
MOST = 1000  # schedules of one org
LOOK_S = 60.0  # the clock is looked at so often, because it may be set
GAP_S = 120.0  # not looked for longer: the machine slept, or its clock was set; what came due meanwhile was missed
AGAIN_S = 10.0  # after trouble, a full disk for instance
WATCH_S = 3600.0
MOST_DETAIL = 2000  # characters kept of what went wrong
NOT_NOW = (OutOfSpace, OutcomeUnknown)  # nothing can be recorded: the time stays due

Shown = dict[str, Any]
Ids = list[str]  # named here, because within the class `list` is a method
Many = list[Shown]


class Schedules:
    """All schedules, in memory as in the store. Changes happen one at a time, each in one round of the engine.

    Construct it when the engine is there, `start` it after the engine, `stop` it before a drain begins.
    """

    def __init__(self, engine: "Engine", clock: Callable[[], float] = lambda: now().wall) -> None:
        self._engine = engine
        self._clock = clock
        self._rows: dict[str, ScheduleRow] = {}
        self._last: dict[str, Ids] = {}  # the ids of the jobs of the last run
        self._waiting: dict[str, float] = {}  # the time that waits for those jobs
        self._watching: dict[str, asyncio.Task[bool]] = {}
        self._changing = asyncio.Lock()
        self._bell = asyncio.Event()
        self._alarm = Alarm(self._bell.set)
        self._since = self._looked = clock()
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Load them and begin to watch the clock. What came due before is missed, and `catch_up` says what then."""
        await self.load()
        self._running = spawn(self._run(), "schedules")
        self._bell.set()

    async def load(self) -> None:
        """Read all schedules and their last runs."""
        self._since = self._looked = self._clock()
        for row in await self._engine.writer.schedules():
            self._rows[row.id] = row
            runs = await self._engine.reader.schedule_runs(None, row.id)
            if runs:
                self._last[row.id] = orjson.loads(runs[0].ids)
            if (due := waiting_since(runs)) is not None:
                self._waiting[row.id] = due

    async def stop(self) -> None:
        """Fire nothing more. Harmless when repeated."""
        self._alarm.stop()
        ended: list[asyncio.Task[Any]] = [*self._watching.values()]
        if self._running:
            ended.append(self._running)
        for one in ended:
            one.cancel()
        await asyncio.gather(*ended, return_exceptions=True)

    # The clock.

    async def _run(self) -> None:
        while True:
            await self._bell.wait()
            self._bell.clear()
            self._alarm.set(await self.look(), None)

    async def look(self) -> float:
        """Do what is due; when to look again (wall time)."""
        at = self._clock()
        if at - self._looked > GAP_S:
            self._since = at
        soonest = at + LOOK_S
        for id_ in list(self._rows):
            try:
                while await self._step(id_, at):
                    pass
            except Exception as error:
                soonest = min(soonest, at + AGAIN_S)
                log.warning("schedule %s could not be looked after, again in %.0f s: %s", id_, AGAIN_S, error)
        self._looked = self._clock()
        coming = [row.next_run_at for row in self._rows.values() if row.next_run_at and row.next_run_at > at]
        return min([soonest, *coming])

    async def _step(self, id_: str, at: float) -> bool:
        """Deal with one time of one schedule; whether there may be more."""
        async with self._changing:
            row = self._rows.get(id_)
            if row is None or row.next_run_at is None or row.next_run_at > at or self._engine.draining:
                return False
            busy = row.overlap != "allow" and await self._busy(id_)
            waiting = self._waiting.get(id_) == row.next_run_at
            try:
                decision = decide(row, at, self._since, busy=busy, waiting=waiting)
            except BadCron as bad:
                decision = Decision(None, FAILED, row.next_run_at, str(bad))
            moved = decision.next_run_at != row.next_run_at
            if decision.outcome == FIRED:
                await self._fire(row, decision, at)
            elif decision.outcome or moved:
                await self._record(row._replace(next_run_at=decision.next_run_at), self._run_of(row, decision, at))
            if busy and not moved:
                self._watch(id_)
            return moved

    async def _busy(self, id_: str) -> bool:
        last = self._last.get(id_)
        return bool(last and await self._engine.reader.unfinished(last))

    def _run_of(self, row: ScheduleRow, decision: Decision, at: float) -> ScheduleRun | None:
        """A run to be recorded. It keeps the ids of the last firing, however old: they must be known at a start."""
        if decision.outcome is None:
            return None
        if decision.outcome in (SKIPPED, FAILED):
            log.warning("schedule %s %s: %s", row.name, decision.outcome, decision.detail)
        ids = orjson.dumps(self._last.get(row.id, []))
        return ScheduleRun(row.id, decision.due_at, at, decision.outcome, ids, decision.detail)

    async def _fire(self, row: ScheduleRow, decision: Decision, at: float) -> None:
        after = row._replace(next_run_at=decision.next_run_at)
        key = f"schedule:{row.id}:{decision.due_at:.0f}"
        try:
            await self._submit(after, decision, at, key)
        except NOT_NOW:
            raise
        except Exception as error:  # a foreign runner may raise anything
            if self._engine.draining:
                raise
            if not isinstance(error, EngineError):
                log.exception("schedule %s could not be fired", row.name)
            failed = Decision(after.next_run_at, FAILED, decision.due_at, str(error)[:MOST_DETAIL] or repr(error))
            await self._record(after, self._run_of(row, failed, at))

    async def _submit(self, after: ScheduleRow, decision: Decision, at: float, key: str | None) -> Ids:
        """Submit the jobs; the schedule, its run and its event are kept in the same round."""
        engine = self._engine
        if engine.draining:
            raise Unavailable("the server is shutting down", 5.0)
        jobs = [tagged(job, after.name) for job in orjson.loads(after.jobs)]
        run = ScheduleRun(after.id, decision.due_at, at, FIRED, b"[]", decision.detail)
        try:
            accepted = await splitting.accept(engine, jobs, org=after.org_id, key=key, bulk=True)
            firing = Firing(after, run)
            submission = await self._ask(
                lambda reply: Submit(accepted.jobs, after.org_id, key, True, reply, firing, accepted.digest)
            )
        except BadSpec as bad:
            raise BadSpec(placed(bad.errors, "/jobs")) from None
        ids: Ids = submission.ids
        self._keep(after, ids)
        return ids

    async def _record(self, row: ScheduleRow, run: ScheduleRun | None = None) -> None:
        await self._ask(lambda reply: SaveSchedule(row, reply, run))
        self._keep(row)
        if run and run.outcome == WAITING:
            self._waiting[row.id] = run.due_at

    def _keep(self, row: ScheduleRow, ids: Ids | None = None) -> None:
        """Remember what is on disk now."""
        self._rows[row.id] = row
        if ids is not None:
            self._last[row.id] = ids
        if self._waiting.get(row.id) != row.next_run_at:
            self._waiting.pop(row.id, None)

    async def _ask(self, make: Callable[[Reply], Message]) -> Any:
        if self._engine.full:
            raise OutOfSpace("the disk is full; nothing was kept. Free space in the data folder, then try again")
        reply: Reply = asyncio.get_running_loop().create_future()
        self._engine.post(make(reply))
        return await reply

    def _watch(self, id_: str) -> None:
        """Ring when the jobs of the last run are final."""
        if id_ not in self._watching:
            watching = spawn(self._engine.watchers.wait_final(self._last[id_], WATCH_S), f"schedule {id_}")
            self._watching[id_] = watching
            watching.add_done_callback(lambda _: self._watched(id_))

    def _watched(self, id_: str) -> None:
        del self._watching[id_]
        self._bell.set()

    # What the API asks for. Each returns when it is on disk.

    async def list(self, org: str | None) -> Many:
        """All schedules, oldest first; `org` None: of all orgs."""
        return [_shown(row) for row in self._rows.values() if org in (None, row.org_id)]

    async def get(self, org: str | None, id_: str) -> Shown:
        """One schedule with its last 20 runs, newest first. Raises NotFound."""
        row = self._found(org, id_)
        runs = await self._engine.reader.schedule_runs(org, id_)
        settled = {run.due_at for run in runs if run.outcome != WAITING}
        shown = [_shown_run(run) for run in runs if run.outcome != WAITING or run.due_at not in settled]
        return {**_shown(row), "last_runs": shown}

    async def create(self, org: str | None, raw: Any) -> Shown:
        """Make a schedule of a JSON body. Raises BadSpec, Conflict for a name that is taken, TooMany."""
        checked = await check(self._engine, org, raw)
        org_id, spec, at = checked.org_id or org or "default", checked.spec, self._clock()
        async with self._changing:
            self._check_name(org_id, spec.name)
            if sum(row.org_id == org_id for row in self._rows.values()) >= MOST:
                raise TooMany(f"{org_id} has {MOST} schedules, the most that there may be; delete some")
            row = ScheduleRow(
                id=uuid7(),
                org_id=org_id,
                name=spec.name,
                cron=spec.cron,
                timezone=spec.timezone,
                jobs=orjson.dumps(checked.jobs),
                overlap=spec.overlap,
                catch_up=spec.catch_up,
                paused=spec.paused,
                next_run_at=None if spec.paused else next_after(spec.cron, spec.timezone, at),
                created_at=at,
                updated_at=at,
            )
            await self._record(row)
        self._bell.set()
        return _shown(row)

    async def patch(self, org: str | None, id_: str, raw: Any) -> Shown:
        """Change what the JSON body names. Raises NotFound, BadSpec, Conflict."""
        before = self._found(org, id_)
        fields = ("name", "cron", "timezone", "overlap", "catch_up", "paused")
        checked = await check(self._engine, before.org_id, raw, {name: getattr(before, name) for name in fields})
        at, given = self._clock(), {name: getattr(checked.spec, name) for name in fields if name in raw}
        async with self._changing:
            before = self._found(org, id_)
            row = before._replace(**given, updated_at=at)
            if row.name != before.name:
                self._check_name(row.org_id, row.name)
            if checked.jobs is not None:
                row = row._replace(jobs=orjson.dumps(checked.jobs))
            if row.paused:
                row = row._replace(next_run_at=None)
            elif before.paused or {"cron", "timezone"} & given.keys():
                row = row._replace(next_run_at=next_after(row.cron, row.timezone, at))
            await self._record(row, self._given_up(before, row, at))
        self._bell.set()
        return _shown(row)

    def _given_up(self, before: ScheduleRow, row: ScheduleRow, at: float) -> ScheduleRun | None:
        """The end of a time that waits, when the change moves the schedule away from it."""
        due = self._waiting.get(row.id)
        if due is None or due != before.next_run_at or due == row.next_run_at:
            return None
        return self._run_of(row, Decision(None, SKIPPED, due, f"the schedule was changed while {BUSY}"), at)

    async def delete(self, org: str | None, id_: str) -> None:
        """Forget a schedule; its jobs stay. Raises NotFound."""
        async with self._changing:
            self._found(org, id_)
            await self._ask(lambda reply: SaveSchedule(id_, reply))
            del self._rows[id_]
            self._last.pop(id_, None)
            self._waiting.pop(id_, None)
            if watching := self._watching.get(id_):
                watching.cancel()

    async def run(self, org: str | None, id_: str) -> Ids:
        """Submit its jobs now, also when it is paused or busy; their ids. Raises as a submit does."""
        async with self._changing:
            row, at = self._found(org, id_), self._clock()
            return await self._submit(row, Decision(row.next_run_at, FIRED, at, "by hand"), at, None)

    def _found(self, org: str | None, id_: str) -> ScheduleRow:
        row = self._rows.get(id_)
        if row is None or org not in (None, row.org_id):
            raise NotFound(f"there is no schedule {id_}")
        return row

    def _check_name(self, org_id: str, name: str) -> None:
        for row in self._rows.values():
            if (row.org_id, row.name) == (org_id, name):
                raise Conflict(f"there is a schedule {name} already ({row.id}); take another name, or change that one")


def _shown(row: ScheduleRow) -> Shown:
    times = {name: timestamp(getattr(row, name)) for name in ("next_run_at", "created_at", "updated_at")}
    same = {name: getattr(row, name) for name in ("id", "name", "cron", "timezone", "overlap", "catch_up", "paused")}
    return {**same, "org_id": row.org_id, "jobs": orjson.loads(row.jobs), **times}


def _shown_run(run: ScheduleRun) -> Shown:
    return {
        "due_at": timestamp(run.due_at),
        "at": timestamp(run.at),
        "outcome": run.outcome,
        "ids": orjson.loads(run.ids) if run.outcome == FIRED else [],
        "detail": run.detail,
    }
