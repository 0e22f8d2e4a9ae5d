"""Uploaded files, the names of builds, and which jobs need them; the bytes themselves are the engine's.

What somebody asks for is kept for an hour from then on, whatever retention says: a client that has just been told that
a file is known may submit its jobs, and a round commits what it has looked up.
"""

import contextlib
import sqlite3
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from hpcq.store.rows import AppRow, BlobRow, Lookup, PinRow
from hpcq.store.statements import FINAL_SQL, Many

EVERYBODY = "*"  # in the place of an org
STALE_S = 1800.0  # `used_at` is brought up to date when it is older
SPARED_S = 3600.0  # since its last use a blob is never pruned before
BLOBS_A_ROUND = 50
ORPHAN_APPS_A_ROUND = 1000

_MAY_SEE = f"""EXISTS (
    SELECT 1 FROM blob_orgs o WHERE o.sha256 = b.sha256 AND o.org_id IN (v.column1, '{EVERYBODY}')
)"""  # noqa: S608
_BLOBS = Many(
    "SELECT v.column1, v.column2 FROM (VALUES",
    "(?, ?)",
    f") v CROSS JOIN blobs b ON b.sha256 = v.column2 WHERE v.column1 = '' OR {_MAY_SEE}",
)
_APPS = Many(
    "SELECT a.org_id, a.name, a.sha256, a.at, b.size, a.app FROM (VALUES",
    "(?, ?)",
    """) v CROSS JOIN apps a ON a.org_id = v.column1 AND a.name = v.column2
    LEFT JOIN blobs b ON b.sha256 = a.sha256""",
)
_RETRIED = Many(
    """SELECT j.id, p.sha256, b.sha256 IS NULL FROM jobs j JOIN job_blobs p ON p.job = j.job
    LEFT JOIN blobs b ON b.sha256 = p.sha256 WHERE j.id IN (""",
    "?",
    ")",
)
_TOUCH = Many(
    "UPDATE blobs SET used_at = v.column2 FROM (VALUES",
    "(?, ?)",
    f") v WHERE blobs.sha256 = v.column1 AND blobs.used_at < v.column2 - {STALE_S}",
)
_KNOWN = Many("SELECT sha256 FROM blobs WHERE sha256 IN (", "?", ")")
_PIN = Many("INSERT OR IGNORE INTO job_blobs (job, name, sha256) VALUES", "(?, ?, ?)")

Found = tuple[frozenset[tuple[str, str]], dict[tuple[str, str], AppRow], dict[str, str]]


def find_blobs(db: sqlite3.Connection, lookup: Lookup) -> Found:
    """What is known of the blobs, the names of builds, and the retried jobs' files (those that are gone)."""
    blobs = frozenset((org, sha256) for org, sha256 in _BLOBS.run(db, lookup.blobs))
    apps = {(row[0], row[1]): AppRow._make(row) for row in _APPS.run(db, lookup.apps)}
    retried = _RETRIED.run(db, [(id_,) for id_ in lookup.retried])
    lost = {id_: sha256 for id_, sha256, gone in retried if gone}
    used = {*(blob[1] for blob in blobs), *(app.sha256 for app in apps.values()), *(row[1] for row in retried)}
    touch(db, used, lookup.at)
    return blobs, apps, lost


def touch(db: sqlite3.Connection, sums: Iterable[str], at: float) -> None:
    """They are used now. On a full disk nothing is written, and nobody is the worse for it."""
    with contextlib.suppress(sqlite3.Error):
        _TOUCH.run(db, [(sha256, at) for sha256 in sums])


def write_pins(db: sqlite3.Connection, pins: Sequence[PinRow]) -> None:
    """Within the transaction that inserts the jobs."""
    _PIN.run(db, pins)


# What clients put.


