"""What enters the engine's inbox beside the core's own events."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from types import EllipsisType
from typing import Any

from hpcq.core.events import Event, Finished
from hpcq.engine.attempt import Attempt
from hpcq.engine.firing import Firing
from hpcq.engine.intake import Prepared
from hpcq.engine.spec import JobPatch
from hpcq.plugin import Outcome
from hpcq.store.rows import EventRow, ScheduleRow, ScheduleRun

Reply = asyncio.Future[Any]


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt is over, its processes are gone, and its place is free."""

    event: Finished
    attempt: Attempt
    outcome: Outcome
    artifacts: list[dict[str, object]] | None = None


@dataclass(frozen=True, slots=True)
class HandleMade:
    """A runner with durable handles has begun an attempt: the handle is saved before anything else happens to it."""

    job: int
    attempt: int
    handle: bytes
    reply: Reply


@dataclass(frozen=True, slots=True)
class Submit:
    """New jobs, all or none."""

    jobs: Sequence[Prepared]
    org: str | None
    key: str | None  # covers the whole request
    bulk: bool  # an array: errors name the index
    reply: Reply
    firing: Firing | None = None  # a schedule asks
    digest: bytes | None = None  # of what was asked for, where that became other jobs


@dataclass(frozen=True, slots=True)
class Cancel:
    org: str | None
    job_id: str
    reply: Reply
    waiting_only: bool = False  # one that has begun is left alone


@dataclass(frozen=True, slots=True)
class Retry:
    org: str | None
    job_id: str
    reply: Reply


@dataclass(frozen=True, slots=True)
class Edit:
    org: str | None
    job_id: str
    patch: JobPatch
    reply: Reply
    own_key: str | None = None  # the runner's session key of the job, where the patch takes its batch_key away


@dataclass(frozen=True, slots=True)
class ChangeQueue:
    queue: str
    paused: bool | None
    slots: int | EllipsisType | None  # ...: leave; None: as the file says
    reason: str
    reply: Reply | None = None
    by_runner: bool = False


@dataclass(frozen=True, slots=True)
class SaveSchedule:
    """A schedule was made, changed or removed, or has let a time pass."""

    row: ScheduleRow | str  # a str: the id of one that is gone
    reply: Reply
    run: ScheduleRun | None = None


@dataclass(frozen=True, slots=True)
class Noted:
    """Something happened that no job's state tells."""

    events: Sequence[EventRow]


Request = Submit | Cancel | Retry | Edit | ChangeQueue | SaveSchedule
Message = Event | Ended | HandleMade | Noted | Request
