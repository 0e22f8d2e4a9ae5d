"""What can be seen of a queue, and what it can never do."""

from hpcq.core.book import Book
from hpcq.core.job import State, Treatment
from hpcq.core.queues import Place
from hpcq.core.record import record


@record
class SlotView:
    """A slot as it is now."""

    name: str
    labels: tuple[tuple[str, str], ...]
    state: str  # idle · busy · held (its runner says why) · leaving (no longer offered, finishes its job)
    reason: str
    job: int | None
    claims: tuple[int, ...]  # jobs that it holds ahead
    session_key: str | None


@record
class QueueView:
    """A queue as it is now. Waiting jobs are only counted."""

    name: str
    paused: bool
    paused_reason: str
    available: bool
    reason: str  # why its runner is not available
    slots: tuple[SlotView, ...]
    counts: dict[State, int]  # of unfinished jobs, every state
    mean_run_s: float | None


def queue_view(book: Book, name: str) -> QueueView:
    """The queue of that name, also one that was never heard of."""
    queue = book.queue(name)
    counts = {
        State.BLOCKED: queue.blocked,
        State.DELAYED: queue.delayed,
        State.QUEUED: queue.levels.size,
        State.STARTING: 0,
        State.RUNNING: 0,
        State.CANCELLING: 0,
    }
    for active in queue.active():
        counts[active.state] += 1
    return QueueView(
        name,
        queue.settings.paused,
        queue.settings.paused_reason,
        queue.available,
        queue.reason,
        tuple(_slot_view(place) for place in queue.places.values()),
        counts,
        queue.mean_run_s,
    )


def _slot_view(place: Place) -> SlotView:
    state = "leaving" if place.gone else "busy" if place.jobs else "idle" if place.ready else "held"
    jobs = [active.job for active in place.jobs]
    return SlotView(
        place.name, place.labels, state, place.reason, jobs[0] if jobs else None, tuple(jobs[1:]), place.session_key
    )


def refusals(book: Book, treatment: Treatment) -> list[tuple[str, str]]:
    """What of it can never be had: (the field's path, a sentence). Empty: it can be admitted."""
    queue = book.queues.get(treatment.queue)
    if queue is None:
        names = ", ".join(book.queues) or "none"
        return [("queue", f"there is no queue {treatment.queue!r}; there are: {names}")]
    found = [each for name, amount in treatment.resources if (each := _resource(book, name, amount)) is not None]
    offered = queue.offered
    if not offered:  # nobody knows yet what its slots will have
        return found
    for label, value in treatment.requires:
        if not any((label, value) in slot.labels for slot in offered):
            had = sorted({has for slot in offered for name, has in slot.labels if name == label})
            text = f"; they have: {', '.join(had)}" if had else f": none has a label {label!r}"
            found.append((f"requires/{label}", f"no slot of queue {treatment.queue!r} has {label} = {value!r}{text}"))
    if not found and not any(set(treatment.requires) <= set(slot.labels) for slot in offered):
        wanted = ", ".join(f"{label} = {value!r}" for label, value in treatment.requires)
        found.append(("requires", f"no one slot of queue {treatment.queue!r} has all of {wanted}"))
    return found


def _resource(book: Book, name: str, amount: float) -> tuple[str, str] | None:
    capacity = book.capacity
    total = capacity.totals.get(name)
    if total is None:
        names = ", ".join(capacity.totals) or "none"
        return f"resources/{name}", f"there is no resource {name!r}; there are: {names}"
    if amount > total:
        return f"resources/{name}", f"it asks for {amount:g}, but there are only {total:g} of {name!r}"
    if name in capacity.items and amount != int(amount):
        return f"resources/{name}", f"it asks for {amount:g}, but {name!r} can only be had in whole items"
    return None
