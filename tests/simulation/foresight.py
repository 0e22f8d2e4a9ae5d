"""What each event must lead to, by job, before the core is asked; and what it changes in the model besides."""

from collections.abc import Callable
from typing import Any

from hpcq.core import events as e
from hpcq.core.job import Moment, State, StopReason
from tests.simulation import rules
from tests.simulation.bench import Bench, Live
from tests.simulation.ledger import STANDING, Change, Ledger, Row

S = State
Known = dict[int, dict[int, State]]  # blocked job -> the ends it has heard of
Expected = dict[int, list[Change]]


class Foresight:
    """Knows the rules, and all that has happened."""

    def __init__(self, ledger: Ledger, bench: Bench, known: Known) -> None:
        self.ledger, self.bench, self.known = ledger, bench, known
        self.now = Moment(0.0, 0.0)

    def expect(self, event: e.Event, now: Moment) -> Expected:
        """Every change that the event itself leads to."""
        self.now = now
        answer = ANSWERS.get(type(event))
        return answer(self, event) if answer else {}

    def decision(self, row: Row) -> Change | None:
        """What the ends that a blocked job has heard of make of it; None: it still waits."""
        heard = self.known.get(row.job, {})
        ends = [(need.on, heard.get(need.job)) for need in row.depends_on]
        if any(ended is not None and not rules.satisfied(on, ended) for on, ended in ends):
            return Change(S.FAILED, row.history, "job.failed", error=rules.E.DEPENDENCY)
        if any(ended is None for _, ended in ends):
            return None
        return rules.free(row.history, row.run_at, self.now.wall, "job.queued")

    def _standing(self, job: int) -> Row | None:
        row = self.ledger.rows.get(job)
        return row if row is not None and row.state in STANDING else None

    def _submitted(self, event: e.Submitted) -> Expected:
        ends = dict(self.ledger.ends)
        found: Expected = {}
        for new in event.jobs:
            found[new.job] = rules.entered(new, ends, self.now.wall)
            if found[new.job][-1].state is S.FAILED:
                ends[new.job] = S.FAILED
        return found

    def _reopened(self, event: e.Reopened) -> Expected:
        new = event.job
        row = self.ledger.rows[new.job]
        if not row.final:
            return {}
        history = type(new.history)(attempt=row.history.attempt, reopened=new.history.reopened)
        return {new.job: [Change(S.QUEUED, history, "job.reopened")]}

    def _loaded(self, event: e.Loaded) -> Expected:
        ends = {row.job: row.state for row in self.ledger.rows.values() if row.final and row.state}
        found: Expected = {}
        for new in event.jobs:
            found[new.job] = rules.reloaded(self.ledger.rows[new.job], ends, self.now.wall)
            if any(change.state is S.FAILED for change in found[new.job]):
                ends[new.job] = S.FAILED
        return {job: changes for job, changes in found.items() if changes}

    def _attached(self, event: e.Attached) -> Expected:
        row = self.ledger.rows[event.job.job]
        if event.stop is not None:
            return {row.job: [Change(S.CANCELLING, row.history, stop=event.stop)]}
        if event.started_at is not None and row.state is not S.STARTING:
            return {row.job: [Change(S.RUNNING, row.history)]}
        return {}

    def _orphaned(self, event: e.Orphaned) -> Expected:
        row = self.ledger.rows[event.job.job]
        end = e.Finished(row.job, row.history.attempt, rules.E.LOST, worker_died=event.crashed)
        return {row.job: [rules.after_attempt(row, end, self.now.wall, lost_server=True)]}

    def _live(self, event: Any) -> tuple[Live, Row] | None:
        live = self.bench.live(event.job, event.attempt)
        return None if live is None else (live, self.ledger.rows[event.job])

    def _started(self, event: e.Started) -> Expected:
        found = self._live(event)
        if found is None or found[1].state is not S.STARTING:
            return {}
        live, row = found
        first = live.place.held[0]
        live.begun, live.recalling = True, False
        waits = not first.begun and self.ledger.rows[first.job].state is S.STARTING
        return {row.job: [self._runs(row)]} if first is live or waits else {}

    def _runs(self, row: Row) -> Change:
        return Change(S.RUNNING, row.history, "job.started")

    def _finished(self, event: e.Finished) -> Expected:
        found = self._live(event)
        if found is None:
            return {}
        live, row = found
        changes = [rules.after_attempt(row, event, self.now.wall)]
        if row.state is S.STARTING and event.failure is None:
            changes.insert(0, self._runs(row))  # its `Started` was lost
        return {row.job: changes, **self._heir(live)}

    def _heir(self, live: Live) -> Expected:
        """The next of the slot runs, if it has said so already."""
        held = live.place.held
        if held[0] is not live or len(held) < 2:
            return {}
        row = self.ledger.rows[held[1].job]
        return {row.job: [self._runs(row)]} if held[1].begun and row.state is S.STARTING else {}

    def _recalled(self, event: e.Recalled) -> Expected:
        found = self._live(event)
        if found is None or not found[0].recalling:
            return {}
        live, row = found
        if live.stop is not None:
            end = e.Finished(row.job, row.history.attempt)
            return {row.job: [rules.after_attempt(row, end, self.now.wall)], **self._heir(live)}
        was = row.history
        history = type(was)(was.attempt - 1, was.retries_used, was.infra_used, was.crashes, was.reopened)
        return {row.job: [Change(S.QUEUED, history)], **self._heir(live)}

    def _cancelled(self, event: e.Cancelled) -> Expected:
        row = self.ledger.rows.get(event.job)
        if row is None or row.final:
            return {}
        if not row.live:
            return {row.job: [Change(S.CANCELLED, row.history, "job.cancelled")]}
        return self._stop(row, StopReason.CANCEL)

    def _stop(self, row: Row, reason: StopReason) -> Expected:
        """The first reason wins, but cancel overrides."""
        if row.stop is None or (reason is StopReason.CANCEL and row.stop is not StopReason.CANCEL):
            return {row.job: [Change(S.CANCELLING, row.history, stop=reason)]}
        return {}

    def _stop_requested(self, event: e.StopRequested) -> Expected:
        found = self._live(event)
        return {} if found is None else self._stop(found[1], event.reason)

    def _edited(self, event: e.Edited) -> Expected:
        row = self._standing(event.job)
        if row is None:
            return {}
        changes = rules.edited(row, row.run_at, event, self.now.wall)
        return {row.job: changes} if changes else {}

    def _ticked(self, _: e.Ticked) -> Expected:
        found: Expected = {}
        wall = self.now.wall
        for row in self.ledger.unfinished():
            if row.state is S.DELAYED and row.run_at is not None and row.run_at <= wall:
                found[row.job] = [Change(S.QUEUED, row.history, "job.queued")]
            if self._expires(row) and row.expires_at is not None and row.expires_at <= wall:
                expired = Change(S.FAILED, row.history, "job.failed", error=rules.E.EXPIRED)
                found.setdefault(row.job, []).append(expired)
        for job, reason in self.bench.looked_at(self.now.mono):
            found[job] = [Change(S.CANCELLING, self.ledger.rows[job].history, stop=reason)]
        return found

    @staticmethod
    def _expires(row: Row) -> bool:
        """Only what was never started expires."""
        return row.state in STANDING and row.history.attempt == 0

    def wakes(self) -> tuple[float | None, float | None]:
        """When time must be looked at, at the latest (wall, monotonic)."""
        rows = list(self.ledger.unfinished())
        walls = [row.run_at for row in rows if row.state is S.DELAYED and row.run_at is not None]
        walls += [row.expires_at for row in rows if self._expires(row) and row.expires_at is not None]
        return min(walls, default=None), min([*self.bench.timeouts.values(), *self.bench.leases.values()], default=None)


ANSWERS: dict[type, Callable[[Foresight, Any], Expected]] = {
    e.Submitted: Foresight._submitted,
    e.Reopened: Foresight._reopened,
    e.Loaded: Foresight._loaded,
    e.Attached: Foresight._attached,
    e.Orphaned: Foresight._orphaned,
    e.Started: Foresight._started,
    e.Finished: Foresight._finished,
    e.Recalled: Foresight._recalled,
    e.Cancelled: Foresight._cancelled,
    e.StopRequested: Foresight._stop_requested,
    e.Edited: Foresight._edited,
    e.Ticked: Foresight._ticked,
}
