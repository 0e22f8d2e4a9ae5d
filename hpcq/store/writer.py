"""The one connection that writes, on its own thread. Every method is one hop there and back."""

import os
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from hpcq.store import blobs
from hpcq.store.blobs import Spent
from hpcq.store.errors import StoreBroken, rolled_back
from hpcq.store.filter import Filter
from hpcq.store.hop import Hop
from hpcq.store.ledger import Ledger
from hpcq.store.loading import counters, load_slice
from hpcq.store.lookup import matching, resolve
from hpcq.store.minor import queue_rows, schedule_rows
from hpcq.store.prune import START, Place, Pruned, Retention, forget_treatments, prunable, prune
from hpcq.store.rows import (
    AppRow,
    BlobRow,
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
from hpcq.store.tests import prune_history

T = TypeVar("T")
IDLE_S = 1.0
PROBE_BYTES = 1 << 16


class Writer:
    """Made by `open`; ends with `close`.

    After StoreBroken every call raises it again: only a new start can tell what is on disk.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._wal = f"{path}-wal"
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

    async def keep_blob(self, blob: BlobRow, org: str | None) -> None:
        """An uploaded file is on disk; `org` None: somebody of all orgs has it uploaded. Raises as `commit` does."""
        await self._run(lambda: self._ledger.transact(lambda: blobs.keep(self._db, blob, org)))

    async def name_app(self, app: AppRow) -> bool:
        """A name of a build stands for this file from now on; whether it is a new name. Raises as `commit` does."""
        return await self._run(lambda: self._ledger.transact(lambda: blobs.name(self._db, app)))

    async def touch_blob(self, sha256: str, at: float) -> bool:
        """Somebody asks for it: it is kept for an hour at least. False: it is not there (any more)."""
        found = await self.resolve(Lookup(blobs=(("", sha256),), at=at))
        return bool(found.blobs)

    async def known_blobs(self, sums: Sequence[str]) -> set[str]:
        """Which of these are kept, as of now."""
        return await self._run(lambda: blobs.known_sums(self._db, sums))

    async def prune_blobs(self, before: float, apps_before: float, *, dry_run: bool = False) -> list[Spent]:
        """Forget some files that nobody needs; again, until there are none. Dry: all of them. Raises as `commit`."""
        if dry_run:
            return await self._run(lambda: blobs.spent(self._db, before))
        return await self._run(lambda: self._ledger.transact(lambda: blobs.forget_spent(self._db, before, apps_before)))

    async def prune_tests(self, before: float, after: int = 0, *, dry_run: bool = False) -> tuple[int, int | None]:
        """One round of pruning the history of tests; go on at what it returns beside the count of runs."""
        run = partial(prune_history, self._db, before, after, dry_run=dry_run)
        return await self._run(run if dry_run else lambda: self._ledger.transact(run))

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
            return os.stat(self._wal).st_size  # noqa: PTH116  (after every round: a third of pathlib's time)
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
