"""What the server must know at start: unfinished jobs, in slices, and the last numbers."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from itertools import repeat

import orjson

from hpcq.core.job import ACTIVE, FINAL, FRESH, WAITING, Dependency, History, NewJob, On, State, Treatment
from hpcq.store.interned import Interned
from hpcq.store.rows import Counters, LoadedSlice
from hpcq.store.statements import ACTIVE_SQL, FINAL_SQL, WAITING_SQL, jobs_by_int

NOTHING = Treatment("")  # stands in for a moment

# A job that was never touched since it was queued: its integer and its treatment are all there is to know of it.
# (Whoever has used retries has an attempt.)
_PLAIN = "state = 'queued' AND attempt + reopened = 0 AND run_at IS NULL AND expires_at IS NULL"
# Two columns of a slice as JSON, in one row: a row for each job costs three times as much. 0: not a plain job.
_SLICE = f"""
    SELECT json_group_array(job), json_group_array(treatment) FROM (
        SELECT job, iif({_PLAIN}, treatment, 0) AS treatment FROM jobs
        WHERE job > ? AND state NOT IN {FINAL_SQL} ORDER BY job LIMIT ?
    )
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
    after_job = after_job or _first_unfinished(db) - 1
    jobs, numbers = map(orjson.loads, db.execute(_SLICE, (after_job, limit)).fetchone())
    if not jobs:
        return LoadedSlice((), (), after_job, False)
    last, more = jobs[-1], len(jobs) == limit
    known = interned.treatments(set(numbers))
    if 0 not in numbers:
        return LoadedSlice(tuple(_plain_jobs(jobs, map(known.__getitem__, numbers))), (), last, more)
    span = (after_job, last)
    active = jobs_by_int(db, [job for (job,) in db.execute(_ACTIVE, span).fetchall()])
    touched = _touched_jobs(db, interned, span)
    plain = _plain_jobs(jobs, (known.get(number, NOTHING) for number in numbers))
    waiting = tuple(touched.get(new.job, new) for new in plain if new.job not in active)
    return LoadedSlice(waiting, tuple(active.values()), last, more)


def _plain_jobs(jobs: list[int], treatments: Iterable[Treatment]) -> Iterable[NewJob]:
    rest = (repeat(FRESH), repeat(None), repeat(None), repeat(()), repeat(State.QUEUED))
    return map(NewJob, jobs, treatments, *rest)


def _first_unfinished(db: sqlite3.Connection) -> int:
    """The first job that can be unfinished; all before it are final, and need not be looked at."""
    sql = "SELECT min(job) FROM jobs INDEXED BY jobs_by_lane WHERE lane = ? AND state = ?"
    lanes = [lane for (lane,) in db.execute("SELECT lane FROM lanes").fetchall()]
    firsts = (db.execute(sql, (lane, state.value)).fetchone()[0] for lane in lanes for state in WAITING | ACTIVE)
    return min((first for first in firsts if first is not None), default=1)


def _touched_jobs(db: sqlite3.Connection, interned: Interned, span: tuple[int, int]) -> dict[int, NewJob]:
    rows = db.execute(_TOUCHED, span).fetchall()
    known = interned.treatments({row[1] for row in rows})
    needs = _needs(db, span)
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
