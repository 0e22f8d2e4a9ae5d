"""What tests report: each attempt's own, and their history over jobs, which outlives the jobs."""

import sqlite3
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import orjson

from hpcq.store.cursor import BadCursor
from hpcq.store.rows import AttemptRow, VerdictsRow
from hpcq.store.statements import Many

RUNS_KEPT = 200  # of each test, the newest
TESTS_A_ROUND = 500
MOST_FILES = 500  # in one statement

SuiteFile = tuple[str, str]  # a suite, and a file in it

_OWN = Many("INSERT OR REPLACE INTO attempt_tests (job, attempt, commit_sha, tests) VALUES", "(?, ?, nullif(?, ''), ?)")
_TEST = Many(
    "INSERT INTO tests (org_id, suite, id, file, title, line) VALUES",
    "(?, ?, ?, ?, ?, ?)",
    """ON CONFLICT (org_id, suite, id) DO UPDATE SET file = excluded.file, title = excluded.title, line = excluded.line
    WHERE file <> excluded.file OR title <> excluded.title OR line <> excluded.line""",
)
_KNOWN = Many(
    "SELECT t.suite, t.id, t.test FROM (VALUES",
    "(?, ?, ?)",
    ") v CROSS JOIN tests t ON t.org_id = v.column1 AND t.suite = v.column2 AND t.id = v.column3",
)
# A job's later attempt on the same commit: as `merged` of the engine has it.
_RUN = Many(
    "INSERT INTO test_runs (test, job, commit_sha, at, status, passes, failures, duration_s) VALUES",
    "(?, ?, ?, ?, ?, ?, ?, ?)",
    """ON CONFLICT (test, job, commit_sha) DO UPDATE SET at = excluded.at,
    status = CASE
        WHEN excluded.status = 'skipped' THEN status
        WHEN excluded.status = 'passed' AND status IN ('failed', 'flaky') THEN 'flaky'
        ELSE excluded.status END,
    passes = passes + excluded.passes, failures = failures + excluded.failures,
    duration_s = iif(excluded.status = 'skipped', duration_s, excluded.duration_s)""",
)

_OVER_AGE = """
    SELECT test, job, commit_sha FROM (
        SELECT test, job, commit_sha, at, row_number() OVER (PARTITION BY test ORDER BY job DESC) AS place
        FROM test_runs WHERE test > ?1 AND test <= ?2
    ) WHERE place > ?3 OR at < ?4
"""

# Where the commit is not known, the attempts of one job ran on the same.
_COMMIT = "iif(commit_sha = '', 'job ' || job, commit_sha)"
_BOTH_WAYS = "sum(passes) > 0 AND sum(failures) > 0"
_SAME = "test_runs.test = tests.test AND commit_sha = ?3 AND (?3 <> '' OR job = ?2)"
_NOW_FLAKY = f"""
    UPDATE tests SET flaky = 1 WHERE flaky = 0 AND test IN (SELECT value FROM json_each(?1))
    AND EXISTS (SELECT 1 FROM test_runs INDEXED BY test_failures WHERE {_SAME} AND failures > 0)
    AND EXISTS (SELECT 1 FROM test_runs WHERE {_SAME} AND passes > 0)
"""  # noqa: S608
_STILL_FLAKY = f"""
    UPDATE tests SET flaky = 0 WHERE flaky = 1 AND test > ?1 AND test <= ?2 AND test NOT IN (
        SELECT test FROM test_runs WHERE test > ?1 AND test <= ?2 GROUP BY test, {_COMMIT} HAVING {_BOTH_WAYS}
    )
"""  # noqa: S608
_NEWEST = """
    SELECT * FROM (
        SELECT *, row_number() OVER (PARTITION BY test ORDER BY job DESC) AS age FROM test_runs WHERE test IN ({tests})
    ) WHERE age <= {kept}
"""
_RANKED = f"""
    SELECT test, status, duration_s, count(*) OVER (PARTITION BY test, status = 'skipped') AS total,
    row_number() OVER (PARTITION BY test, status = 'skipped' ORDER BY duration_s) AS place
    FROM ({_NEWEST.replace("{kept}", str(RUNS_KEPT))})
"""  # noqa: S608
_P50 = "min(duration_s) FILTER (WHERE status <> 'skipped' AND place * 2 >= total)"


