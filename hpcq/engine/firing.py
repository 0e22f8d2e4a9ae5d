"""What becomes of a schedule's time when it has come. Pure but for what it hands to a round."""

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from hpcq.engine.cron import missed, next_after
from hpcq.engine.times import timestamp
from hpcq.store.rows import EventRow, Round, ScheduleRow, ScheduleRun

CAUGHT_UP = 100  # the most missed times that `catch_up: all` makes good
BUSY = "the jobs of the last run are unfinished"

FIRED, SKIPPED, WAITING, FAILED = "fired", "skipped", "waiting", "failed"


@dataclass(frozen=True, slots=True)
class Decision:
    """Where the schedule stands afterwards, and the run to be recorded; `outcome` None: nothing but to wait."""

    next_run_at: float | None
    outcome: str | None = None
    due_at: float = 0.0
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Firing:
    """What a firing leaves behind, in the very round that submits its jobs: so that no crash comes in between."""

    row: ScheduleRow
    run: ScheduleRun  # its ids are known when the jobs are

    def into(self, rest: Round, ids: Sequence[str]) -> None:
        """Gather the schedule, the run and the event."""
        rest.schedules.append(self.row)
        rest.schedule_runs.append(self.run._replace(ids=orjson.dumps(ids)))
        detail = {"schedule": self.row.id, "name": self.row.name, "ids": ids, "due_at": timestamp(self.run.due_at)}
        note = EventRow(0, self.run.at, "schedule.fired", org_id=self.row.org_id, detail=orjson.dumps(detail))
        rest.notes.append(note)


def decide(row: ScheduleRow, now: float, since: float, *, busy: bool, waiting: bool) -> Decision:
    """What to do about `row.next_run_at`, which has come.

    `since`: from when on this server has watched the clock; what came due until then was missed. `busy`: jobs of the
    last run are unfinished, and `overlap` forbids a second run beside them. `waiting`: the time has been recorded as
    waiting for them. Raises BadCron when the line or its time zone can no longer be used.
    """
    due = row.next_run_at
    assert due is not None
    if due <= since and not waiting:
        return _missed(row, due, since, busy=busy)
    if busy and row.overlap == "queue":
        return Decision(due) if waiting else Decision(due, WAITING, due, BUSY)
    after = next_after(row.cron, row.timezone, now)
    if busy:
        return Decision(after, SKIPPED, due, BUSY)
    return Decision(after, FIRED, due, _left_out(row, due, now))


def _missed(row: ScheduleRow, due: float, since: float, *, busy: bool) -> Decision:
    found = missed(row.cron, row.timezone, due, since, CAUGHT_UP)
    after = next_after(row.cron, row.timezone, since)
    if not found.times:  # the time zone's rules have changed meanwhile
        return Decision(after)
    first, last = found.times[0], found.times[-1]
    count = f"more than {CAUGHT_UP} times" if found.more else f"{len(found.times)} times"
    span = f"at {timestamp(last)}" if due == last else f"{count} from {timestamp(due)} to {timestamp(last)}"
    if row.catch_up == "all":
        if found.more:
            text = f"not run: only the newest {CAUGHT_UP} missed times are made good, those from {timestamp(first)} on"
            return Decision(first, SKIPPED, due, text)
        if busy:
            return Decision(first)
        return Decision(next_after(row.cron, row.timezone, first), FIRED, first, "missed; caught up")
    if row.catch_up == "none":
        return Decision(after, SKIPPED, last, f"missed while the server was not running: {span}")
    if busy and row.overlap == "queue":
        return Decision(last, WAITING, last, BUSY)
    if busy:
        return Decision(after, SKIPPED, last, BUSY)
    return Decision(after, FIRED, last, f"missed; run once for {span}")


def _left_out(row: ScheduleRow, due: float, now: float) -> str | None:
    """Of a run that comes later than it should, for instance because it has waited: what came due meanwhile."""
    found = missed(row.cron, row.timezone, due + 1, now, CAUGHT_UP)
    if not found.times:
        return None
    count = f"more than {CAUGHT_UP}" if found.more else str(len(found.times))
    return f"{now - due:.0f} s late; times left out since: {count}"


def waiting_since(runs: Sequence[ScheduleRun]) -> float | None:
    """The time that still waits for its turn, going by the last runs, newest first."""
    settled: set[float] = set()
    for run in runs:
        if run.outcome == WAITING and run.due_at not in settled:
            return run.due_at
        settled.add(run.due_at)
    return None
