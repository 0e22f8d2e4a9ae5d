"""The one connection that writes, on its own thread. Every method is one hop there and back."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from hpcq.store.errors import StoreBroken, rolled_back
from hpcq.store.filter import Filter
from hpcq.store.hop import Hop
from hpcq.store.ledger import Ledger
from hpcq.store.loading import counters, load_slice
from hpcq.store.lookup import matching, resolve
from hpcq.store.minor import queue_rows, schedule_rows
from hpcq.store.prune import START, Place, Pruned, Retention, forget_treatments, prunable, prune
from hpcq.store.rows import (
    Committed,
    Counters,
    JobRow,
    LoadedSlice,
    Lookup,
    QueueRow,
    Resolved,
    Round,
    ScheduleRow,
)
from hpcq.store.schema import BUSY_TIMEOUT_MS, WAL_LIMIT_BYTES, backup, open_for_writing

T = TypeVar("T")
IDLE_S = 1.0
PROBE_BYTES = 1 << 16


class Writer:
    """Made by `open`; ends with `close`.

    After StoreBroken every call raises it again: only a new start can tell what is on disk.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._wal = path.with_name(path.name + "-wal")
        self._broken: StoreBroken | None = None
        self._closed = False
        self._hop = Hop("hpcq-writer", after=self._trim, idle=self._checkpoint, idle_s=IDLE_S)

    @classmethod
    async def open(cls, path: Path) -> "Writer":
        """Open or make the file, and bring it to this version's tables. Raises StoreError."""
        writer = cls(path)
        try:
            await writer._hop.run(writer._connect)
        except BaseException:
            writer._closed = True
            writer._hop.end()
            raise
        return writer

    async def commit(self, round_: Round) -> Committed:
        """Write a round; when this returns it is on disk.

        Raises StoreFull or StoreRefused (nothing was written), or StoreBroken (unknown). A job stands in a round once.
        """
        return await self._run(lambda: self._ledger.commit(round_))

    async def resolve(self, lookup: Lookup) -> Resolved:
        """What the store knows of these keys and ids."""
        return await self._run(lambda: resolve(self._db, lookup))

    async def matching(self, wanted: Filter, after_job: int, limit: int, *, org: str | None) -> list[JobRow]:
        """The next jobs that a filter finds, oldest first, as of now. `org` None: all orgs."""
        return await self._run(lambda: matching(self._db, org, wanted, after_job, limit))

    async def load(self, after_job: int = 0, limit: int = 10_000) -> LoadedSlice:
        """Unfinished jobs, for the start; go on with `last` as long as there is `more`."""
        return await self._run(lambda: load_slice(self._db, self._ledger.interned, after_job, limit))

    async def counters(self) -> Counters:
        """The last integers given out."""
        return await self._run(lambda: counters(self._db))

    async def queue_rows(self) -> list[QueueRow]:
        """The changes made to live queues."""
        return await self._run(lambda: queue_rows(self._db))

    async def schedules(self) -> list[ScheduleRow]:
        """All schedules."""
        return await self._run(lambda: schedule_rows(self._db))

    async def state_get(self, queue: str, key: str) -> bytes | None:
        """What a queue's runner has kept under this key."""
        sql = "SELECT value FROM runner_state WHERE queue = ? AND key = ?"
        return await self._run(lambda: self._one(sql, queue, key))

    async def state_put(self, queue: str, key: str, value: bytes | None) -> None:
        """Keep a value for a queue's runner; None forgets it."""
        put = "INSERT OR REPLACE INTO runner_state (queue, key, value) VALUES (?1, ?2, ?3)"
        forget = "DELETE FROM runner_state WHERE queue = ?1 AND key = ?2"
        values = (queue, key) if value is None else (queue, key, value)
        await self._run(lambda: self._ledger.run([(forget if value is None else put, values)]))

    async def meta_get(self, key: str) -> str | None:
        """A fact about the whole store: the server's id, how the last run ended."""
        return await self._run(lambda: self._one("SELECT value FROM meta WHERE key = ?", key))

    async def meta_put(self, **facts: str) -> None:
        """Keep such facts, in one transaction."""
        sql = "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)"
        await self._run(lambda: self._ledger.run([(sql, fact) for fact in facts.items()]))

    async def prune(self, retention: Retention, place: Place = START, *, dry_run: bool = False) -> Pruned:
        """One round of pruning; go on at `further`. Dry: what the whole pass would do. Raises as `commit` does."""
        if dry_run:
            return await self._run(lambda: prunable(self._db, retention))
        return await self._run(lambda: self._ledger.transact(lambda: prune(self._db, retention, place)))

    async def probe(self) -> None:
        """Write and remove something, to see whether the disk takes it again. Raises as `commit` does."""
        await self.meta_put(probe="x" * PROBE_BYTES)
        await self._run(lambda: self._ledger.run([("DELETE FROM meta WHERE key = 'probe'", ())]))

    async def backup(self, target: Path) -> None:
        """Write a compact copy of the file; rounds wait meanwhile."""
        await self._run(lambda: backup(self._db, target))

    async def close(self) -> None:
        """End after what was asked so far. Harmless when repeated."""
        if not self._closed:
            self._closed = True
            await self._hop.run(self._disconnect)
            self._hop.end()

    async def _run(self, function: Callable[[], T]) -> T:
        return await self._hop.run(lambda: self._guarded(function))

    # What follows runs on the thread.

    def _guarded(self, function: Callable[[], T]) -> T:
        if self._broken:
            raise self._broken
        try:
            return function()
        except StoreBroken as error:
            self._broken = error
            raise
        except sqlite3.Error as error:  # from a read; rounds have their own
            raise rolled_back(error) from error

    def _connect(self) -> None:
        try:
            self._db = open_for_writing(self._path)
            forget_treatments(self._db)
            self._ledger = Ledger(self._db)
        except sqlite3.Error as error:
            raise rolled_back(error) from error

    def _disconnect(self) -> None:
        self._checkpoint()
        self._db.close()

    def _one(self, sql: str, *values: object) -> Any:
        row = self._db.execute(sql, values).fetchone()
        return row[0] if row else None

    def _trim(self) -> None:
        if not self._closed and self._wal_bytes() > WAL_LIMIT_BYTES:
            self._checkpoint()

    def _wal_bytes(self) -> int:
        try:
            return self._wal.stat().st_size
        except FileNotFoundError:
            return 0

    def _checkpoint(self) -> None:
        """Move the log into the file and empty it. Readers in the way are not waited for: the next time will do."""
        if self._broken:
            return
        try:
            self._db.execute("PRAGMA busy_timeout = 0")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error:  # a full disk: the log keeps all, and the next round will say so
            return
        finally:
            self._db.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
