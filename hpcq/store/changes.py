"""Jobs as rounds change them: inserts, saves, edits."""

import sqlite3
from collections.abc import Sequence
from functools import lru_cache

import orjson

from hpcq.core.job import FINAL, FRESH, WAITING, State
from hpcq.store.errors import StoreRefused
from hpcq.store.interned import Interned
from hpcq.store.journal import Journal
from hpcq.store.rows import EditRow, EventRow, NewRow, SaveRow
from hpcq.store.statements import Many

_WAITING = frozenset(state.value for state in WAITING)
LEAVE, NULL = -1.0, -2.0  # for a time: the column stays; the column becomes NULL

_REOPEN = Many("UPDATE jobs SET run_at = NULL, expires_at = NULL WHERE job IN (", "?", ")")
_INSERT = Many(
    """INSERT INTO jobs (job, id, lane, number, state, treatment, created_at, updated_at, run_at, expires_at, name,
    batch_key, submitted_seq) VALUES""",
    "(?, ?, ?, ?, ?, ?, ?, ?, nullif(?, -2.0), nullif(?, -2.0), nullif(?, ''), nullif(?, ''), ?)",
)
_SPEC = Many("INSERT INTO specs (job, spec, tags) VALUES", "(?, ?, nullif(?, x''))")
_TAG = Many("INSERT OR IGNORE INTO job_tags (key, value, job) VALUES", "(?, ?, ?)")
_DEPENDENCY = Many("INSERT OR IGNORE INTO dependencies (job, needs, ends) VALUES", "(?, ?, ?)")
_UPDATE = Many(
    """UPDATE jobs SET state = v.column2, attempt = v.column3, retries_used = v.column4, infra_used = v.column5,
    crashes = v.column6, reopened = v.column7, updated_at = v.column8,
    started_at = CASE v.column9 WHEN -1.0 THEN started_at WHEN -2.0 THEN NULL ELSE v.column9 END,
    finished_at = nullif(v.column10, -2.0),
    run_at = CASE v.column11 WHEN -1.0 THEN run_at ELSE v.column11 END,
    slot = nullif(v.column12, ''), stop = nullif(v.column13, ''),
    error_type = CASE v.column14 WHEN '=' THEN error_type WHEN '' THEN NULL ELSE v.column14 END
    FROM (VALUES""",
    "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    ") v WHERE jobs.job = v.column1",
)
# What events say of jobs, as one row of JSON: RETURNING would be a row for each, and a turn of the interpreter's lock.
_KNOWN = Many("SELECT json_group_array(json_array(job, id, number, lane)) FROM jobs WHERE job IN (", "?", ")")
_OUTCOME = Many(
    "INSERT OR REPLACE INTO outcomes (job, result, error, usage, progress, artifacts) VALUES",
    "(?, nullif(?, x''), nullif(?, x''), nullif(?, x''), nullif(?, x''), nullif(?, x''))",
)
_VERDICT = Many(
    "INSERT INTO outcomes (job, error) VALUES", "(?, ?)", "ON CONFLICT (job) DO UPDATE SET error = excluded.error"
)
_COUNT = "INSERT INTO counters VALUES (?, ?) ON CONFLICT (org_id) DO UPDATE SET number = max(number, excluded.number)"


@lru_cache(1_000)
def _tags_json(tags: tuple[tuple[str, str], ...]) -> bytearray:
    return bytearray(orjson.dumps(tags) if tags else b"")