def keep(db: sqlite3.Connection, blob: BlobRow, org: str | None) -> None:
    """A file is on disk; `org`: who has uploaded it, None for somebody of all orgs. Within a transaction."""
    db.execute(
        "INSERT INTO blobs VALUES (?, ?, ?, ?) ON CONFLICT (sha256) DO UPDATE SET used_at = excluded.used_at", blob
    )
    db.execute("INSERT OR IGNORE INTO blob_orgs VALUES (?, ?)", (blob.sha256, org or EVERYBODY))


def name(db: sqlite3.Connection, app: AppRow) -> bool:
    """From now on the name stands for this file; whether it is a new name. Within a transaction."""
    new = db.execute("DELETE FROM apps WHERE org_id = ? AND name = ?", app[:2]).rowcount == 0
    db.execute("INSERT INTO apps (org_id, name, sha256, at) VALUES (?, ?, ?, ?)", app[:4])
    return new


# What clients see. Parameters: the org (None: all).

SELECT_BLOB = f"""
    SELECT b.sha256, b.size, b.created_at, b.used_at FROM blobs b WHERE b.sha256 = ?2 AND (?1 IS NULL OR EXISTS (
        SELECT 1 FROM blob_orgs o WHERE o.sha256 = b.sha256 AND o.org_id IN (?1, '{EVERYBODY}')))
"""  # noqa: S608
SELECT_APPS = """
    SELECT a.org_id, a.name, a.sha256, a.at, b.size, a.app FROM apps a LEFT JOIN blobs b ON b.sha256 = a.sha256
    WHERE (?1 IS NULL OR a.org_id = ?1) AND (?2 IS NULL OR a.app < ?2) ORDER BY a.app DESC LIMIT ?3
"""


# Retention.


class Spent(NamedTuple):
    """A file that nobody needs any more."""

    sha256: str
    size: int


_SPENT = f"""
    SELECT b.sha256, b.size FROM blobs b WHERE b.used_at < ?1
    AND NOT EXISTS (
        SELECT 1 FROM job_blobs p JOIN jobs j ON j.job = p.job
        WHERE p.sha256 = b.sha256 AND (j.state NOT IN {FINAL_SQL} OR j.finished_at >= ?1))
    AND NOT EXISTS (SELECT 1 FROM schedules s WHERE instr(CAST(s.jobs AS TEXT), b.sha256))
    AND NOT EXISTS (
        SELECT 1 FROM apps a JOIN schedules s ON s.org_id = a.org_id
        WHERE a.sha256 = b.sha256 AND instr(CAST(s.jobs AS TEXT), json_quote(a.name)))
    ORDER BY b.used_at LIMIT ?2
"""  # noqa: S608
_FORGET = [Many(f"DELETE FROM {table} WHERE sha256 IN (", "?", ")") for table in ("blobs", "blob_orgs")]  # noqa: S608
_FORGET_APPS = """
    DELETE FROM apps WHERE app IN (
        SELECT a.app FROM apps a WHERE a.at < ? AND NOT EXISTS (SELECT 1 FROM blobs b WHERE b.sha256 = a.sha256)
        LIMIT ?)
"""


def spent(db: sqlite3.Connection, before: float, limit: int = -1) -> list[Spent]:
    """Files last asked for before this wall time, and named neither by a schedule nor by a job that has not ended
    before it."""
    return [Spent._make(row) for row in db.execute(_SPENT, (before, limit)).fetchall()]


def forget_spent(db: sqlite3.Connection, before: float, apps_before: float) -> list[Spent]:
    """Some of them go; and the names, given before, of such as are gone. Within a transaction."""
    gone = spent(db, before, BLOBS_A_ROUND)
    for statement in _FORGET:
        statement.run(db, [(blob.sha256,) for blob in gone])
    db.execute(_FORGET_APPS, (apps_before, ORPHAN_APPS_A_ROUND))
    return gone


def known_sums(db: sqlite3.Connection, sums: Sequence[str]) -> set[str]:
    """Which of these are kept."""
    return {sha256 for (sha256,) in _KNOWN.run(db, [(one,) for one in sums])}
