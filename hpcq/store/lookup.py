"""Reads that the engine needs from the writer, because they must see the newest commit."""

import sqlite3

from hpcq.store.blobs import find_blobs
from hpcq.store.filter import Filter
from hpcq.store.query import Page, page_query
from hpcq.store.rows import JobRow, KeyRow, Lookup, Resolved
from hpcq.store.statements import Many, jobs_by_id, jobs_by_int

_KEYS = Many(
    """SELECT k.org_id, k.key, k.body_sha, k.ids, k.at FROM (VALUES""",
    "(?, ?)",
    ") v CROSS JOIN idempotency_keys k ON k.org_id = v.column1 AND k.key = v.column2",
)


def resolve(db: sqlite3.Connection, lookup: Lookup) -> Resolved:
    """What is known of these keys and ids."""
    keys = {(row[0], row[1]): KeyRow._make(row) for row in _KEYS.run(db, lookup.keys)}
    jobs = jobs_by_id(db, lookup.ids)
    if lookup.blobs or lookup.apps or lookup.retried:
        return Resolved(keys, jobs, *find_blobs(db, lookup))
    return Resolved(keys, jobs)


def matching(db: sqlite3.Connection, org: str | None, wanted: Filter, after_job: int, limit: int) -> list[JobRow]:
    """The next jobs that a filter finds, oldest first."""
    sql, values = page_query(org, wanted, Page(limit, after_job, ascending=True))
    found = jobs_by_int(db, [job for (job,) in db.execute(sql, values).fetchall()])
    return [found[job] for job in sorted(found)]
