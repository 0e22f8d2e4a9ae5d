"""Statements that take many rows at once, and the rows of jobs as they are read.

While a statement runs, the interpreter's lock is free; getting it back from a busy event loop takes up to the switch
interval (5 ms). So a row must not cost a statement: 512 rows go in one. And a None or bytes parameter costs the sqlite3
module 0.7 us (it looks for an adapter), so that hot statements take '' or -1 for None and bytearrays for bytes.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from hpcq.core.job import ACTIVE, FINAL, FRESH, WAITING, History, State, StopReason
from hpcq.store.codec import treatment_of
from hpcq.store.rows import JobRow, NewRow, SaveRow

SIZES = (512, 64, 16, 4, 1)


def in_words(states: Iterable[str]) -> str:
    """States as an SQL list."""
    return "(" + ", ".join(f"'{state}'" for state in sorted(states)) + ")"


FINAL_SQL = in_words(FINAL)
ACTIVE_SQL = in_words(ACTIVE)
WAITING_SQL = in_words(WAITING)


class Many:
    """One statement, written for 1, 4, 16, 64 and 512 rows."""

    def __init__(self, before: str, row: str, after: str = "") -> None:
        self._by_size = [(size, f"{before} {', '.join([row] * size)} {after}") for size in SIZES]

    def run(self, db: sqlite3.Connection, rows: Sequence[Sequence[Any]]) -> list[Any]:
        """Execute for all rows, in order; returns what the statements return."""
        found: list[Any] = []
        at, left = 0, len(rows)
        for size, sql in self._by_size:
            while left >= size:
                found += db.execute(sql, list(chain.from_iterable(rows[at : at + size]))).fetchall()
                at, left = at + size, left - size
        return found


JOB_COLUMNS = """
    j.job, j.id, l.org_id, j.number, j.name, l.queue, l.runner, j.batch_key, j.state,
    j.attempt, j.retries_used, j.infra_used, j.crashes, j.reopened, t.body, s.spec,
    j.created_at, j.updated_at, j.started_at, j.finished_at, j.run_at, j.expires_at, j.slot, j.stop,
    h.handle, o.progress, o.result, o.error, o.usage, o.artifacts
"""
JOB_TABLES = """
    jobs j JOIN lanes l ON l.lane = j.lane JOIN treatments t ON t.treatment = j.treatment
    JOIN specs s ON s.job = j.job LEFT JOIN outcomes o ON o.job = j.job
    LEFT JOIN handles h ON h.job = j.job AND h.attempt = j.attempt
"""
SELECT_JOBS = f"SELECT {JOB_COLUMNS} FROM {JOB_TABLES}"  # noqa: S608  (constants)


def job_row(found: Sequence[Any]) -> JobRow:
    """A JobRow from a row of JOB_COLUMNS."""
    job, id_, org_id, number, name, queue, runner, batch_key, state, *rest = found
    counts, body, spec, more = tuple(rest[:5]), rest[5], rest[6], rest[7:]
    created, updated, started, finished, run_at, expires, slot, stop, *outcome = more
    treatment = treatment_of(body)
    return JobRow(
        job, id_, org_id, number, name, queue, runner, treatment.priority, batch_key, State(state),
        FRESH if not any(counts) else History(*counts), treatment, spec,
        created, updated, started, finished, run_at, expires, slot, StopReason(stop) if stop else None,
        *outcome,
    )  # fmt: skip


def made_row(new: NewRow, row: SaveRow) -> JobRow:
    """The row of a job that is inserted with this Save."""
    save, treatment = row.save, new.treatment
    return JobRow(
        new.job, new.id, new.org_id, new.number, new.name, treatment.queue, new.runner, treatment.priority,
        new.batch_key, save.state, save.history, treatment, new.spec, new.created_at, row.at, None,
        row.at if save.state in FINAL else None, new.run_at if save.due is None else save.due, new.expires_at,
        save.slot, save.stop, None, row.progress, row.result, row.error, row.usage, row.artifacts,
    )  # fmt: skip


_BY_JOB = Many(f"{SELECT_JOBS} WHERE j.job IN (", "?", ")")
_BY_ID = Many(f"{SELECT_JOBS} WHERE j.id IN (", "?", ")")


def jobs_by_int(db: sqlite3.Connection, jobs: Iterable[int]) -> dict[int, JobRow]:
    """The rows of these jobs, as far as they are there."""
    return {row[0]: job_row(row) for row in _BY_JOB.run(db, [(job,) for job in jobs])}


def jobs_by_id(db: sqlite3.Connection, ids: Iterable[str]) -> dict[str, JobRow]:
    """The rows of these jobs, as far as they are there."""
    return {row[1]: job_row(row) for row in _BY_ID.run(db, [(id_,) for id_ in ids])}
