"""What the answers look like: the models from which the OpenAPI document is made. Requests are validated by theirs."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from hpcq.core.job import ErrorType, On, State

Timestamp = Annotated[datetime, Field(description="RFC 3339, UTC, milliseconds")]
Counts = Annotated[dict[str, int], Field(description="State to number of jobs")]


class Answer(BaseModel):
    """Further fields may come with later versions."""

    model_config = ConfigDict(extra="allow")


class FieldFault(Answer):
    """One bad place: a JSON pointer into the body, or the name of a query parameter."""

    pointer: str | None = None
    parameter: str | None = None
    detail: str


class ProblemDocument(Answer):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldFault] = []


class Dependency(Answer):
    job: str
    on: On


class Retries(Answer):
    max: int
    backoff_s: float
    factor: float
    max_backoff_s: float
    jitter: bool


class Progress(Answer):
    done: float
    total: float | None
    message: str


class JobError(Answer):
    type: ErrorType
    message: str
    exit_code: int | None = None
    signal: int | None = None


class Usage(Answer):
    max_rss_mb: float | None = None
    cpu_s: float | None = None


class Artifact(Answer):
    name: str
    size: int


class Job(Answer):
    """A job: its spec, and what became of it."""

    id: str
    number: int
    queue: str
    params: dict[str, JsonValue]
    name: str | None
    priority: int
    org_id: str
    tags: dict[str, str]
    depends_on: list[Dependency]
    blobs: Annotated[dict[str, str], Field(description="What the params name of uploaded files: the SHA-256")]
    timeout_s: float | None
    retries: Retries
    resources: dict[str, float]
    requires: dict[str, str]
    run_at: Timestamp | None
    expires_at: Timestamp | None
    batch_key: str | None
    state: State
    runner: str
    slot: str | None
    attempt: int
    retries_left: int
    created_at: Timestamp
    updated_at: Timestamp
    started_at: Timestamp | None
    finished_at: Timestamp | None
    wait_s: float
    run_s: float | None
    progress: Progress | None
    result: JsonValue
    error: JobError | None
    usage: Usage | None
    artifacts: list[Artifact]


class Submitted(Answer):
    """The answer to a submit of many jobs; `ids` in the order of the request."""

    count: int
    ids: list[str]


class JobPage(Answer):
    jobs: list[Job]
    next_cursor: str | None


class Summary(Answer):
    counts: Counts
    total: int
    final: bool


class Count(Answer):
    count: int


class Attempt(Answer):
    attempt: int
    state: str
    slot: str | None
    started_at: Timestamp | None
    finished_at: Timestamp | None
    run_s: float | None
    result: JsonValue
    commit: str | None
    error: JobError | None
    usage: Usage | None
    output_bytes: int
    truncated: bool


class Attempts(Answer):
    attempts: list[Attempt]


class TestResult(Answer):
    """The verdict on one test; `retries`: how often it was run again."""

    id: str
    title: str
    file: str
    line: int
    status: Literal["passed", "failed", "flaky", "skipped"]
    duration_s: float
    retries: int
    error: str | None
    suite: str


class JobTests(Answer):
    tests: list[TestResult]


class TestHistory(Answer):
    """A test and its newest 200 runs; `flaky`: it failed and passed on the same commit."""

    suite: str
    id: str
    title: str
    file: str
    line: int
    org_id: str
    runs: int
    counts: dict[str, int]
    failure_rate: float | None
    flaky_rate: float | None
    p50_duration_s: float | None
    flaky: bool
    last_status: Literal["passed", "failed", "flaky", "skipped"]
    last_commit: str | None
    last_at: Timestamp
    last_job: str | None


class Tests(Answer):
    tests: list[TestHistory]
    next_cursor: str | None


class Event(Answer):
    """`seq` is null for what is live only (`job.progress`)."""

    seq: int | None
    at: Timestamp
    type: str
    job: str | None
    number: int | None
    state: State | None
    queue: str | None
    org_id: str | None
    attempt: int | None


class Events(Answer):
    events: list[Event]


class Artifacts(Answer):
    artifacts: list[Artifact]


class Reason(Answer):
    code: str
    message: str
    holders: list[str]
    until: Timestamp | None


class Explanation(Answer):
    job: str
    state: State
    reasons: list[Reason]
    estimated_start: Timestamp | None
    suggestions: list[str]


class SlotState(Answer):
    name: str
    labels: dict[str, str]
    state: str
    job: str | None
    session_key: str | None


class Queue(Answer):
    name: str
    runner: str
    slots: int | None
    paused: bool
    counts: Counts
    batch_size: int
    oldest_wait_s: float | None
    slot_list: list[SlotState]


class Queues(Answer):
    queues: list[Queue]


class Device(Answer):
    name: str
    queue: str
    state: str
    reason: str
    labels: dict[str, str]
    job: str | None
    session_key: str | None


class Devices(Answer):
    devices: list[Device]


class RunnerState(Answer):
    name: str


class Runners(Answer):
    runners: list[RunnerState]


class Schedule(Answer):
    id: str
    name: str
    cron: str
    timezone: str
    overlap: Literal["skip", "queue", "allow"]
    catch_up: Literal["none", "one", "all"]
    paused: bool
    org_id: str
    jobs: list[dict[str, JsonValue]]
    next_run_at: Timestamp | None
    created_at: Timestamp
    updated_at: Timestamp


class ScheduleRun(Answer):
    """A time that came."""

    due_at: Timestamp | None
    at: Timestamp
    outcome: str
    ids: list[str]
    detail: str | None


class ScheduleShown(Schedule):
    """With its last 20 runs, newest first."""

    last_runs: list[ScheduleRun]


class Schedules(Answer):
    schedules: list[Schedule]


class Health(Answer):
    status: Literal["ok", "degraded", "unavailable"]


class Root(Answer):
    status: Literal["API is ready"] = "API is ready"


class Stats(Answer):
    """Figures of the whole server."""


class Blob(Answer):
    """An uploaded file."""

    sha256: str
    size: int


class App(Answer):
    """A name of a build; `size` is null when the file is no longer kept."""

    app_version_id: str
    org_id: str
    blob: str
    size: int | None
    updated_at: Timestamp


class Apps(Answer):
    apps: list[App]
    next_cursor: str | None


class Freed(Answer):
    """What retention removed, or would remove."""

    jobs: int
    events: int
    keys: int
    folders: int
    bytes: int
    blobs: int
    test_runs: int


class Nothing(BaseModel):
    """A body without fields."""

    model_config = ConfigDict(extra="forbid")
