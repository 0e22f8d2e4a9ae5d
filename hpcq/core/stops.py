"""Stops, and the clocks that ask for them: leases and timeouts, both monotonic."""

from hpcq.core.book import Book, check
from hpcq.core.effects import Save, Stop
from hpcq.core.events import Cancelled, Renewed, StopRequested
from hpcq.core.job import State, StopReason
from hpcq.core.queues import Active

TICKS = 4  # looks at the leases within the shortest one


def cancelled(book: Book, event: Cancelled) -> None:
    """Somebody wants a job to end."""
    active = book.active.get(event.job)
    if active is not None:
        stop(book, active, StopReason.CANCEL)
    elif book.waiting(event.job) is not None:
        book.end_waiting(event.job, State.CANCELLED, "job.cancelled")


def stop_requested(book: Book, event: StopRequested) -> None:
    """Supervision, or the drain, wants an attempt stopped."""
    active = book.live(event.job, event.attempt)
    if active is not None:
        stop(book, active, event.reason)


def stop(book: Book, active: Active, reason: StopReason) -> None:
    """Stop a live attempt. The first reason stays, but cancel overrides."""
    if active.stop is not None and (reason is not StopReason.CANCEL or active.stop is StopReason.CANCEL):
        return
    if active.state is not State.CANCELLING:
        check(active.job, active.state, State.CANCELLING)
        active.state = State.CANCELLING
    active.stop = reason
    book.timeouts.drop(active.job)
    say_stop(book, active, reason)


def say_stop(book: Book, active: Active, reason: StopReason) -> None:
    """Save the reason, then ask for the stop."""
    place, attempt = active.place, active.history.attempt
    settings = place.queue.settings
    book.out.append(Save(active.job, State.CANCELLING, active.history, None, None, place.name, reason))
    book.out.append(Stop(active.job, attempt, settings.name, place.name, reason, settings.grace_s))


def watch(book: Book, active: Active, started: float) -> None:
    """Set the clocks of a running attempt: a full lease, and a timeout that counts from this monotonic time."""
    if not book.leases.when:
        book.ticked = book.now.mono
    active.started = started
    book.leases.set(active.job, book.now.mono + active.place.queue.settings.lease_s)
    timeout_s = active.kind.treatment.timeout_s
    if timeout_s is not None and active.stop is None:
        book.timeouts.set(active.job, started + timeout_s)


def renewed(book: Book, event: Renewed) -> None:
    """The attempt is alive."""
    active = book.live(event.job, event.attempt)
    if active is not None and event.job in book.leases.when:
        book.leases.set(event.job, book.now.mono + active.place.queue.settings.lease_s)


def overdue(book: Book) -> None:
    """Stop what ran too long, or has gone silent; but if we come late ourselves, we were the silent ones."""
    _extend(book)
    for job in book.timeouts.due(book.now.mono):
        stop(book, book.active[job], StopReason.TIMEOUT)
    for job in book.leases.due(book.now.mono):
        stop(book, book.active[job], StopReason.LEASE)


def _extend(book: Book) -> None:
    gap_s = book.now.mono - book.ticked
    book.ticked = book.now.mono
    for job in book.leases.jobs():
        when = book.leases.get(job)
        if when is not None and gap_s > book.active[job].place.queue.settings.lease_s / 2:
            book.leases.set(job, when + gap_s)


def next_look(book: Book) -> float | None:
    """When the clocks must be looked at (monotonic): also now and then, so that a late look is known as such."""
    times = [when for when in (book.timeouts.next(), book.leases.next()) if when is not None]
    if book.leases.when:
        times.append(book.ticked + min(queue.settings.lease_s for queue in book.queues.values()) / TICKS)
    return min(times, default=None)
