"""What the core knows of a job: its state, how it is to be treated, and what it has been through."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from hpcq.core.record import record


class State(StrEnum):
    """Where a job stands. The last three are final: only a reopening leaves them."""

    BLOCKED = "blocked"
    DELAYED = "delayed"
    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


S = State
FINAL = frozenset({S.SUCCEEDED, S.FAILED, S.CANCELLED})
WAITING = frozenset({S.BLOCKED, S.DELAYED, S.QUEUED})
ACTIVE = frozenset({S.STARTING, S.RUNNING, S.CANCELLING})

# Every legal change, on one screen; README's diagram is drawn from it.
TRANSITIONS: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        S.BLOCKED: frozenset({S.QUEUED, S.DELAYED, S.FAILED, S.CANCELLED}),
        S.DELAYED: frozenset({S.QUEUED, S.FAILED, S.CANCELLED}),
        S.QUEUED: frozenset({S.STARTING, S.FAILED, S.CANCELLED}),
        S.STARTING: frozenset({S.RUNNING, S.QUEUED, S.DELAYED, S.CANCELLING, S.FAILED}),
        S.RUNNING: frozenset({S.SUCCEEDED, S.FAILED, S.QUEUED, S.DELAYED, S.CANCELLING}),
        S.CANCELLING: frozenset({S.CANCELLED, S.FAILED, S.QUEUED, S.DELAYED}),
        S.SUCCEEDED: frozenset(),
        S.FAILED: frozenset(),
        S.CANCELLED: frozenset(),
    }
)


class ErrorType(StrEnum):
    """What killed a job, `error.type`."""

    EXIT = "exit"
    SIGNAL = "signal"
    TIMEOUT = "timeout"
    OOM = "oom"
    REJECTED = "rejected"
    EXCEPTION = "exception"
    LOST = "lost"
    INFRA = "infra"
    DEPENDENCY = "dependency"
    EXPIRED = "expired"


class StopReason(StrEnum):
    """Why a live attempt is being stopped. The first wins, but cancel overrides."""

    CANCEL = "cancel"
    TIMEOUT = "timeout"
    OOM = "oom"
    LEASE = "lease"
    DRAIN = "drain"


class On(StrEnum):
    """Which end of a job its dependent waits for."""

    SUCCESS = "success"
    FAILURE = "failure"
    ANY = "any"


@record
class Moment:
    """Now. The two clocks are never compared: leases and timeouts are monotonic; `run_at`, expiry and back-off wall."""

    wall: float  # seconds since the epoch
    mono: float  # seconds of the monotonic clock


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a failed job is tried again, and after what pause."""

    max: int = 0
    backoff_s: float = 1.0
    factor: float = 2.0
    max_backoff_s: float = 60.0
    jitter: bool = True


@dataclass(frozen=True, slots=True)
class Treatment:
    """How a job is to be treated. Equal jobs share one object, so that a waiting job costs the core an integer."""

    queue: str
    org_id: str = "default"
    priority: int = 0
    session_key: str | None = None
    resources: tuple[tuple[str, float], ...] = ()  # (name, amount), sorted by name
    requires: tuple[tuple[str, str], ...] = ()  # (label, value) of the slot, sorted
    timeout_s: float | None = None
    retries: RetryPolicy = RetryPolicy()


@record
class History:
    """What a job has been through. Kept in the store, one column each."""

    attempt: int = 0  # the number of the newest attempt; 0 before the first
    retries_used: int = 0
    infra_used: int = 0
    crashes: int = 0  # attempts in a row that took their worker or the server with them
    reopened: int = 0


FRESH = History()


@dataclass(frozen=True, slots=True)
class Dependency:
    """One job waits for the end of another."""

    job: int
    on: On = On.SUCCESS
    ended: State | None = None  # its final state, where the store already has one


@record
class NewJob:
    """A job that enters the core: just submitted, reopened, or loaded after a restart."""

    job: int  # the job's integer: its key in the store
    treatment: Treatment
    history: History = FRESH
    run_at: float | None = None  # wall time; also the end of a back-off
    expires_at: float | None = None  # wall time
    depends_on: tuple[Dependency, ...] = ()
    state: State | None = None  # of a loaded job: as stored (what is not `blocked` is past its dependencies)


@dataclass(frozen=True, slots=True)
class Slot:
    """A place in a queue where one job runs at a time."""

    name: str
    labels: tuple[tuple[str, str], ...] = ()
    ready: bool = True
    reason: str = ""  # why it is held, when it is not ready


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """What the core must know of a queue."""

    name: str
    slots: int | None = None  # the cap; None: as many as the runner offers
    paused: bool = False
    paused_reason: str = ""
    batch_size: int = 3
    lease_s: float = 30.0
    grace_s: float = 3.0
    ahead: int = 0  # how many jobs a slot may hold claimed beside the running one


@dataclass(frozen=True, slots=True)
class Error:
    """An end that the core decided, rather than the job's own outcome."""

    type: ErrorType
    message: str  # `{job}` stands for the job `about`, whose id the store knows
    about: int | None = None
