"""Writes rounds: all that one round changes, in one transaction."""

import sqlite3
from collections.abc import Callable, Iterable
from typing import TypeVar

from hpcq.store.blobs import write_pins
from hpcq.store.changes import Changes
from hpcq.store.errors import StoreBroken, primary_code, rolled_back
from hpcq.store.interned import Interned
from hpcq.store.journal import Journal
from hpcq.store.minor import write_minor
from hpcq.store.rows import Committed, EventRow, JobRow, Round
from hpcq.store.statements import SIZES, jobs_by_int, made_row

SLICE = SIZES[0]
T = TypeVar("T")


class Ledger:
    """The writer's side of rounds. What it remembers of the file is read again after a rollback."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.interned = Interned(db)
        self.journal = Journal(db)
        self._changes = Changes(db, self.interned, self.journal)

    def commit(self, round_: Round) -> Committed:
        """One transaction. Raises StoreFull or StoreRefused (nothing written), or StoreBroken (outcome unknown)."""
        return self.transact(lambda: self._write(round_))

    def run(self, statements: Iterable[tuple[str, tuple[object, ...]]]) -> None:
        """A few statements as one transaction, with the same errors."""
        self.transact(lambda: [self._db.execute(sql, values) for sql, values in statements])

    def transact(self, write: Callable[[], T]) -> T:
        """A transaction around a function, with the same errors."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            written = write()
        except Exception as error:
            self._undo()
            raise rolled_back(error) from error
        try:
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if primary_code(error) != sqlite3.SQLITE_FULL:  # that one SQLite has rolled back
                raise StoreBroken(f"COMMIT failed, and what it wrote may yet be on disk: {error}") from error
            self._undo()
            raise rolled_back(error) from error
        return written

    def _undo(self) -> None:
        try:
            if self._db.in_transaction:  # SQLite may have rolled back by itself
                self._db.execute("ROLLBACK")
            self.interned.forget()
            self.journal.forget()
        except sqlite3.Error as error:
            raise StoreBroken(f"a round could not be rolled back: {error}") from error

    def _write(self, round_: Round) -> Committed:
        events: list[EventRow] = []
        inserts, saves = round_.inserts, round_.saves
        for at in range(0, len(inserts), SLICE):
            events += self._recorded(self._changes.insert(inserts[at : at + SLICE]))
        self._changes.count(inserts)
        for edit in round_.edits:
            self._changes.edit(edit, round_.at)
        for at in range(0, len(saves), SLICE):
            events += self._recorded(self._changes.save(saves[at : at + SLICE]))
        events += self._recorded(self.journal.of_notes(round_.notes))
        write_minor(self._db, round_)
        write_pins(self._db, round_.pins)
        return Committed(events, self._started(round_))

    def _started(self, round_: Round) -> dict[int, JobRow]:
        """The rows of the jobs that the round asks for; those it has just made need no reading."""
        wanted = set(round_.starts)
        pairs = round_.inserts if wanted else ()
        fresh = {new.job: made_row(new, row) for new, row in pairs if new.job in wanted and not row.save.error}
        return fresh | jobs_by_int(self._db, wanted - fresh.keys())

    def _recorded(self, events: list[EventRow]) -> list[EventRow]:
        self.journal.write(events)
        return events
