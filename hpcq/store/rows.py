"""The rows that go into the store and come out of it.

Times are seconds since the epoch; JSON is bytes. The rows that a bulk makes by the hundred thousand are named tuples:
making a frozen dataclass costs three times as much.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from hpcq.core.effects import Save
from hpcq.core.job import Dependency, History, NewJob, State, StopReason, Treatment


@dataclass(frozen=True, slots=True)
class JobRow:
    """All that the store knows of a job."""

    job: int
    id: str
    org_id: str
    number: int
    name: str | None
    queue: str
    runner: str
    priority: int
    batch_key: str | None
    state: State
    history: History
    treatment: Treatment
    spec: bytes  # JSON of the validated JobSpec
    created_at: float
    updated_at: float
    started_at: float | None  # of the newest attempt; None while it waits
    finished_at: float | None
    run_at: float | None  # also the end of a back-off
    expires_at: float | None
    slot: str | None
    stop: StopReason | None
    handle: bytes | None  # of the newest attempt
    progress: bytes | None
    result: bytes | None
    error: bytes | None
    usage: bytes | None
    artifacts: bytes | None  # JSON list of {"name", "size"}

    def as_new(self, depends_on: tuple[Dependency, ...] = ()) -> NewJob:
        """What the core must know to take this job in (again)."""
        return NewJob(
            self.job, self.treatment, self.history, self.run_at, self.expires_at, depends_on, state=self.state
        )


class NewRow(NamedTuple):
    """A job to be inserted. Its state is in the SaveRow beside it."""

    job: int
    id: str
    org_id: str
    number: int
    name: str | None
    runner: str
    treatment: Treatment
    spec: bytes
    tags: tuple[tuple[str, str], ...]
    depends_on: tuple[Dependency, ...]
    batch_key: str | None
    created_at: float
    run_at: float | None
    expires_at: float | None


class SaveRow(NamedTuple):
    """What a round changes in a job: the last Save of it, and the events of all its Saves, in order."""

    save: Save
    events: tuple[str, ...]
    at: float
    keep: bool = False  # write the five columns below as they are given; False: leave them
    result: bytes | None = None
    error: bytes | None = None
    usage: bytes | None = None
    progress: bytes | None = None
    artifacts: bytes | None = None
    started_at: float | None = None  # when the attempt began, where that is known better than `at`


class AttemptRow(NamedTuple):
    """One try at a job, when it is over."""

    job: int
    attempt: int
    state: str  # succeeded, failed, cancelled, lost, ...
    slot: str | None
    started_at: float | None
    finished_at: float
    result: bytes | None = None
    error: bytes | None = None
    usage: bytes | None = None
    output_bytes: int = 0
    truncated: bool = False
    tests: bytes | None = None  # JSON list of what its tests reported; `commit`: what they ran on
    commit: str | None = None


class CaseRow(NamedTuple):
    """One test's verdict, for its history."""

    id: str
    title: str
    file: str
    line: int
    status: str  # passed, failed, flaky, skipped
    duration_s: float
    suite: str = ""


class VerdictsRow(NamedTuple):
    """The verdicts of one attempt that count in the history of their tests."""

    job: int
    org_id: str
    commit: str | None
    at: float
    tests: tuple[CaseRow, ...]


class EditRow(NamedTuple):
    """The editable part of a job, as it is to be from now on; `tags` are all its tags."""

    job: int
    treatment: Treatment
    spec: bytes
    tags: tuple[tuple[str, str], ...]
    run_at: float | None
    expires_at: float | None
    name: str | None
    batch_key: str | None


class KeyRow(NamedTuple):
    """An idempotency key: which jobs the first request with it made."""

    org_id: str
    key: str
    body_sha: bytes
    ids: bytes  # JSON list
    at: float


class QueueRow(NamedTuple):
    """What was changed of a queue while it ran, kept over restarts. None: as the config says."""

    name: str
    paused: bool | None = None
    paused_reason: str = ""
    slots: int | None = None


class EventRow(NamedTuple):
    """One thing that happened. `seq` is 0 until the writer gives it one."""

    seq: int
    at: float
    type: str
    job_id: str | None = None
    number: int | None = None
    state: str | None = None
    queue: str | None = None
    org_id: str | None = None
    attempt: int | None = None
    detail: bytes | None = None  # a JSON object to be merged into the event