class Changes:
    """Writes jobs, within the transaction of the caller."""

    def __init__(self, db: sqlite3.Connection, interned: Interned, journal: Journal) -> None:
        self._db, self._interned, self._journal = db, interned, journal

    def insert(self, pairs: Sequence[tuple[NewRow, SaveRow]]) -> list[EventRow]:
        """New jobs and their events. One that already does more than wait is inserted as waiting, then updated.

        This loop is most of what a bulk costs outside SQLite, so it looks up no treatment twice and no enum at all.
        """
        events: list[EventRow] = []
        jobs, busy = [], []
        places: dict[int, tuple[int, int]] = {}  # by the treatment's identity: the rows hold the objects
        for new, row in pairs:
            treatment, save = new.treatment, row.save
            if (place := places.get(id(treatment))) is None:
                place = places[id(treatment)] = self._place(new)
            state = str.__str__(save.state)
            if save.error:
                row = self._with_verdict(row, pairs)  # noqa: PLW2901
            if state not in _WAITING or row.keep or (save.history is not FRESH and save.history != FRESH):
                busy.append(row)
                state = state if state in _WAITING else "queued"
            run_at = new.run_at if save.due is None else save.due
            jobs.append(
                (
                    new.job, new.id, place[0], new.number, state, place[1], new.created_at, row.at,
                    NULL if run_at is None else run_at, NULL if new.expires_at is None else new.expires_at,
                    new.name or "", new.batch_key or "", self._journal.seq + 1,
                )
            )  # fmt: skip
            events += self._journal.of_save(row, new.id, new.number, treatment.queue, new.org_id)
        _INSERT.run(self._db, jobs)
        _SPEC.run(self._db, [(new.job, bytearray(new.spec), _tags_json(new.tags)) for new, _ in pairs])
        _TAG.run(self._db, [(key, value, new.job) for new, _ in pairs for key, value in new.tags])
        needs = [(new.job, need.job, need.on.value) for new, _ in pairs for need in new.depends_on]
        _DEPENDENCY.run(self._db, needs)
        self._write_saves(busy)
        return events

    def _place(self, new: NewRow) -> tuple[int, int]:
        treatment = new.treatment
        lane = self._interned.lane(new.org_id, treatment.queue, new.runner)
        return lane, self._interned.treatment(treatment)

    def count(self, pairs: Sequence[tuple[NewRow, SaveRow]]) -> None:
        """Keep the last number of each org."""
        last: dict[str, int] = {}
        for new, _ in pairs:
            if new.number > last.get(new.org_id, 0):
                last[new.org_id] = new.number
        for org_number in last.items():
            self._db.execute(_COUNT, org_number)

    def _with_verdict(self, row: SaveRow, fresh: Sequence[tuple[NewRow, SaveRow]] = ()) -> SaveRow:
        """The core's own verdict as the error, unless the outcome's says more. `{job}` becomes the id of `about`.

        `fresh`: jobs that are only being inserted.
        """
        error = row.save.error
        if error is None or row.error:
            return row
        message = error.message
        if error.about is not None:
            message = message.replace("{job}", self._id_of(error.about, fresh))
        verdict = {"type": error.type, "message": message, "exit_code": None, "signal": None}
        return row._replace(error=orjson.dumps(verdict))

    def _id_of(self, job: int, fresh: Sequence[tuple[NewRow, SaveRow]]) -> str:
        for new, _ in fresh:
            if new.job == job:
                return new.id
        found = self._db.execute("SELECT id FROM jobs WHERE job = ?", (job,)).fetchone()
        return str(found[0]) if found else "that is gone"

    def save(self, rows: Sequence[SaveRow]) -> list[EventRow]:
        """Saves of jobs that are there, and their events, in the order of the rows."""
        rows = [self._with_verdict(row) for row in rows]
        # Who asks for another try asks for it now: the times of the first try are over.
        _REOPEN.run(self._db, [(row.save.job,) for row in rows if "job.reopened" in row.events])
        found = self._write_saves(rows)
        events: list[EventRow] = []
        for row in rows:
            if row.events:
                id_, number, lane = found[row.save.job]
                events += self._journal.of_save(row, id_, number, *self._interned.places[lane])
        return events

    def _write_saves(self, rows: Sequence[SaveRow]) -> dict[int, tuple[str, int, int]]:
        """Returns (id, number, lane) by job."""
        _UPDATE.run(self._db, [*map(_update, rows)])
        known = _KNOWN.run(self._db, [(row.save.job,) for row in rows])
        found = {job: (id_, number, lane) for (part,) in known for job, id_, number, lane in orjson.loads(part)}
        if missing := [row.save.job for row in rows if row.save.job not in found]:
            raise StoreRefused(f"a round saves jobs that are not in the store: {missing[:10]}")
        _OUTCOME.run(self._db, [_outcome(row) for row in rows if row.keep])
        _VERDICT.run(self._db, [(row.save.job, row.error) for row in rows if row.error and not row.keep])
        return found

    def edit(self, row: EditRow, at: float) -> None:
        """The editable part of a job."""
        self._db.execute(
            """UPDATE jobs SET treatment = ?, run_at = ?, expires_at = ?, name = ?, batch_key = ?, updated_at = ?
            WHERE job = ?""",
            (self._interned.treatment(row.treatment), row.run_at, row.expires_at, row.name, row.batch_key, at, row.job),
        )
        forget_tags(self._db, [row.job])
        self._db.execute(
            "UPDATE specs SET spec = ?, tags = nullif(?, x'') WHERE job = ?",
            (row.spec, _tags_json(row.tags), row.job),
        )
        _TAG.run(self._db, [(key, value, row.job) for key, value in row.tags])


def forget_tags(db: sqlite3.Connection, jobs: Sequence[int]) -> None:
    """Take these jobs out of the index of tags."""
    for job in jobs:
        found = db.execute("SELECT tags FROM specs WHERE job = ? AND tags IS NOT NULL", (job,)).fetchone()
        for key, value in orjson.loads(found[0]) if found else ():
            db.execute("DELETE FROM job_tags WHERE key = ? AND value = ? AND job = ?", (key, value, job))


def _update(row: SaveRow) -> tuple[object, ...]:
    save, history = row.save, row.save.history
    started = LEAVE
    if save.state in WAITING or save.state is State.STARTING:
        started = NULL  # a job that waits has not started
    elif row.started_at is not None:
        started = row.started_at
    elif "job.started" in row.events:
        started = row.at
    return (
        save.job, save.state.value, history.attempt, history.retries_used, history.infra_used, history.crashes,
        history.reopened, row.at, started, row.at if save.state in FINAL else NULL,
        LEAVE if save.due is None else save.due, save.slot or "", save.stop.value if save.stop else "",
        _error_type(row),
    )  # fmt: skip


def _error_type(row: SaveRow) -> str:
    if row.error:
        found: str = orjson.loads(row.error)["type"]
        return found
    return "" if row.keep else "="


def _outcome(row: SaveRow) -> tuple[object, ...]:
    artifacts = None if row.artifacts == b"[]" else row.artifacts
    columns = (row.result, row.error, row.usage, row.progress, artifacts)
    return (row.save.job, *(bytearray(column or b"") for column in columns))
