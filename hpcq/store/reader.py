"""Reads for clients, on connections that cannot write.

Each statement is read to its end at once, so that no snapshot is held while a client is waited for.
`org` None: all orgs may be seen. What belongs to another org is not there. Only `unfinished` asks for no org: of
ids, which its caller was shown before, it says nothing but whether they are final.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiosqlite

from hpcq.store import cursor as cursors
from hpcq.store.blobs import SELECT_APPS, SELECT_BLOB
from hpcq.store.filter import Filter
from hpcq.store.minor import NEWEST_RUNS, SELECT_RUNS, SELECT_SCHEDULES, schedule_row
from hpcq.store.query import Page, counts_query, page_query
from hpcq.store.rows import AppRow, AttemptRow, BlobRow, EventRow, JobRow, ScheduleRow, ScheduleRun
from hpcq.store.statements import FINAL_SQL, SELECT_JOBS, job_row
from hpcq.store.statistics import ENDED_SQL, QueueStats, queue_stats
from hpcq.store.tests import (
    MOST_FILES,
    CaseFilter,
    CaseStats,
    Place,
    SuiteFile,
    durations_sql,
    figures_sql,
    page_sql,
    place_of,
    stats_of,
)

CONNECTIONS = 3  # a long search holds one of them
CACHE_MIB = 8
MOST_IDS = 500  # in one statement

_ORG = "(?1 IS NULL OR l.org_id = ?1)"
_EVENT_COLUMNS = "seq, at, type, job_id, number, state, queue, org_id, attempt, detail"


class Reader:
    """Made by `open`; ends with `close`. Every read sees all that was committed before it began."""

    def __init__(self, connections: list[aiosqlite.Connection]) -> None:
        self._all = connections
        self._search = asyncio.Lock()
        self._free: asyncio.LifoQueue[aiosqlite.Connection] = asyncio.LifoQueue()
        for connection in connections:
            self._free.put_nowait(connection)

    @classmethod
    async def open(cls, path: Path) -> "Reader":
        """Open the file of an open Writer for reading."""
        connections: list[aiosqlite.Connection] = []
        try:
            for _ in range(CONNECTIONS):
                db = await aiosqlite.connect(f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None)
                connections.append(db)
                await db.execute_fetchall("PRAGMA query_only = ON")
                await db.execute_fetchall(f"PRAGMA cache_size = -{CACHE_MIB * 1024}")
        except BaseException:
            for db in connections:
                await db.close()
            raise
        return cls(connections)

    async def close(self) -> None:
        """Harmless when repeated."""
        while self._all:
            await self._all.pop().close()

    async def _rows(self, sql: str, values: Iterable[Any] = ()) -> list[Any]:
        db = await self._free.get()
        try:
            return list(await db.execute_fetchall(sql, tuple(values)))
        finally:
            self._free.put_nowait(db)

    def _turn(self, wanted: Filter) -> contextlib.AbstractAsyncContextManager[object]:
        """Filters that no index helps may look at every job: one at a time, so that other reads find a connection."""
        slow = wanted.text or wanted.name or wanted.error_type or wanted.finished_after
        return self._search if slow else contextlib.nullcontext()

    # Jobs.

    async def job(self, org: str | None, id_: str) -> JobRow | None:
        """One job."""
        rows = await self._rows(f"{SELECT_JOBS} WHERE j.id = ?2 AND {_ORG}", (org, id_))
        return job_row(rows[0]) if rows else None

    async def unfinished(self, ids: Sequence[str]) -> set[str]:
        """Which of these jobs, of any org, are not final. One that there is not counts as final."""
        found: set[str] = set()
        for first in range(0, len(ids), MOST_IDS):
            some = ids[first : first + MOST_IDS]
            marks = ",".join("?" * len(some))
            sql = f"SELECT id FROM jobs WHERE id IN ({marks}) AND state NOT IN {FINAL_SQL}"  # noqa: S608
            found.update(id_ for (id_,) in await self._rows(sql, some))
        return found

    async def jobs(
        self, org: str | None, wanted: Filter, limit: int = 50, cursor: str | None = None, ascending: bool = False
    ) -> tuple[list[JobRow], str | None]:
        """A page of jobs, newest first, and the cursor of the next page. Raises BadCursor."""
        after = None if cursor is None else cursors.decode(cursor, ascending=ascending)
        page = Page(limit + 1, after, ascending)
        sql, values = page_query(org, wanted, page)
        order = "ASC" if ascending else "DESC"
        async with self._turn(wanted):
            found = await self._rows(f"{SELECT_JOBS} WHERE j.job IN ({sql}) ORDER BY j.job {order}", values)
        rows = [job_row(row) for row in found[:limit]]
        more = cursors.encode(cursors.Cursor(rows[-1].job, ascending)) if len(found) > limit else None
        return rows, more

    async def summary(self, org: str | None, wanted: Filter) -> dict[str, int]:
        """How many jobs a filter finds, by state; states without jobs are left out."""
        async with self._turn(wanted):
            return dict(await self._rows(*counts_query(org, wanted)))

    async def stats(self, org: str | None, since: float) -> list[QueueStats]:
        """How the jobs that ended since this wall time went, by queue; among the newest 100,000 jobs."""
        return [queue_stats(row) for row in await self._rows(ENDED_SQL, (org, since))]

    async def attempts(self, org: str | None, id_: str) -> list[AttemptRow]:
        """The finished tries at a job, oldest first."""
        sql = f"""
            SELECT a.job, a.attempt, a.state, a.slot, a.started_at, a.finished_at, a.result, a.error, a.usage,
            a.output_bytes, a.truncated, t.tests, t.commit_sha
            FROM jobs j JOIN lanes l ON l.lane = j.lane JOIN attempts a ON a.job = j.job
            LEFT JOIN attempt_tests t ON t.job = a.job AND t.attempt = a.attempt
            WHERE j.id = ?2 AND {_ORG} ORDER BY a.attempt
        """  # noqa: S608
        rows = [AttemptRow._make(row) for row in await self._rows(sql, (org, id_))]
        return [row._replace(truncated=bool(row.truncated)) for row in rows]

    async def public_ids(self, org: str | None, jobs: Sequence[int]) -> dict[int, str]:
        """The ids of these jobs, as far as this org may see them."""
        wanted = ", ".join(str(int(job)) for job in jobs)
        source = "jobs j JOIN lanes l ON l.lane = j.lane"
        sql = f"SELECT j.job, j.id FROM {source} WHERE j.job IN ({wanted}) AND {_ORG}"  # noqa: S608
        return dict(await self._rows(sql, (org,)))

    async def oldest_waiting(self, org: str | None, queue: str) -> JobRow | None:
        """The job that has been in state `queued` for longest, going by when it was made."""
        rows, _ = await self.jobs(org, Filter(states=("queued",), queues=(queue,)), limit=1, ascending=True)
        return rows[0] if rows else None

    async def tags(self, org: str | None, key: str | None = None, limit: int = 1000) -> list[str]:
        """The keys of tags in use, or the values of one key."""
        column, where = ("key", "TRUE") if key is None else ("value", "g.key = ?2")
        sql = f"""
            SELECT DISTINCT g.{column} FROM job_tags g JOIN jobs j ON j.job = g.job JOIN lanes l ON l.lane = j.lane
            WHERE {where} AND {_ORG} ORDER BY g.{column} LIMIT ?3
        """  # noqa: S608
        return [found for (found,) in await self._rows(sql, (org, key, limit))]

    async def used_queues(self) -> frozenset[str]:
        """Queues that ever had a job."""
        return frozenset(queue for (queue,) in await self._rows("SELECT queue FROM lanes"))

    # Tests.

    async def tests(
        self, org: str | None, wanted: CaseFilter, limit: int = 50, cursor: str | None = None
    ) -> tuple[list[CaseStats], str | None]:
        """A page of tests with their history, by suite, file, title, and the cursor of the next. Raises BadCursor."""
        after = None if cursor is None else Place.of_cursor(cursor)
        async with self._search if wanted.text else contextlib.nullcontext():
            found = await self._rows(*page_sql(org, wanted, limit + 1, after))
        page = found[:limit]
        parts = [await self._rows(sql) for sql in figures_sql([row[0] for row in page])]
        more = place_of(page[-1]).cursor() if len(found) > limit else None
        return stats_of(page, *parts), more

    async def file_durations(self, org_id: str, files: Sequence[SuiteFile]) -> dict[SuiteFile, float]:
        """How many seconds the tests of these files take, going by this org's history; unknown ones are left out."""
        found: dict[SuiteFile, float] = {}
        for first in range(0, len(files), MOST_FILES):
            rows = await self._rows(*durations_sql(org_id, files[first : first + MOST_FILES]))
            found.update({(suite, file): seconds for suite, file, seconds in rows})
        return found

    # Events.

    async def events_of(self, org: str | None, id_: str) -> list[EventRow]:
        """What happened to a job that is still there, oldest first."""
        sql = f"""
            WITH mine AS (
                SELECT j.id, j.submitted_seq FROM jobs j JOIN lanes l ON l.lane = j.lane WHERE j.id = ?2 AND {_ORG}
            )
            SELECT {_EVENT_COLUMNS} FROM events
            WHERE seq = (SELECT submitted_seq FROM mine) AND job_id = (SELECT id FROM mine)
            UNION
            SELECT {_EVENT_COLUMNS} FROM events
            WHERE job_id = (SELECT id FROM mine) AND type <> 'job.submitted' AND job_id IS NOT NULL
            ORDER BY seq
        """  # noqa: S608
        return [EventRow._make(row) for row in await self._rows(sql, (org, id_))]

    async def events_after(self, org: str | None, seq: int, limit: int) -> list[EventRow]:
        """The next events after this one; those that belong to no org are everybody's."""
        sql = f"""
            SELECT {_EVENT_COLUMNS} FROM events
            WHERE seq > ?2 AND (?1 IS NULL OR org_id IS NULL OR org_id = ?1) ORDER BY seq LIMIT ?3
        """  # noqa: S608
        return [EventRow._make(row) for row in await self._rows(sql, (org, seq, limit))]

    async def oldest_seq(self) -> int:
        """The oldest event that is kept; 0: there is none."""
        found: int = (await self._rows("SELECT coalesce(min(seq), 0) FROM events"))[0][0]
        return found

    async def last_seq(self) -> int:
        """The newest event; 0: there is none."""
        found: int = (await self._rows("SELECT coalesce(max(seq), 0) FROM events"))[0][0]
        return found

    # Uploads.

    async def blob(self, org: str | None, sha256: str) -> BlobRow | None:
        """One uploaded file that this org may name."""
        rows = await self._rows(SELECT_BLOB, (org, sha256))
        return BlobRow._make(rows[0]) if rows else None

    async def apps(
        self, org: str | None, limit: int = 50, cursor: str | None = None
    ) -> tuple[list[AppRow], str | None]:
        """A page of the names of builds, the newest first, and the cursor of the next page. Raises BadCursor."""
        after = None if cursor is None else cursors.decode(cursor, ascending=False)
        rows = [AppRow._make(row) for row in await self._rows(SELECT_APPS, (org, after, limit + 1))]
        more = cursors.encode(cursors.Cursor(rows[limit - 1].app, ascending=False)) if len(rows) > limit else None
        return rows[:limit], more

    # Schedules.

    async def schedules(self, org: str | None) -> list[ScheduleRow]:
        """Schedules, oldest first."""
        rows = await self._rows(f"{SELECT_SCHEDULES} WHERE (?1 IS NULL OR org_id = ?1) ORDER BY id", (org,))
        return [schedule_row(row) for row in rows]

    async def schedule(self, org: str | None, id_: str) -> ScheduleRow | None:
        """One schedule."""
        rows = await self._rows(f"{SELECT_SCHEDULES} WHERE id = ?2 AND (?1 IS NULL OR org_id = ?1)", (org, id_))
        return schedule_row(rows[0]) if rows else None

    async def schedule_runs(self, org: str | None, id_: str) -> list[ScheduleRun]:
        """The last runs of a schedule, newest first."""
        where = "WHERE s.id = ?2 AND (?1 IS NULL OR s.org_id = ?1)"
        rows = await self._rows(f"{SELECT_RUNS} {where} {NEWEST_RUNS}", (org, id_))
        return [ScheduleRun._make(row) for row in rows]
