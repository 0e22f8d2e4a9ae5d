"""Small integers for what many jobs share: lanes (org, queue, runner) and treatments."""

import sqlite3

from hpcq.core.job import Treatment
from hpcq.store.codec import treatment_of, treatment_text

REMEMBERED = 100_000  # treatments; beyond it all are forgotten and looked up again


class Interned:
    """Gives out the integers, inside the writer's transaction. After a rollback: `forget`."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._lanes: dict[tuple[str, str, str], int] = {}
        self._treatments: dict[Treatment, int] = {}
        self.places: dict[int, tuple[str, str]] = {}  # lane -> (queue, org)
        self.forget()

    def forget(self) -> None:
        """Know only what is committed."""
        self._treatments.clear()
        rows = self._db.execute("SELECT lane, org_id, queue, runner FROM lanes").fetchall()
        self._lanes = {(org, queue, runner): lane for lane, org, queue, runner in rows}
        self.places = {lane: (queue, org) for lane, org, queue, _ in rows}

    def lane(self, org_id: str, queue: str, runner: str) -> int:
        """The lane of jobs of this org and queue."""
        key = (org_id, queue, runner)
        if (lane := self._lanes.get(key)) is None:
            sql = "INSERT INTO lanes (org_id, queue, runner) VALUES (?, ?, ?) RETURNING lane"
            lane = self._lanes[key] = self._db.execute(sql, key).fetchone()[0]
            self.places[lane] = (queue, org_id)
        return lane

    def treatment(self, treatment: Treatment) -> int:
        """The integer of a treatment."""
        if (found := self._treatments.get(treatment)) is None:
            if len(self._treatments) >= REMEMBERED:
                self._treatments.clear()
            found = self._treatments[treatment] = self._find(treatment_text(treatment))
        return found

    def _find(self, body: str) -> int:
        row = self._db.execute("SELECT treatment FROM treatments WHERE body = ?", (body,)).fetchone()
        if row is None:
            row = self._db.execute("INSERT INTO treatments (body) VALUES (?) RETURNING treatment", (body,)).fetchone()
        found: int = row[0]
        return found

    def treatments(self, wanted: set[int]) -> dict[int, Treatment]:
        """The objects of these integers; the same objects every time, so that jobs share them."""
        by_number = {number: treatment for treatment, number in self._treatments.items() if number in wanted}
        sql = "SELECT body FROM treatments WHERE treatment = ?"
        for number in wanted - by_number.keys() - {0}:
            treatment = treatment_of(self._db.execute(sql, (number,)).fetchone()[0])
            by_number[number] = treatment
            self._treatments[treatment] = number
        return by_number
