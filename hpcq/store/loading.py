"""What the server must know at start: unfinished jobs, in slices, and the last numbers."""

import sqlite3
from collections import defaultdict
from typing import Any

from hpcq.core.job import ACTIVE, FINAL, FRESH, WAITING, Dependency, History, NewJob, On, State, Treatment
from hpcq.store.interned import Interned
from hpcq.store.rows import Counters, LoadedSlice
from hpcq.store.statements import ACTIVE_SQL, WAITING_SQL, jobs_by_int

# A job that was never touched since it was queued: its integer and its treatment are all there is to know.
_PLAIN = """state = 'queued' AND attempt = 0 AND reopened = 0 AND retries_used = 0 AND infra_used = 0 AND crashes = 0
    AND run_at IS NULL AND expires_at IS NULL"""
_SLICE = f"""
    SELECT job, iif({_PLAIN}, treatment, 0) FROM jobs
    WHERE job > ? AND state NOT IN ('succeeded', 'failed', 'cancelled') ORDER BY job LIMIT ?
"""  # noqa: S608
_TOUCHED = f"""
    SELECT job, treatment, state, attempt, retries_used, infra_used, crashes, reopened, run_at, expires_at FROM jobs
    WHERE job > ? AND job <= ? AND state IN {WAITING_SQL} AND NOT ({_PLAIN})
"""  # noqa: S608
_ACTIVE = f"SELECT job FROM jobs WHERE job > ? AND job <= ? AND state IN {ACTIVE_SQL} ORDER BY job"  # noqa: S608
_NEEDS = """
    SELECT d.job, d.needs, d.ends, n.state
    FROM jobs j JOIN dependencies d ON d.job = j.job JOIN jobs n ON n.job = d.needs
    WHERE j.job > ? AND j.job <= ? AND j.state = 'blocked'
"""


def load_slice(db: sqlite3.Connection, interned: Interned, after_job: int, limit: int) -> LoadedSlice:
    """The next `limit` unfinished jobs after this one."""
    after_job = max(after_job, _first_unfinished(db) - 1) if after_job == 0 else after_job
    found = db.execute(_SLICE, (after_job, limit)).fetchall()
    if not found:
        return LoadedSlice((), (), after_job, False)
    last = found[-1][0]
    span = (after_job, last)
    active = jobs_by_int(db, [job for (job,) in db.execute(_ACTIVE, span).fetchall()])
    touched = db.execute(_TOUCHED, span).fetchall()
    known = interned.treatments({number for _, number in found} | {row[1] for row in touched})
    special = _touched_jobs(touched, known, _needs(db, span))
    waiting = tuple(
        NewJob(job, known[number], FRESH, None, None, (), State.QUEUED) if number else special[job]
        for job, number in found
        if job not in active
    )
    return LoadedSlice(waiting, tuple(active.values()), last, len(found) == limit)


def _first_unfinished(db: sqlite3.Connection) -> int:
    """The first job that can be unfinished; all before it are final, and need not be looked at."""
    sql = "SELECT min(job) FROM jobs INDEXED BY jobs_by_lane WHERE lane = ? AND state = ?"
    lanes = [lane for (lane,) in db.execute("SELECT lane FROM lanes").fetchall()]
    firsts = (db.execute(sql, (lane, state.value)).fetchone()[0] for lane in lanes for state in WAITING | ACTIVE)
    return min((first for first in firsts if first is not None), default=1)


def _touched_jobs(
    rows: list[tuple[Any, ...]], known: dict[int, Treatment], needs: dict[int, list[Dependency]]
) -> dict[int, NewJob]:
    made = {}
    for job, treatment, state, *counts, run_at, expires_at in rows:
        history = History(*counts) if any(counts) else FRESH
        depends_on = tuple(needs.get(job, ()))
        made[job] = NewJob(job, known[treatment], history, run_at, expires_at, depends_on, State(state))
    return made


def _needs(db: sqlite3.Connection, span: tuple[int, int]) -> dict[int, list[Dependency]]:
    found: dict[int, list[Dependency]] = defaultdict(list)
    for job, needed, on, state in db.execute(_NEEDS, span).fetchall():
        ended = State(state)
        found[job].append(Dependency(needed, On(on), ended if ended in FINAL else None))
    return found


def counters(db: sqlite3.Connection) -> Counters:
    """The last integers given out. (The newest job and the newest event are never pruned.)"""
    job, seq = db.execute(
        "SELECT (SELECT coalesce(max(job), 0) FROM jobs), (SELECT coalesce(max(seq), 0) FROM events)"
    ).fetchone()
    return Counters(job, dict(db.execute("SELECT org_id, number FROM counters").fetchall()), seq)