class CaseStats(NamedTuple):
    """A test and its history. A run is a job's verdict over all its attempts; skipped ones are counted apart."""

    org_id: str
    suite: str
    id: str
    title: str
    file: str
    line: int
    unsteady: bool  # it failed and passed on the same commit
    passed: int
    failed: int
    flaky: int
    skipped: int
    p50_duration_s: float | None
    last_at: float
    last_status: str
    last_commit: str | None
    last_job: str | None  # None: it was pruned


@dataclass(frozen=True, slots=True)
class CaseFilter:
    """Which tests; all that is given must hold."""

    org_id: str | None = None
    suite: str | None = None  # '': those of none
    file: str | None = None  # a file, or the folder it is in
    text: str | None = None  # a part of the title, in any case of letters
    flaky: bool | None = None  # failed and passed on the same commit, or never


class Place(NamedTuple):
    """Where a test stands in the list."""

    suite: str
    file: str
    title: str
    test: int

    def cursor(self) -> str:
        """The text for clients."""
        return urlsafe_b64encode(orjson.dumps(list(self))).decode().rstrip("=")

    @classmethod
    def of_cursor(cls, text: str) -> "Place":
        """Raises BadCursor."""
        try:
            suite, file, title, test = orjson.loads(urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4)))
            if [*map(type, (suite, file, title, test))] == [str, str, str, int] and 0 <= test < 2**63:
                return cls(suite, file, title, test)
        except (ValueError, TypeError):
            pass
        raise BadCursor(
            f"{text[:100]!r} is no cursor of this list; use next_cursor of the page before, or leave it out"
        )


# Writing, within the transaction of the caller.


def write_attempt_tests(db: sqlite3.Connection, rows: Iterable[AttemptRow]) -> None:
    """Each attempt's own tests."""
    _OWN.run(db, [(row.job, row.attempt, row.commit or "", bytearray(row.tests)) for row in rows if row.tests])


def write_history(db: sqlite3.Connection, rows: Iterable[VerdictsRow]) -> None:
    """What attempts add to the history of their tests."""
    for row in rows:
        _TEST.run(db, [(row.org_id, test.suite, test.id, test.file, test.title, test.line) for test in row.tests])
        found = _KNOWN.run(db, [(row.org_id, test.suite, test.id) for test in row.tests])
        known = {(suite, id_): test for suite, id_, test in found}
        _RUN.run(
            db,
            [
                (
                    known[test.suite, test.id], row.job, row.commit or "", row.at, test.status,
                    test.status in ("passed", "flaky"), test.status in ("failed", "flaky"), test.duration_s,
                )
                for test in row.tests
            ],
        )  # fmt: skip
        db.execute(_NOW_FLAKY, (orjson.dumps(list(known.values())).decode(), row.job, row.commit or ""))


def prune_history(
    db: sqlite3.Connection, before: float, after: int = 0, *, dry_run: bool = False
) -> tuple[int, int | None]:
    """Remove runs from before this wall time, and those of the next tests beyond the newest 200 each.

    Returns how many, and the test after which the next round goes on; None: that was all.
    """
    next_tests = f"SELECT test FROM tests WHERE test > ? ORDER BY test LIMIT {TESTS_A_ROUND}"  # noqa: S608
    to = db.execute(f"SELECT max(test) FROM ({next_tests})", (after,)).fetchone()[0]  # noqa: S608
    if to is None:
        return 0, None
    values = (after, to, RUNS_KEPT, before)
    if dry_run:
        return db.execute(f"SELECT count(*) FROM ({_OVER_AGE})", values).fetchone()[0], to  # noqa: S608
    gone = db.execute(f"DELETE FROM test_runs WHERE (test, job, commit_sha) IN ({_OVER_AGE})", values).rowcount  # noqa: S608
    db.execute(
        """DELETE FROM tests WHERE test > ? AND test <= ?
        AND NOT EXISTS (SELECT 1 FROM test_runs r WHERE r.test = tests.test)""",
        (after, to),
    )
    if gone:
        db.execute(_STILL_FLAKY, (after, to))
    return gone, to


