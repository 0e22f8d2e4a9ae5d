"""Retention: what is old goes, a little at a time."""

import sqlite3
from dataclasses import dataclass

from hpcq.store.changes import forget_tags
from hpcq.store.statements import FINAL_SQL, Many

JOBS_A_ROUND = 500
LOOKED_AT = 10_000  # jobs a round: those that may not go cost time too
ROWS_A_ROUND = 5_000  # events, and keys

_ENDED = f"""
    SELECT j.job, j.id FROM jobs j
    WHERE j.job > ? AND j.job <= ? AND j.state IN {FINAL_SQL} AND j.finished_at < ? AND NOT EXISTS (
        SELECT 1 FROM dependencies d JOIN jobs x ON x.job = d.job
        WHERE d.needs = j.job AND x.state NOT IN {FINAL_SQL}
    ) ORDER BY j.job LIMIT ?
"""  # noqa: S608
_WITH_ARTIFACTS = f"""
    SELECT j.job, j.id FROM outcomes o JOIN jobs j ON j.job = o.job
    WHERE o.artifacts IS NOT NULL AND j.job > ? AND j.job <= ? AND j.state IN {FINAL_SQL} AND j.finished_at < ?
    ORDER BY j.job LIMIT ?
"""  # noqa: S608
_FORGET = [
    Many(f"DELETE FROM {table} WHERE {column} IN (", "?", ")")  # noqa: S608
    for table, column in (
        ("jobs", "job"), ("specs", "job"), ("outcomes", "job"), ("handles", "job"), ("attempts", "job"),
        ("attempt_tests", "job"),
        ("dependencies", "job"), ("dependencies", "needs"), ("job_blobs", "job"),
    )
]  # fmt: skip
_NO_ARTIFACTS = Many("UPDATE outcomes SET artifacts = NULL WHERE job IN (", "?", ")")


@dataclass(frozen=True, slots=True)
class Retention:
    """What is kept. Times are wall times: what ended (was made) before them goes."""

    jobs_before: float
    artifacts_before: float
    keys_before: float
    events: int  # how many of the newest are kept


@dataclass(frozen=True, slots=True)
class Place:
    """How far the rounds of one pass have come, by the jobs' integers."""

    jobs: int = 0
    artifacts: int = 0


START = Place()


@dataclass(frozen=True, slots=True)
class Pruned:
    """One round's doing. Files may be removed now: the round is on disk."""

    jobs: tuple[str, ...]  # ids that are gone: their whole folders may go
    artifacts: tuple[str, ...]  # ids whose artifacts are no longer named
    events: int
    keys: int
    further: Place | None  # where the next round goes on; None: that was all


def prune(db: sqlite3.Connection, retention: Retention, place: Place) -> Pruned:
    """One round, within the transaction of the caller."""
    newest = db.execute("SELECT coalesce(max(job), 0) FROM jobs").fetchone()[0]
    ended, jobs_to, jobs_end = _candidates(db, _ENDED, place.jobs, retention.jobs_before, newest - 1)
    bare, files_to, files_end = _candidates(db, _WITH_ARTIFACTS, place.artifacts, retention.artifacts_before, newest)
    gone = [job for job, _ in ended]
    forget_tags(db, gone)
    for statement in _FORGET:
        statement.run(db, [(job,) for job in gone])
    _NO_ARTIFACTS.run(db, [(job,) for job, _ in bare])
    events, keys = _prune_events(db, retention.events), _prune_keys(db, retention.keys_before)
    over = jobs_end and files_end and max(events, keys) < ROWS_A_ROUND
    further = None if over else Place(jobs_to, files_to)
    return Pruned(tuple(id_ for _, id_ in ended), tuple(id_ for _, id_ in bare), events, keys, further)


def prunable(db: sqlite3.Connection, retention: Retention) -> Pruned:
    """What a whole pass would do, without doing it."""
    newest = db.execute("SELECT coalesce(max(job), 0) FROM jobs").fetchone()[0]
    ended = db.execute(_ENDED, (0, newest - 1, retention.jobs_before, -1)).fetchall()
    bare = db.execute(_WITH_ARTIFACTS, (0, newest, retention.artifacts_before, -1)).fetchall()
    events = db.execute("SELECT max(0, count(*) - ?) FROM events", (max(retention.events, 1),)).fetchone()[0]
    keys = db.execute("SELECT count(*) FROM idempotency_keys WHERE at < ?", (retention.keys_before,)).fetchone()[0]
    return Pruned(tuple(id_ for _, id_ in ended), tuple(id_ for _, id_ in bare), events, keys, None)


def _candidates(
    db: sqlite3.Connection, sql: str, after: int, before: float, most: int
) -> tuple[list[tuple[int, str]], int, bool]:
    """What may go of the next jobs; up to which job that was; whether those were the last."""
    bound = min(made_before(db, before), most)
    to = min(after + LOOKED_AT, bound)
    found = db.execute(sql, (after, to, before, JOBS_A_ROUND)).fetchall()
    if len(found) == JOBS_A_ROUND:  # there may be more up to `to`
        to = found[-1][0]
    return found, max(to, after), to >= bound


def made_before(db: sqlite3.Connection, wall: float) -> int:
    """The last job that was made before this time: no later one can have ended before it. Jobs are in order of time."""
    sql = "SELECT job, created_at FROM jobs WHERE job >= ? ORDER BY job LIMIT 1"
    low, high = 0, db.execute("SELECT coalesce(max(job), 0) + 1 FROM jobs").fetchone()[0]
    while high - low > 1:
        middle = (low + high) // 2
        job, created_at = db.execute(sql, (middle,)).fetchone() or (high, wall)
        if created_at < wall:
            low = max(middle, min(job, high - 1))
        else:
            high = middle
    return int(low)


def _prune_events(db: sqlite3.Connection, kept: int) -> int:
    oldest, newest = db.execute("SELECT (SELECT min(seq) FROM events), (SELECT max(seq) FROM events)").fetchone()
    if oldest is None:
        return 0
    to = min(newest - max(kept, 1), oldest + ROWS_A_ROUND - 1)
    return db.execute("DELETE FROM events WHERE seq <= ?", (to,)).rowcount


def _prune_keys(db: sqlite3.Connection, before: float) -> int:
    sql = """DELETE FROM idempotency_keys WHERE (org_id, key) IN (
        SELECT org_id, key FROM idempotency_keys WHERE at < ? ORDER BY at LIMIT ?)"""
    return db.execute(sql, (before, ROWS_A_ROUND)).rowcount


def forget_treatments(db: sqlite3.Connection, most: int = 10_000) -> None:
    """Remove treatments that no job has any more, if they are many. For the start: it looks at every job."""
    if db.execute("SELECT count(*) FROM treatments").fetchone()[0] > most:
        db.execute("DELETE FROM treatments WHERE treatment NOT IN (SELECT treatment FROM jobs)")
