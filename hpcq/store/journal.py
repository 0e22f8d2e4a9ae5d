"""Events: numbered inside the transaction that makes them, without holes."""

import sqlite3
from collections.abc import Sequence

from hpcq.core.job import WAITING
from hpcq.store.rows import EventRow, SaveRow
from hpcq.store.statements import Many

_STATE_OF = {
    "job.queued": "queued",
    "job.started": "running",
    "job.succeeded": "succeeded",
    "job.failed": "failed",
    "job.cancelled": "cancelled",
}
_WAITING = frozenset(state.value for state in WAITING)
_WITH_ERROR = {"job.failed", "job.retrying"}

_PLAIN = Many(
    "INSERT INTO events (seq, at, type, job_id, number, state, queue, org_id, attempt) VALUES",
    "(?, ?, ?, ?, ?, ?, ?, ?, ?)",
)
_WHOLE = Many(
    "INSERT INTO events (seq, at, type, job_id, number, state, queue, org_id, attempt, detail) VALUES",
    "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
)
_event = EventRow._make


class Journal:
    """Gives out `seq`; `seq` is the last one given."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.seq = 0
        self.forget()

    def forget(self) -> None:
        """Know only what is committed. (The newest event is never pruned.)"""
        self.seq = self._db.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()[0]

    def of_save(self, row: SaveRow, job_id: str, number: int, queue: str, org_id: str) -> list[EventRow]:
        """The events of a Save, numbered."""
        save = row.save
        state, attempt = str.__str__(save.state), save.history.attempt
        if state == "starting" and attempt:
            attempt -= 1  # what happened in this round before the start belongs to the attempt before
        waits = state if state in _WAITING else "queued"
        made = []
        for kind in row.events:
            self.seq += 1
            detail = b'{"error":%b}' % row.error if row.error and kind in _WITH_ERROR else None
            state = _STATE_OF.get(kind, waits)
            at = row.started_at if kind == "job.started" and row.started_at else row.at
            made.append(_event((self.seq, at, kind, job_id, number, state, queue, org_id, attempt, detail)))
        return made

    def of_notes(self, notes: Sequence[EventRow]) -> list[EventRow]:
        """The same events, numbered."""
        first = self.seq + 1
        self.seq += len(notes)
        return [note._replace(seq=seq) for seq, note in enumerate(notes, first)]

    def write(self, events: Sequence[EventRow]) -> None:
        """Put numbered events into the transaction."""
        _PLAIN.run(self._db, [event[:9] for event in events if event.detail is None])
        _WHOLE.run(self._db, [event for event in events if event.detail is not None])
