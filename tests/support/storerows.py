"""Rows for tests of the store, short to write; and its two ends, closed whatever happens."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from hpcq.core.effects import Save
from hpcq.core.job import FINAL, FRESH, Dependency, History, State, Treatment
from hpcq.store.reader import Reader
from hpcq.store.rows import NewRow, Round, SaveRow
from hpcq.store.writer import Writer

SPEC = b'{"queue":"local","params":{"command":["true"]}}'
NOW = 1_000_000.0


def new(job: int, **changes: Any) -> NewRow:
    """A job to insert; keywords that belong to its treatment go there."""
    org_id = changes.pop("org_id", "default")
    ours = {name: changes.pop(name) for name in tuple(changes) if name in Treatment.__dataclass_fields__}
    treatment = Treatment(**{"queue": "local", "org_id": org_id, **ours})
    row = NewRow(job, job_id(job), org_id, job, None, "shell", treatment, SPEC, (), (), None, NOW, None, None)
    return row._replace(**changes)


def job_id(job: int) -> str:
    """The public id of a job of these tests."""
    return f"0193a5b0-1234-7000-8000-{job:012x}"


def saved(job: int, state: State, *events: str, attempt: int = 0, at: float = NOW, **data: Any) -> SaveRow:
    """A change of a job. `verdict`: the core's own error; other `data`: fields of Save or SaveRow."""
    history = data.pop("history", History(attempt) if attempt else FRESH)
    of_save = {name: data.pop(name) for name in ("due", "slot", "stop") if name in data}
    save = Save(job, state, history, error=data.pop("verdict", None), **of_save)
    return SaveRow(save, events, at, **data)


def submitted(*rows: NewRow, at: float = NOW, **more: Any) -> Round:
    """A round that inserts jobs as the core would: queued, or blocked where they need others."""
    pairs = [
        (row, saved(row.job, State.BLOCKED if row.depends_on else State.QUEUED, "job.submitted", at=at)) for row in rows
    ]
    return Round(at, inserts=pairs, **more)


def jobs_with(numbers: Sequence[int], **changes: Any) -> Round:
    """A round that inserts these jobs, all alike."""
    return submitted(*(new(number, **changes) for number in numbers))


def ended(job: int, state: State = State.SUCCEEDED, at: float = NOW, **data: Any) -> SaveRow:
    """The end of a first attempt that also started in this round."""
    assert state in FINAL
    return saved(job, state, "job.started", f"job.{state}", attempt=1, at=at, keep=True, **data)


def needs(*jobs: int) -> tuple[Dependency, ...]:
    """Dependencies on the success of these jobs."""
    return tuple(Dependency(job) for job in jobs)


@contextlib.asynccontextmanager
async def writing(path: Path) -> AsyncIterator[Writer]:
    """A writer on this file."""
    writer = await Writer.open(path)
    try:
        yield writer
    finally:
        await writer.close()


@contextlib.asynccontextmanager
async def reading(path: Path) -> AsyncIterator[Reader]:
    """A reader on this file. (Its threads would keep a process alive for ever.)"""
    reader = await Reader.open(path)
    try:
        yield reader
    finally:
        await reader.close()
