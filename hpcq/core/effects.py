"""What the core asks the outside world to do. All of a round's `Save`s are committed before anything else happens."""

from hpcq.core.job import Error, History, State, StopReason
from hpcq.core.record import record


@record
class Save:
    """The whole of what the core knows of a job after a change: one row to write, and perhaps one event to publish."""

    job: int
    state: State
    history: History
    event: str | None = None  # "job.queued" and so on
    due: float | None = None  # wall time at which a delayed job is to be queued
    slot: str | None = None  # while an attempt is live
    stop: StopReason | None = None
    error: Error | None = None  # the core's own verdict; None: the outcome's
    attempt_ended: bool = False  # the attempt `history.attempt` is over: write its row


@record
class Start:
    """Start this attempt on this slot. Several for one slot: the later ones are claims ahead, in order."""

    job: int
    attempt: int
    queue: str
    slot: str
    items: tuple[tuple[str, tuple[str, ...]], ...] = ()  # named items of list resources: ("gpu", ("0",))


@record
class Stop:
    """Stop this live attempt; its `Finished` is awaited all the same."""

    job: int
    attempt: int
    queue: str
    slot: str
    reason: StopReason
    grace_s: float


@record
class Recall:
    """Take this claim back if it has not begun; answered by `Recalled`, or by nothing."""

    job: int
    attempt: int
    queue: str
    slot: str


Effect = Save | Start | Stop | Recall