class ScheduleRow(NamedTuple):
    """A schedule, as it stands."""

    id: str
    org_id: str
    name: str
    cron: str
    timezone: str
    jobs: bytes  # JSON list of JobSpecs
    overlap: str  # skip, queue, allow
    catch_up: str  # none, one, all
    paused: bool
    next_run_at: float | None
    created_at: float
    updated_at: float


class ScheduleRun(NamedTuple):
    """One time a schedule was due. The last 20 are kept."""

    schedule_id: str
    due_at: float
    at: float
    outcome: str  # fired, skipped, failed, ...
    ids: bytes = b"[]"  # JSON list of the jobs it made
    detail: str | None = None


class BlobRow(NamedTuple):
    """An uploaded file that is whole and on disk."""

    sha256: str
    size: int
    created_at: float
    used_at: float


class AppRow(NamedTuple):
    """A name of a build, and the uploaded file that it stands for now."""

    org_id: str
    name: str
    sha256: str
    at: float
    size: int | None = None  # None: the file is no longer kept
    app: int = 0  # grows with each time that a name is given


class PinRow(NamedTuple):
    """An uploaded file that a job's params name: `name` is its SHA-256, or the app_version_id it had at submit."""

    job: int
    name: str
    sha256: str


@dataclass(slots=True)
class Round:
    """All that one round changes, in one transaction."""

    at: float
    inserts: list[tuple[NewRow, SaveRow]] = field(default_factory=list)
    saves: list[SaveRow] = field(default_factory=list)
    attempts: list[AttemptRow] = field(default_factory=list)
    verdicts: list[VerdictsRow] = field(default_factory=list)
    edits: list[EditRow] = field(default_factory=list)
    keys: list[KeyRow] = field(default_factory=list)
    handles: list[tuple[int, int, bytes]] = field(default_factory=list)  # job, attempt, JSON
    queues: list[QueueRow] = field(default_factory=list)
    notes: list[EventRow] = field(default_factory=list)  # events that belong to no Save
    schedules: list[ScheduleRow | str] = field(default_factory=list)  # a str: the id of one to remove
    schedule_runs: list[ScheduleRun] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)  # jobs to be read in the same hop
    pins: list[PinRow] = field(default_factory=list)  # of the inserts


@dataclass(frozen=True, slots=True)
class Committed:
    """What a round became: its events with their seq, and the rows it asked for."""

    events: list[EventRow]
    started: dict[int, JobRow]


@dataclass(frozen=True, slots=True)
class Lookup:
    """What must be known before the core is asked."""

    keys: tuple[tuple[str, str], ...] = ()  # (org, idempotency key)
    ids: tuple[str, ...] = ()
    blobs: tuple[tuple[str, str], ...] = ()  # (org of the caller, SHA-256); org "": all orgs
    apps: tuple[tuple[str, str], ...] = ()  # (org, app_version_id)
    retried: tuple[str, ...] = ()  # ids of jobs that need their uploaded files again
    at: float = 0.0  # wall time: what is found of blobs is kept for a while from then on


@dataclass(frozen=True, slots=True)
class Resolved:
    """What was found; what is not there was not found."""

    keys: dict[tuple[str, str], KeyRow]
    jobs: dict[str, JobRow]
    blobs: frozenset[tuple[str, str]] = frozenset()
    apps: Mapping[tuple[str, str], AppRow] = field(default_factory=dict)
    lost: Mapping[str, str] = field(default_factory=dict)  # id of a retried job: the SHA-256 of a file that is gone


@dataclass(frozen=True, slots=True)
class LoadedSlice:
    """Unfinished jobs after a restart, in the order of their integers. Treatments are shared objects."""

    waiting: tuple[NewJob, ...]  # blocked ones with their dependencies, and how far those have ended
    active: tuple[JobRow, ...]  # starting, running, cancelling
    last: int  # the `after_job` of the next slice
    more: bool


@dataclass(frozen=True, slots=True)
class Counters:
    """The last integers given out."""

    job: int
    numbers: dict[str, int]  # by org
    seq: int
