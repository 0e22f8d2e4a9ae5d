"""The end of a server, and the next one: what the store had is all that the new core is told."""

from collections.abc import Iterable
from enum import StrEnum

from hpcq.core import events as e
from hpcq.core.job import Dependency, NewJob, State
from hpcq.core.scheduler import Scheduler
from tests.simulation.ledger import Row
from tests.simulation.life import ITEMS, TOTALS, Life

SLICE = 3  # waiting jobs that are told at once
CRASH_S = 60.0
DURABLE = "device"  # the queue whose work outlives the server


class How(StrEnum):
    """How a server ends in the middle of a round."""

    DROPPED = "dropped"  # before COMMIT: the round never was
    UNHEARD = "unheard"  # after COMMIT: all is kept, nothing was acted on
    FULL = "full"  # the disk refused the round: the core is made anew, and all attempts live on


def restart(life: Life, how: How, n: int) -> None:
    """End this core and start the next. The bits of `n` say who survives, and in which order they are found."""
    life.log.append(f"restart, {how}, {n}")
    clean = life.bench.draining
    if how is How.UNHEARD:
        life.on_disk()
    else:
        if how is How.FULL:
            for where, message in reversed(life.delivered):
                life.floor.mail[where].appendleft(message)
        life.ledger.drop()
        life.delivered.clear()
        life.acting.clear()
    if how is not How.FULL:
        life.floor.crash(_survivors(life, n))
    life.loading = True
    _anew(life)
    rows = list(life.ledger.unfinished())
    waiting = [_new(life, row) for row in rows if not row.live]
    for first in range(0, len(waiting), SLICE):
        life.send(e.Loaded(tuple(waiting[first : first + SLICE])))
    found = [row for row in rows if row.live]
    for row in reversed(found) if n % 2 else found:
        _take_up(life, row, how, clean)
    life.loading = False
    life.commit()
    for where in life.floor.busy():
        _say_again(life, where)


def _survivors(life: Life, n: int) -> set[tuple[int, int]]:
    begun = [(where, work) for where, work in life.floor.works() if work.begun and where[0] == DURABLE]
    return {(work.job, work.attempt) for bit, (_, work) in enumerate(begun) if n >> (bit + 1) & 1}


def _anew(life: Life) -> None:
    life.core = Scheduler(TOTALS, ITEMS)
    life.bench.restart()
    life.known.clear()
    for lane in life.bench.lanes.values():
        life.send(e.QueueChanged(lane.settings))
        life.send(e.SlotsOffered(lane.settings.name, lane.offered))
        life.send(e.RunnerChanged(lane.settings.name, lane.available))
    for row in life.ledger.unfinished():
        if row.state is State.BLOCKED:
            life.known[row.job] = {need.job: end for need in row.depends_on if (end := _end(life, need)) is not None}


def _end(life: Life, need: Dependency) -> State | None:
    parent = life.ledger.rows[need.job]
    return parent.state if parent.final else None


def _new(life: Life, row: Row) -> NewJob:
    """As the store would give it; dependencies only while it is blocked."""
    needs: Iterable[Dependency] = row.depends_on if row.state is State.BLOCKED else ()
    depends_on = tuple(Dependency(need.job, need.on, _end(life, need)) for need in needs)
    return NewJob(row.job, row.treatment, row.history, row.run_at, row.expires_at, depends_on, row.state)


def _take_up(life: Life, row: Row, how: How, clean: bool) -> None:
    """An attempt that was live: found again, or lost."""
    work = life.floor.find(row.job, row.history.attempt)
    assert row.slot is not None
    if work is not None:
        if how is not How.FULL:  # what it holds is not on disk: it counts as it is treated now
            work.ran_as, work.items = row.treatment, ()
        life.send(e.Attached(_new(life, row), row.slot, row.started_at, row.stop, work.items, work.ran_as))
        return
    recent = row.started_at is not None and life.now.wall - row.started_at < CRASH_S
    crashed = recent and not clean and how is not How.FULL
    life.send(e.Orphaned(_new(life, row), row.stop, crashed))


def _say_again(life: Life, where: tuple[str, str]) -> None:
    """What began, and was not heard of, is said after the restart."""
    work = life.floor.slots[where][0]
    row = life.ledger.rows[work.job]
    if work.begun and row.state is State.STARTING and not life.floor.mail.get(where):
        life.floor.send(where, e.Started(work.job, work.attempt))
