"""What can happen: the only things that enter `Scheduler.handle`."""

from hpcq.core.job import ErrorType, NewJob, QueueSettings, Slot, StopReason, Treatment
from hpcq.core.record import record


@record
class Submitted:
    """New jobs, already admitted (`Scheduler.refusals`) and numbered; a dependency stands before its dependents."""

    jobs: tuple[NewJob, ...]


@record
class Loaded:
    """Waiting jobs found in the store at start. Nothing is saved for those that stand as they stood."""

    jobs: tuple[NewJob, ...]


@record
class Attached:
    """After a restart, a live attempt whose work the runner found again; it goes on with a full lease."""

    job: NewJob
    slot: str
    started_at: float | None  # wall time: what is left of its timeout counts from here; None: not begun yet
    stop: StopReason | None = None
    items: tuple[tuple[str, tuple[str, ...]], ...] = ()  # named items that it holds, where that is known
    ran_as: Treatment | None = None  # how it was when it got its slot, where that is known: what it holds


@record
class Orphaned:
    """After a restart, an attempt that could not be found again: its tree is dead, the job goes back, uncharged."""

    job: NewJob
    stop: StopReason | None = None  # a saved stop reason decides, as it would have
    crashed: bool = False  # the server died uncleanly within 60 s of the attempt's start


@record
class Started:
    """The runner has begun this attempt (a claim ahead of it waits in `starting` until its turn)."""

    job: int
    attempt: int


@record
class Finished:
    """The attempt's outcome; its tree is dead and its place is free."""

    job: int
    attempt: int
    failure: ErrorType | None = None
    retry_after_s: float | None = None
    draw: float = 0.5  # uniform in [0, 1): the back-off's jitter, drawn outside
    worker_died: bool = False  # its worker was killed by a signal: counts towards the poison rule
    session_lost: bool = False  # the slot's session is gone (a failed prepare, a broken device)
    run_s: float | None = None  # how long it ran, for estimates


@record
class Recalled:
    """A claim that had not begun was taken back in time."""

    job: int
    attempt: int


@record
class Renewed:
    """Supervision has seen this attempt alive."""

    job: int
    attempt: int


@record
class StopRequested:
    """Supervision or the drain wants this attempt stopped (over its memory, server going down)."""

    job: int
    attempt: int
    reason: StopReason


@record
class Cancelled:
    """Somebody wants this job to end. Ignored for a job that is final."""

    job: int


@record
class Edited:
    """A job that is not final is to be treated otherwise from now on."""

    job: int
    treatment: Treatment
    run_at: float | None = None
    expires_at: float | None = None


@record
class Reopened:
    """A final job is to run again under the same id, with fresh retries; `history.reopened` is already one higher."""

    job: NewJob


@record
class QueueChanged:
    """A queue exists, or its settings are new."""

    settings: QueueSettings


@record
class SlotsOffered:
    """All slots that a queue's runner has, from now on. A missing one that is busy finishes its job first."""

    queue: str
    slots: tuple[Slot, ...]


@record
class RunnerChanged:
    """A queue's runner can, or cannot, run jobs."""

    queue: str
    available: bool
    reason: str = ""


@record
class SessionEnded:
    """A slot's session was released."""

    queue: str
    slot: str


@record
class Draining:
    """The server is going down: nothing starts any more."""


@record
class Ticked:
    """Time has passed."""


Event = (
    Submitted
    | Loaded
    | Attached
    | Orphaned
    | Started
    | Finished
    | Recalled
    | Renewed
    | StopRequested
    | Cancelled
    | Edited
    | Reopened
    | QueueChanged
    | SlotsOffered
    | RunnerChanged
    | SessionEnded
    | Draining
    | Ticked
)
