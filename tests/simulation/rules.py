"""What must become of a job after an event: DESIGN's rules for one job, told a second time and in the plainest way."""

from hpcq.core.events import Edited, Finished
from hpcq.core.job import ErrorType, History, NewJob, On, RetryPolicy, State, StopReason
from tests.simulation.ledger import ENDS, Change, Row

S, E = State, ErrorType
Foreseen = list[tuple[int, Change]]
STOPPED = {StopReason.TIMEOUT: E.TIMEOUT, StopReason.OOM: E.OOM, StopReason.LEASE: E.LOST}
UNCHARGED_MAX = 3
POISON = 3


def satisfied(on: On, ended: State) -> bool:
    """Whether this end is the one that was waited for."""
    return on is On.ANY or (on is On.SUCCESS) == (ended is S.SUCCEEDED)


def entered(new: NewJob, ends: dict[int, State], wall: float) -> list[Change]:
    """A job that is submitted. `ends`: what ended in this same round."""
    known = [(need.on, ends.get(need.job, need.ended)) for need in new.depends_on]
    event = "job.submitted"
    if any(ended is not None and not satisfied(on, ended) for on, ended in known):
        failed = Change(S.FAILED, new.history, "job.failed", error=E.DEPENDENCY)
        return [Change(S.BLOCKED, new.history, event), failed]
    if any(ended is None for _, ended in known):
        return [Change(S.BLOCKED, new.history, event)]
    return [free(new.history, new.run_at, wall, event)]


def free(history: History, run_at: float | None, wall: float, event: str | None) -> Change:
    """A job that waits for no other."""
    if run_at is not None and run_at > wall:
        return Change(S.DELAYED, history, event, due=run_at)
    return Change(S.QUEUED, history, event)


def reloaded(row: Row, ends: dict[int, State], wall: float) -> list[Change]:
    """A waiting job that a restart finds on disk: saved only if it stands otherwise now. `ends`: all ends there are."""
    if row.state is S.DELAYED and (row.run_at is None or row.run_at <= wall):
        return [Change(S.QUEUED, row.history, "job.queued")]
    if row.state is S.BLOCKED:
        known = [(need.on, ends.get(need.job)) for need in row.depends_on]
        if any(ended is not None and not satisfied(on, ended) for on, ended in known):
            return [Change(S.FAILED, row.history, "job.failed", error=E.DEPENDENCY)]
        if all(ended is not None for _, ended in known):
            return [free(row.history, row.run_at, wall, "job.queued")]
    return []


def edited(row: Row, due: float | None, event: Edited, wall: float) -> list[Change]:
    """Only a delay can be moved by an edit; a back-off is not ended by taking a `run_at` away, and is kept on disk."""
    if row.state is not S.DELAYED:
        return []
    moved = due if event.run_at is None and row.history.attempt else event.run_at
    if moved is None or moved <= wall:
        return [Change(S.QUEUED, row.history, "job.queued")]
    return [] if moved == due == event.run_at else [Change(S.DELAYED, row.history, due=moved)]


def after_attempt(row: Row, end: Finished, wall: float, *, lost_server: bool = False) -> Change:
    """Where a job goes at the end of an attempt. `lost_server`: it was live when the server went."""
    was, stop = row.history, row.stop
    if stop is StopReason.CANCEL:
        return Change(S.CANCELLED, was, ENDS[S.CANCELLED], ended=True)
    if stop is StopReason.DRAIN:
        return Change(S.QUEUED, was, "job.queued", ended=True)
    own = STOPPED.get(stop) if stop is not None else None
    cause = own or end.failure
    died = own is None and end.worker_died
    if died:
        cause = cause or E.SIGNAL
    crashes = was.crashes + 1 if died else was.crashes if cause is E.LOST else 0
    history = History(was.attempt, was.retries_used, was.infra_used, crashes, was.reopened)
    if cause is None:
        assert not lost_server
        return Change(S.SUCCEEDED, history, ENDS[S.SUCCEEDED], ended=True)
    if died and crashes >= POISON:
        return Change(S.FAILED, history, ENDS[S.FAILED], error=E.LOST, ended=True)
    return _failed(row, history, cause, end, own, wall)


def _failed(row: Row, was: History, cause: ErrorType, end: Finished, error: ErrorType | None, wall: float) -> Change:
    policy = row.treatment.retries
    used, infra = was.retries_used, was.infra_used
    if cause is E.LOST:
        return Change(S.QUEUED, was, "job.retrying", error=error, ended=True)
    if cause is E.INFRA and infra < UNCHARGED_MAX:
        history = History(was.attempt, used, infra + 1, was.crashes, was.reopened)
        pause_s = end.draw * min(60.0, 2.0**infra)
    elif cause not in (E.INFRA, E.REJECTED) and used < policy.max:
        history = History(was.attempt, used + 1, infra, was.crashes, was.reopened)
        pause_s = _pause_s(policy, used) * (end.draw if policy.jitter else 1.0)
    else:
        return Change(S.FAILED, was, ENDS[S.FAILED], error=error, ended=True)
    pause_s = max(pause_s, end.retry_after_s or 0.0)
    if pause_s > 0:
        return Change(S.DELAYED, history, "job.retrying", due=wall + pause_s, error=error, ended=True)
    return Change(S.QUEUED, history, "job.retrying", error=error, ended=True)


def _pause_s(policy: RetryPolicy, used: int) -> float:
    return min(policy.max_backoff_s, policy.backoff_s * policy.factor**used)