# Reading.


def page_sql(org: str | None, wanted: CaseFilter, limit: int, after: Place | None) -> tuple[str, list[Any]]:
    """Finds (test, org_id, suite, id, title, file, line, flaky) of a page, by suite, file, title. `org` None: all."""
    where, values = ["TRUE"], list[Any]()
    for limit_to in (org, wanted.org_id):
        if limit_to is not None:
            where.append("org_id = ?")
            values.append(limit_to)
    if wanted.suite is not None:
        where.append("suite = ?")
        values.append(wanted.suite)
    if wanted.file is not None:
        where.append("(file = ? OR substr(file, 1, length(?)) = ?)")
        folder = wanted.file.rstrip("/") + "/"
        values += [wanted.file, folder, folder]
    if wanted.text is not None:
        where.append("instr(lower(title), lower(?)) > 0")
        values.append(wanted.text)
    if wanted.flaky is not None:
        where.append("flaky = ?")
        values.append(wanted.flaky)
    if after is not None:
        where.append("(suite, file, title, test) > (?, ?, ?, ?)")
        values += after
    columns, order = "test, org_id, suite, id, title, file, line, flaky", "suite, file, title, test"
    sql = f"SELECT {columns} FROM tests WHERE {' AND '.join(where)} ORDER BY {order} LIMIT ?"  # noqa: S608
    return sql, [*values, limit]


def place_of(row: Sequence[Any]) -> Place:
    """Where a row of a page stands."""
    test, _, suite, _, title, file, *_ = row
    return Place(suite, file, title, test)


def figures_sql(tests: Sequence[int]) -> tuple[str, str]:
    """Of these tests: counts and p50 of the newest runs; the last run."""
    inlined = ", ".join(str(int(test)) for test in tests)
    counts = ", ".join(f"count(*) FILTER (WHERE status = '{s}')" for s in ("passed", "failed", "flaky", "skipped"))
    return (
        f"SELECT test, {counts}, {_P50} FROM ({_RANKED.format(tests=inlined)}) GROUP BY test",  # noqa: S608
        # beside max() SQLite gives the other columns of its row
        f"""SELECT r.test, r.at, r.status, nullif(r.commit_sha, ''), j.id FROM (
            SELECT test, max(at) AS at, status, commit_sha, job FROM test_runs WHERE test IN ({inlined}) GROUP BY test
        ) r LEFT JOIN jobs j ON j.job = r.job""",  # noqa: S608
    )


def stats_of(page: Sequence[Any], counts: Sequence[Any], last: Sequence[Any]) -> list[CaseStats]:
    """The tests of a page, from the rows of its statements. One that was pruned in between is left out."""
    count_of, last_of = ({row[0]: row[1:] for row in rows} for rows in (counts, last))
    return [
        CaseStats._make((*rest, bool(flaky), *count_of[test], *last_of[test]))
        for test, *rest, flaky in page
        if test in count_of and test in last_of
    ]


def durations_sql(org_id: str, files: Sequence[SuiteFile]) -> tuple[str, list[Any]]:
    """(suite, file, seconds): how long the tests of each of these files take, the sum of their p50s."""
    chosen = f"""SELECT f.test FROM (VALUES {", ".join(["(?, ?)"] * len(files))}) v
        CROSS JOIN tests f INDEXED BY tests_by_file ON f.suite = v.column1 AND f.file = v.column2 WHERE f.org_id = ?"""  # noqa: S608
    each = f"SELECT test, {_P50} AS p50 FROM ({_RANKED.format(tests=chosen)}) GROUP BY test"  # noqa: S608
    joined = f"SELECT t.suite, t.file, e.p50 FROM ({each}) e JOIN tests t ON t.test = e.test WHERE e.p50 IS NOT NULL"  # noqa: S608
    return f"SELECT suite, file, sum(p50) FROM ({joined}) GROUP BY suite, file", [*chain.from_iterable(files), org_id]  # noqa: S608
