"""The door of the core: every event enters here, and every decision leaves as effects."""

from collections.abc import Callable, Mapping
from typing import Any

from hpcq.core import arrivals, attempts, explain, stops, views
from hpcq.core.assignment import assign
from hpcq.core.book import Book
from hpcq.core.effects import Effect
from hpcq.core.events import (
    Attached,
    Cancelled,
    Draining,
    Edited,
    Event,
    Finished,
    Loaded,
    Orphaned,
    QueueChanged,
    Recalled,
    Renewed,
    Reopened,
    RunnerChanged,
    SessionEnded,
    SlotsOffered,
    Started,
    StopRequested,
    Submitted,
    Ticked,
)
from hpcq.core.job import Moment, State, Treatment

FAN_OUT = 1000  # dependents that are told of an end in one round; the others wait on the worklist


class Scheduler:
    """All unfinished jobs, and what shall happen with them. Deterministic: equal events give equal effects.

    A round: `handle` for each event, `assign` once, the world commits every `Save`, `committed`, and only then the
    other effects are acted on.
    """

    def __init__(self, totals: Mapping[str, float], items: Mapping[str, tuple[str, ...]] | None = None) -> None:
        """`totals`: what there is of each resource; `items`: the names of those that have named items."""
        self.book = Book(totals, items or {})

    def handle(self, event: Event, now: Moment) -> list[Effect]:
        """Decide the consequences of one event, but for dependents and free slots, which are `assign`'s."""
        book = self.book
        book.now = now
        out: list[Effect] = []
        book.out = out
        HANDLERS[type(event)](book, event)
        return out

    def assign(self, now: Moment) -> list[Effect]:
        """End the round: release dependents, give free slots to jobs, claim ahead and recall."""
        book = self.book
        book.now = now
        out: list[Effect] = []
        book.out = out
        if book.deps.worklist:
            for decision in book.deps.settle(FAN_OUT):
                arrivals.decided(book, decision)
        assign(book)
        return out

    def committed(self) -> None:
        """The round is on disk: what ended in it, the store knows from now on."""
        self.book.deps.ended.clear()

    def wakes(self) -> tuple[float | None, float | None]:
        """The next (wall, monotonic) times at which a `Ticked` is due; wall 0.0: at once, there is more to do."""
        book = self.book
        walls = [when for when in (book.delays.next(), book.expiries.next()) if when is not None]
        wall = 0.0 if book.deps.worklist else min(walls, default=None)
        return wall, stops.next_look(book)

    def refusals(self, treatment: Treatment) -> list[tuple[str, str]]:
        """What such a job asks for and can never have: (field path, sentence). Empty: it can be admitted."""
        return views.refusals(self.book, treatment)

    def explain(self, job: int, now: Moment) -> explain.Explanation | None:
        """Every reason why the job stands where it stands; None: it is not unfinished."""
        return explain.explain(self.book, job, now)

    def queue_view(self, queue: str, now: Moment) -> views.QueueView:  # noqa: ARG002
        """A queue's slots and counts."""
        return views.queue_view(self.book, queue)

    @property
    def unfinished(self) -> int:
        """How many jobs the core has."""
        book = self.book
        return len(book.queued) + len(book.blocked) + len(book.delayed) + len(book.active)

    def state_of(self, job: int) -> State | None:
        """The job's state; None: it is not unfinished."""
        return self.book.state_of(job)


def _queue_changed(book: Book, event: QueueChanged) -> None:
    queue = book.queue(event.settings.name)
    queue.settings = event.settings
    queue.refit()


def _slots_offered(book: Book, event: SlotsOffered) -> None:
    queue = book.queue(event.queue)
    queue.offered = event.slots
    queue.refit()


def _runner_changed(book: Book, event: RunnerChanged) -> None:
    queue = book.queue(event.queue)
    queue.available, queue.reason = event.available, event.reason


def _session_ended(book: Book, event: SessionEnded) -> None:
    place = book.queue(event.queue).places.get(event.slot)
    if place is not None and not place.jobs:
        place.end_session()


def _draining(book: Book, _: Draining) -> None:
    book.draining = True


def _ticked(book: Book, _: Ticked) -> None:
    arrivals.due(book)
    stops.overdue(book)


HANDLERS: dict[type, Callable[[Book, Any], None]] = {
    Submitted: arrivals.submitted,
    Loaded: arrivals.loaded,
    Reopened: arrivals.reopened,
    Edited: arrivals.edited,
    Attached: attempts.attached,
    Orphaned: attempts.orphaned,
    Started: attempts.started,
    Finished: attempts.finished,
    Recalled: attempts.recalled,
    Renewed: stops.renewed,
    StopRequested: stops.stop_requested,
    Cancelled: stops.cancelled,
    QueueChanged: _queue_changed,
    SlotsOffered: _slots_offered,
    RunnerChanged: _runner_changed,
    SessionEnded: _session_ended,
    Draining: _draining,
    Ticked: _ticked,
}
