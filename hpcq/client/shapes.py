"""The shapes that go over the wire, as far as the client looks into them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict

FINAL = frozenset({"succeeded", "failed", "cancelled"})


class FieldError(TypedDict):
    """One bad field of a body."""

    pointer: str
    detail: str


class JobError(TypedDict, total=False):
    """What killed a job."""

    type: str
    message: str
    exit_code: int | None
    signal: int | str | None


class Job(TypedDict, total=False):
    """A job as the server tells it; times are RFC 3339 UTC."""

    id: str
    number: int
    name: str | None
    queue: str
    runner: str
    org_id: str
    state: str
    priority: int
    params: dict[str, Any]
    tags: dict[str, str]
    depends_on: list[Any]
    timeout_s: float | None
    retries: dict[str, Any]
    resources: dict[str, float]
    requires: dict[str, str]
    batch_key: str | None
    slot: str | None
    attempt: int
    retries_left: int
    created_at: str
    updated_at: str
    started_at: str | None
    finished_at: str | None
    run_at: str | None
    wait_s: float | None
    run_s: float | None
    progress: dict[str, Any] | None
    result: Any
    error: JobError | None
    usage: dict[str, float | None] | None
    artifacts: list[dict[str, Any]]


class Event(TypedDict, total=False):
    """One change; `job.progress` has no seq."""

    seq: int
    at: str
    type: str
    job: str
    number: int
    state: str
    queue: str
    org_id: str
    attempt: int


class Summary(TypedDict):
    """How many of the jobs that a filter finds are in each state; `final`: all are done."""

    counts: dict[str, int]
    total: int
    final: bool


@dataclass(frozen=True)
class Filter:
    """Which jobs; what is left empty excludes none."""

    states: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    org_id: str | None = None
    name: str | None = None
    text: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    batch_key: str | None = None
    error_type: str | None = None
    finished_after: str | None = None
    number: int | None = None

    def query(self) -> list[tuple[str, str]]:
        """As query parameters; repeated ones repeat."""
        many = [("state", one) for one in self.states] + [("queue", one) for one in self.queues]
        tags = [("tag", f"{key}:{value}") for key, value in self.tags.items()]
        return many + tags + [(name, str(value)) for name, value in self._single().items()]

    def body(self) -> dict[str, Any]:
        """As the JSON of an action's `filter`."""
        lists = {
            "state": list(self.states),
            "queue": list(self.queues),
            "tag": [f"{key}:{value}" for key, value in self.tags.items()],
        }
        return {name: values for name, values in lists.items() if values} | self._single()

    def _single(self) -> dict[str, Any]:
        names = ("org_id", "name", "text", "batch_key", "error_type", "finished_after", "number")
        return {name: value for name in names if (value := getattr(self, name)) is not None}
