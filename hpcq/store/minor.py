"""What else a round may change: attempts, handles, keys, queues, schedules."""

import sqlite3

from hpcq.store.rows import AttemptRow, QueueRow, Round, ScheduleRow, ScheduleRun
from hpcq.store.statements import Many
from hpcq.store.tests import write_attempt_tests, write_history

RUNS_KEPT = 20

_ATTEMPT = Many(
    """INSERT OR REPLACE INTO attempts (job, attempt, state, slot, started_at, finished_at, result, error, usage,
    output_bytes, truncated) VALUES""",
    """(?, ?, ?, nullif(?, ''), nullif(?, -1.0), ?, nullif(?, x''), nullif(?, x''), nullif(?, x''), ?, ?)""",
)
_HANDLE = Many("INSERT OR REPLACE INTO handles (job, attempt, handle) VALUES", "(?, ?, ?)")
_KEY = Many("INSERT OR REPLACE INTO idempotency_keys (org_id, key, body_sha, ids, at) VALUES", "(?, ?, ?, ?, ?)")


def write_minor(db: sqlite3.Connection, round_: Round) -> None:
    """All of it, within the transaction of the caller."""
    _ATTEMPT.run(db, [_attempt(row) for row in round_.attempts])
    write_attempt_tests(db, round_.attempts)
    write_history(db, round_.verdicts)
    _HANDLE.run(db, [(job, attempt, bytearray(handle)) for job, attempt, handle in round_.handles])
    _KEY.run(db, [(key.org_id, key.key, bytearray(key.body_sha), bytearray(key.ids), key.at) for key in round_.keys])
    for queue in round_.queues:
        _put_queue(db, queue)
    for schedule in round_.schedules:
        _put_schedule(db, schedule)
    for run in round_.schedule_runs:
        _put_run(db, run)


def _attempt(row: AttemptRow) -> tuple[object, ...]:
    return (
        row.job, row.attempt, str(row.state), row.slot or "", -1.0 if row.started_at is None else row.started_at,
        row.finished_at, bytearray(row.result or b""), bytearray(row.error or b""), bytearray(row.usage or b""),
        row.output_bytes, int(row.truncated),
    )  # fmt: skip


def _put_queue(db: sqlite3.Connection, row: QueueRow) -> None:
    db.execute("INSERT OR REPLACE INTO queues (name, paused, paused_reason, slots) VALUES (?, ?, ?, ?)", row)


def _put_schedule(db: sqlite3.Connection, row: ScheduleRow | str) -> None:
    if isinstance(row, str):
        db.execute("DELETE FROM schedules WHERE id = ?", (row,))
        db.execute("DELETE FROM schedule_runs WHERE schedule_id = ?", (row,))
    else:
        db.execute("INSERT OR REPLACE INTO schedules VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)


def _put_run(db: sqlite3.Connection, row: ScheduleRun) -> None:
    db.execute(
        "INSERT INTO schedule_runs (schedule_id, due_at, at, outcome, ids, detail) VALUES (?, ?, ?, ?, ?, ?)", row
    )
    db.execute(
        """DELETE FROM schedule_runs WHERE schedule_id = ?1 AND run <= (
        SELECT run FROM schedule_runs WHERE schedule_id = ?1 ORDER BY run DESC LIMIT 1 OFFSET ?2)""",
        (row.schedule_id, RUNS_KEPT),
    )


def queue_rows(db: sqlite3.Connection) -> list[QueueRow]:
    """The changes made to live queues."""
    rows = db.execute("SELECT name, paused, paused_reason, slots FROM queues ORDER BY name").fetchall()
    return [QueueRow(name, None if paused is None else bool(paused), why, slots) for name, paused, why, slots in rows]


SELECT_SCHEDULES = """
    SELECT id, org_id, name, cron, timezone, jobs, overlap, catch_up, paused, next_run_at, created_at, updated_at
    FROM schedules
"""

SELECT_RUNS = """
    SELECT r.schedule_id, r.due_at, r.at, r.outcome, r.ids, r.detail
    FROM schedules s JOIN schedule_runs r ON r.schedule_id = s.id
"""
NEWEST_RUNS = f"ORDER BY r.run DESC LIMIT {RUNS_KEPT}"


def schedule_row(found: tuple[object, ...]) -> ScheduleRow:
    """A ScheduleRow from a row of SELECT_SCHEDULES."""
    row = ScheduleRow._make(found)
    return row._replace(paused=bool(row.paused))


def schedule_rows(db: sqlite3.Connection) -> list[ScheduleRow]:
    """All schedules, oldest first."""
    return [schedule_row(row) for row in db.execute(f"{SELECT_SCHEDULES} ORDER BY id").fetchall()]
