"""What would be on disk: every job's row, the changes of a round that is not committed yet, and the laws over both."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import isclose

from hpcq.core.effects import Save
from hpcq.core.events import Edited
from hpcq.core.job import Dependency, ErrorType, History, NewJob, State, StopReason, Treatment

S = State
ENDS = {S.SUCCEEDED: "job.succeeded", S.FAILED: "job.failed", S.CANCELLED: "job.cancelled"}
LIVE = (S.STARTING, S.RUNNING, S.CANCELLING)
STANDING = (S.BLOCKED, S.DELAYED, S.QUEUED)
# Written down a second time, so that a slip in the core's own table is seen.
LEGAL = {
    None: "blocked delayed queued",
    S.BLOCKED: "queued delayed failed cancelled",
    S.DELAYED: "queued failed cancelled delayed",  # the last: its time was moved
    S.QUEUED: "starting failed cancelled",
    S.STARTING: "running queued delayed cancelling failed",
    S.RUNNING: "succeeded failed queued delayed cancelling running",  # the last: found again after a restart
    S.CANCELLING: "cancelled failed queued delayed cancelling",  # the last: cancel overrides
}


@dataclass(frozen=True, slots=True)
class Row:
    """One job as the store has it. `state` None: inserted, its first `Save` is still to come."""

    job: int
    treatment: Treatment
    history: History
    state: State | None = None
    run_at: float | None = None
    expires_at: float | None = None
    depends_on: tuple[Dependency, ...] = ()
    slot: str | None = None
    stop: StopReason | None = None
    started_at: float | None = None  # wall
    ends: int = 0  # final states so far

    @property
    def final(self) -> bool:
        """Nothing but a reopening changes it."""
        return self.state in ENDS

    @property
    def live(self) -> bool:
        """It has a slot, or a claim on one."""
        return self.state in LIVE


@dataclass(frozen=True, slots=True)
class Change:
    """What of a `Save` can be foreseen."""

    state: State
    history: History
    event: str | None = None
    due: float | None = None
    stop: StopReason | None = None
    error: ErrorType | None = None
    ended: bool = False

    def meets(self, save: Save) -> bool:
        """Whether the core saved just this."""
        due = self.due is save.due or (
            self.due is not None and save.due is not None and isclose(self.due, save.due, abs_tol=1e-6)
        )
        error = save.error.type if save.error else None
        seen = (save.state, save.history, save.event, save.stop, error, save.attempt_ended)
        return due and seen == (self.state, self.history, self.event, self.stop, self.error, self.ended)


class Ledger:
    """A model of the store. `rows` is what this round sees; `drop` takes back all since the last `commit`."""

    def __init__(self) -> None:
        self.rows: dict[int, Row] = {}
        self.open: dict[int, None] = {}  # jobs that are not final
        self.ends: dict[int, State] = {}  # of this round
        self._before: dict[int, Row | None] = {}  # rows touched in this round, as they are on disk

    def on_disk(self, job: int) -> Row | None:
        """The committed row."""
        return self._before[job] if job in self._before else self.rows.get(job)

    def commit(self) -> None:
        """The round is on disk."""
        self._before.clear()
        self.ends.clear()

    def drop(self) -> None:
        """The round never was."""
        for job, row in self._before.items():
            if row is None:
                del self.rows[job]
                self.open.pop(job, None)
            else:
                self._place(row)
        self.commit()

    def unfinished(self) -> Iterable[Row]:
        """Rows of jobs that are not final."""
        return [self.rows[job] for job in self.open]

    def insert(self, new: NewJob) -> None:
        """A submitted job's row."""
        self._put(Row(new.job, new.treatment, new.history, None, new.run_at, new.expires_at, new.depends_on))

    def edit(self, event: Edited) -> None:
        """An edit is written by the engine itself."""
        row = self.rows[event.job]
        self._put(replace(row, treatment=event.treatment, run_at=event.run_at, expires_at=event.expires_at))

    def save(self, save: Save, wall: float) -> None:
        """Apply one change, if it is lawful."""
        row = self.rows.get(save.job)
        assert row is not None, f"job {save.job} is saved and was never submitted"
        if row.final:
            self._reopen(row, save)
            return
        self._lawful(row, save)
        started_at = row.started_at
        if save.state is S.STARTING:
            started_at = None
        elif save.state is S.RUNNING and started_at is None:
            started_at = wall
        final = save.state in ENDS
        run_at = row.run_at if save.due is None else save.due
        self._put(
            replace(
                row, state=save.state, history=save.history, run_at=run_at, slot=save.slot, stop=save.stop,
                started_at=started_at, ends=row.ends + final,
            )
        )  # fmt: skip
        if final:
            self.ends[save.job] = save.state

    def _reopen(self, row: Row, save: Save) -> None:
        was, history = row.history, save.history
        assert save.event == "job.reopened", f"job {row.job} is {row.state} and was saved as {save.state}"
        assert history.reopened == was.reopened + 1, f"job {row.job} left {row.state} without counting a reopening"
        assert history.attempt == was.attempt, "attempt numbers go on after a reopening"
        self._put(replace(row, state=save.state, history=history, slot=None, stop=None, run_at=None, expires_at=None))

    def _lawful(self, row: Row, save: Save) -> None:
        old, new, name = row.state, save.state, f"job {row.job}"
        assert new.value in LEGAL[old].split(), f"{name} went from {old} to {new}"
        assert (save.slot is not None) == (new in LIVE), f"{name} is {new} on slot {save.slot}"
        assert (save.stop is not None) == (new is S.CANCELLING), f"{name} is {new} with stop {save.stop}"
        assert (save.due is not None) == (new is S.DELAYED), f"{name} is {new}, due {save.due}"
        assert save.event is None or save.event not in ENDS.values() or ENDS.get(new) == save.event
        assert new not in ENDS or save.event == ENDS[new], f"{name} is {new} and the world hears {save.event}"
        assert new not in ENDS or row.ends == row.history.reopened, f"{name} has a second final state"
        assert save.history.reopened == row.history.reopened
        recalled = old is S.STARTING and new is S.QUEUED and save.event is None
        step = 1 if new is S.STARTING else -1 if recalled else 0
        assert save.history.attempt == row.history.attempt + step, (
            f"{name} went from {old}, attempt {row.history.attempt}, to {new}, attempt {save.history.attempt}"
        )
        left = old in LIVE and new not in LIVE and not recalled
        assert save.attempt_ended == left, f"{name} went from {old} to {new}, attempt over: {save.attempt_ended}"

    def _put(self, row: Row) -> None:
        self._before.setdefault(row.job, self.rows.get(row.job))
        self._place(row)

    def _place(self, row: Row) -> None:
        self.rows[row.job] = row
        if row.final:
            self.open.pop(row.job, None)
        else:
            self.open[row.job] = None
