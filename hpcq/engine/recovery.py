"""From the store to a working core: at start, and after a round that the disk refused."""

import asyncio
import logging
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import orjson
import psutil

from hpcq.core.events import Attached, Draining, Loaded, Orphaned, QueueChanged
from hpcq.engine.alarm import now
from hpcq.engine.attempt import Attempt
from hpcq.engine.engine import Engine
from hpcq.engine.lane import ATTACH_S
from hpcq.engine.round import Gathering
from hpcq.engine.slices import SLICE
from hpcq.engine.spawned import spawn
from hpcq.engine.verdict import said
from hpcq.store.rows import JobRow, LoadedSlice

log = logging.getLogger("hpcq.recovery")
READ = 10_000  # jobs at a time, from the store
CRASH_S = 60.0  # an attempt that began so shortly before the server died may have killed it


@dataclass(frozen=True, slots=True)
class LastLife:
    """How the server before this one ended."""

    clean: bool  # it was stopped in order, or the whole machine went down
    ended_at: float  # wall, to within its sign of life


async def recover(engine: Engine, last: LastLife) -> None:
    """Give the core all unfinished jobs. What was running is found again, or goes back, uncharged."""
    gathering = Gathering(now())
    _furnish(engine, gathering)
    waiting, active = await _load(engine, gathering)
    if active:
        await asyncio.to_thread(kill_leftovers, {row.id for row in active})
    found = await asyncio.gather(*(_looked_up(engine, row) for row in active))
    for row, attached in zip(active, found, strict=True):
        _take_up(engine, row, attached, last, gathering)
    if waiting or active:
        log.info("recovered %d waiting jobs and %d that were running", waiting, len(active))
    if not gathering.empty:
        committed = await engine.writer.commit(await gathering.finished())
        engine.hub.publish(committed.events)
    engine.core.committed()
    for effect in gathering.acting:  # stops that were asked for before
        engine.floor.act(effect, None)


async def reload(engine: Engine) -> None:
    """Replace the core by a new one made from the store; attempts that live go on."""
    core = engine.core = engine.new_core()
    gathering = Gathering(now())
    _furnish(engine, gathering)
    _, active = await _load(engine, gathering)
    for row in active:
        attempt = engine.floor.live.get(row.job)
        if attempt is not None and attempt.attempt == row.history.attempt:
            began_at = attempt.began_at if row.started_at is not None else None  # the runner's word is replayed
            event = Attached(
                row.as_new(), attempt.slot.name, began_at, row.stop, items=attempt.items, ran_as=attempt.treatment
            )
            gathering.add(core.handle(event, gathering.now))
        else:  # its Start was never acted on
            gathering.add(core.handle(Orphaned(row.as_new(), row.stop), gathering.now))
    if engine.draining:
        core.handle(Draining(), gathering.now)
    core.committed()


def _furnish(engine: Engine, gathering: Gathering) -> None:
    for lane in engine.lanes.values():
        settings = engine.settings_of(lane)
        engine.floor.widen(lane.name, settings.slots)
        for event in (
            QueueChanged(settings),
            engine.floor.slots_event(lane.name),
            engine.floor.runner_event(lane.name),
        ):
            gathering.add(engine.core.handle(event, gathering.now))


async def _load(engine: Engine, gathering: Gathering) -> tuple[int, list[JobRow]]:
    """Waiting jobs go to the core slice by slice; the active ones are returned."""
    active: list[JobRow] = []
    waiting = 0
    coming: asyncio.Task[LoadedSlice] | None = spawn(engine.writer.load(0, READ), "load")
    while coming is not None:
        part = await coming  # the store reads the next slice while the core takes this one
        coming = spawn(engine.writer.load(part.last, READ), "load") if part.more else None
        for first in range(0, len(part.waiting), SLICE):
            jobs = part.waiting[first : first + SLICE]
            gathering.add(engine.core.handle(Loaded(jobs), gathering.now))
            await asyncio.sleep(0)
        waiting += len(part.waiting)
        active.extend(part.active)
    return waiting, active


async def _looked_up(engine: Engine, row: JobRow) -> Attempt | None:
    """The attempt that was live when the server ended, if its runner has found it again."""
    lane = engine.lanes.get(row.queue)
    if lane is None or not lane.durable or lane.runner is None or row.slot is None:
        return None
    runner, handle = lane.runner, orjson.loads(row.handle) if row.handle else None
    try:
        attempt = await engine.floor.resumable(row)
        found: object = await lane.call(lambda: runner.attach(attempt, handle), ATTACH_S, "attach")
    except Exception as error:
        log.warning("job %s: its attempt could not be looked up, it goes back: %s", row.id, said(error))
        return None
    if not isinstance(found, bool):
        log.warning("job %s: attach answered %.200r, which is neither True nor False: it goes back", row.id, found)
    return attempt if found is True else None


def _take_up(engine: Engine, row: JobRow, found: Attempt | None, last: LastLife, gathering: Gathering) -> None:
    """An attempt that was live when the server ended goes on, or goes back."""
    lane = engine.lanes.get(row.queue)
    if found is not None and row.slot is not None:
        handle = orjson.loads(row.handle) if row.handle else {}
        engine.floor.resume(found, handle, gathering.now, row.started_at)
        attached = Attached(row.as_new(), row.slot, row.started_at, row.stop)
        gathering.add(engine.core.handle(attached, gathering.now))
        return
    engine.floor.put_away(row)
    # A death may come before `running` is on disk; but what is only claimed ahead has killed nobody.
    began = row.updated_at if row.started_at is None and lane is not None and not lane.ahead else row.started_at
    crashed = not last.clean and began is not None and last.ended_at - began < CRASH_S
    gathering.add(engine.core.handle(Orphaned(row.as_new(), row.stop, crashed), gathering.now))


def kill_leftovers(job_ids: Collection[str]) -> int:
    """Kill processes of these jobs that outlived the server before; how many there were.

    Launchers end their jobs when the server dies; this finds what is left when a launcher was killed with it.
    """
    killed = 0
    for process in psutil.process_iter():
        try:
            if process.environ().get("HPCQ_JOB_ID") in job_ids:
                process.kill()
                killed += 1
        except psutil.Error:
            continue
    return killed


def boot_id() -> str:
    """Names this boot of the machine."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else ""
