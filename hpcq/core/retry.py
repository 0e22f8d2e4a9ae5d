"""What the end of an attempt leads to: a pure function of what happened and what the job has been through."""

from hpcq.core.job import Error, ErrorType, History, State, StopReason, Treatment
from hpcq.core.record import record

INFRA_MAX = 3  # tries that a broken device or farm may cost before the job fails
INFRA_BACKOFF_S = 1.0
INFRA_FACTOR = 2.0
INFRA_MAX_BACKOFF_S = 60.0
CRASHES_MAX = 3  # attempts in a row that took their worker or the server with them


@record
class Attempt:
    """How one attempt ended, as far as it matters for what comes next."""

    treatment: Treatment
    history: History
    failure: ErrorType | None = None
    stop: StopReason | None = None
    retry_after_s: float | None = None
    draw: float = 0.5
    crashed: bool = False  # it took its worker, or the server, with it


@record
class Verdict:
    """Where the job goes: a final state, `queued`, or `delayed` by so many seconds."""

    state: State
    event: str
    history: History
    delay_s: float = 0.0
    error: Error | None = None  # the core's own; None: the outcome's
    elsewhere: bool = False  # the next try prefers another slot


def verdict(attempt: Attempt) -> Verdict:
    """Decide. A pending stop decides by its reason, whatever the outcome says."""
    stop = attempt.stop
    if stop is StopReason.CANCEL:
        return Verdict(State.CANCELLED, "job.cancelled", attempt.history)
    if stop is StopReason.DRAIN:
        return Verdict(State.QUEUED, "job.queued", attempt.history)
    if stop is not None:
        return _stopped(attempt, stop)
    if attempt.crashed:
        return _crashed(attempt)
    return _ended(attempt, attempt.failure, None)


def _stopped(attempt: Attempt, stop: StopReason) -> Verdict:
    if stop is StopReason.LEASE:
        error = Error(ErrorType.LOST, "nothing was heard of it for longer than its lease: it was stopped and goes back")
        return _ended(attempt, ErrorType.LOST, error)
    if stop is StopReason.TIMEOUT:
        limit = attempt.treatment.timeout_s
        text = "it ran longer than its timeout" + (f" of {limit:g} s" if limit is not None else "")
        return _ended(attempt, ErrorType.TIMEOUT, Error(ErrorType.TIMEOUT, text))
    memory = dict(attempt.treatment.resources).get("memory_mb")
    text = "it used more memory than it may" + (f": its memory_mb is {memory:g}" if memory is not None else "")
    return _ended(attempt, ErrorType.OOM, Error(ErrorType.OOM, text))


def _crashed(attempt: Attempt) -> Verdict:
    was = attempt.history
    history = History(was.attempt, was.retries_used, was.infra_used, was.crashes + 1, was.reopened)
    if history.crashes >= CRASHES_MAX:
        what = "the server" if attempt.failure is ErrorType.LOST else "its worker"
        text = f"{what} died under it, and {history.crashes} attempts in a row ended so: it is not tried again"
        return Verdict(State.FAILED, "job.failed", history, error=Error(ErrorType.LOST, text))
    failure = attempt.failure or ErrorType.SIGNAL
    return _failed(attempt, history, failure, None)


def _ended(attempt: Attempt, failure: ErrorType | None, error: Error | None) -> Verdict:
    was = attempt.history
    history = was
    if was.crashes and failure is not ErrorType.LOST:  # a completed attempt: the row of crashes is broken
        history = History(was.attempt, was.retries_used, was.infra_used, 0, was.reopened)
    if failure is None:
        return Verdict(State.SUCCEEDED, "job.succeeded", history)
    return _failed(attempt, history, failure, error)


def _failed(attempt: Attempt, history: History, failure: ErrorType, error: Error | None) -> Verdict:
    if failure is ErrorType.LOST:
        return Verdict(State.QUEUED, "job.retrying", history, error=error)
    if failure is ErrorType.INFRA:
        return _infra(attempt, history, error)
    policy = attempt.treatment.retries
    used = history.retries_used
    if failure is ErrorType.REJECTED or used >= policy.max:
        return Verdict(State.FAILED, "job.failed", history, error=error)
    delay_s = backoff_s(
        used, policy.backoff_s, policy.factor, policy.max_backoff_s, attempt.draw if policy.jitter else 1
    )
    after = History(history.attempt, used + 1, history.infra_used, history.crashes, history.reopened)
    return _retry(after, max(delay_s, attempt.retry_after_s or 0.0), error, elsewhere=False)


def _infra(attempt: Attempt, history: History, error: Error | None) -> Verdict:
    used = history.infra_used
    if used >= INFRA_MAX:
        return Verdict(State.FAILED, "job.failed", history, error=error)
    delay_s = backoff_s(used, INFRA_BACKOFF_S, INFRA_FACTOR, INFRA_MAX_BACKOFF_S, attempt.draw)
    after = History(history.attempt, history.retries_used, used + 1, history.crashes, history.reopened)
    return _retry(after, max(delay_s, attempt.retry_after_s or 0.0), error, elsewhere=True)


def _retry(history: History, delay_s: float, error: Error | None, *, elsewhere: bool) -> Verdict:
    state = State.DELAYED if delay_s > 0 else State.QUEUED
    return Verdict(state, "job.retrying", history, delay_s, error, elsewhere)


def backoff_s(n: int, base_s: float, factor: float, cap_s: float, draw: float) -> float:
    """The pause before retry n (from 0): the share `draw` of min(cap, base * factor ** n)."""
    try:
        longest_s = base_s * factor**n
    except OverflowError:
        longest_s = cap_s
    return draw * min(cap_s, longest_s)
