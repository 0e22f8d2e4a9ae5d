"""What happens to jobs that have a slot: begun, ended, recalled; and those that a restart finds."""

from hpcq.core.book import Book, check
from hpcq.core.effects import Recall, Save, Start
from hpcq.core.events import Attached, Finished, Orphaned, Recalled, Started
from hpcq.core.groups import Kind
from hpcq.core.job import FRESH, ErrorType, History, Slot, State
from hpcq.core.queues import Active, Place, Queue
from hpcq.core.retry import Attempt, Verdict, verdict
from hpcq.core.stops import say_stop, watch

FIRST = History(attempt=1)


def start(book: Book, queue: Queue, job: int, place: Place) -> None:
    """Give a queued job this slot, or a claim on it."""
    kind = book.queued.pop(job)
    kind.group.remove(job)
    was = book.histories.pop(job, None)
    if was is None:
        history = FIRST
    else:
        history = History(was.attempt + 1, was.retries_used, was.infra_used, was.crashes, was.reopened)
    active = book.active[job] = Active(job, kind, history, place)
    if history.attempt == 1 and book.expiries.when:
        active.expires = book.expiries.get(job)
        book.expiries.drop(job)
    if book.avoid:
        book.avoid.pop(job, None)
    check(job, State.QUEUED, State.STARTING)
    place.serve(kind.treatment.session_key)
    queue.take(place, active)
    book.out.append(Save(job, State.STARTING, history, None, None, place.name))
    book.out.append(Start(job, history.attempt, queue.settings.name, place.name, place.items))


def started(book: Book, event: Started) -> None:
    """The runner has begun. A claim that begins before its turn came here is begun when it comes.

    Where the first of the slot has not begun, the one that did goes before it.
    """
    active = book.live(event.job, event.attempt)
    if active is None or active.state is not State.STARTING:
        return
    active.recalling = False
    first = active.place.jobs[0]
    if first is not active and first.awaited:
        active.place.lead(active)
        first = active
    if first is active:
        _begin(book, active)
    else:
        active.begun = True


def _begin(book: Book, active: Active) -> None:
    check(active.job, active.state, State.RUNNING)
    active.state = State.RUNNING
    watch(book, active, book.now.mono)
    book.out.append(Save(active.job, State.RUNNING, active.history, "job.started", None, active.place.name))


def finished(book: Book, event: Finished) -> None:
    """An attempt is over, and its place is free."""
    active = book.live(event.job, event.attempt)
    if active is None:
        return
    if active.state is State.STARTING and event.failure is None:  # its `Started` was never seen
        _begin(book, active)
    if active.stop is None:
        _learn(book, active, event)
    _vacate(book, active)
    if event.session_lost and not active.place.jobs:  # a claim behind it prepares the same session again
        active.place.end_session()
    if event.failure is None and active.stop is None and not (event.worker_died or active.history.crashes):
        check(event.job, active.state, State.SUCCEEDED)
        book.finish(event.job, active.kind, State.SUCCEEDED)
        book.out.append(Save(event.job, State.SUCCEEDED, active.history, "job.succeeded", None, None, None, None, True))
        return
    attempt = Attempt(
        active.kind.treatment,
        active.history,
        event.failure,
        active.stop,
        event.retry_after_s,
        event.draw,
        event.worker_died,
    )
    _conclude(book, active, verdict(attempt))


def _learn(book: Book, active: Active, event: Finished) -> None:
    if event.run_s is not None:
        active.place.queue.learn(event.run_s)
    elif active.started is not None:
        active.place.queue.learn(book.now.mono - active.started)


def _vacate(book: Book, active: Active) -> None:
    """Take the job from its slot; the next claim, or nobody, has the turn and what it holds."""
    place = active.place
    del book.active[active.job]
    if active.started is not None:
        book.leases.drop(active.job)
        book.timeouts.drop(active.job)
    heir = place.queue.leave(active)
    if heir is not None:
        if heir.begun and heir.state is State.STARTING:
            _begin(book, heir)
    elif place.resources and not place.jobs:
        book.capacity.give_back(place.resources, place.items)
        place.resources, place.items = (), ()


def _conclude(book: Book, active: Active, outcome: Verdict) -> None:
    """Where the job goes now that it has no slot."""
    check(active.job, active.state, outcome.state)
    if outcome.elsewhere:
        book.avoid[active.job] = active.place.name
    _go(book, active.job, active.kind, outcome)


def _go(book: Book, job: int, kind: Kind, outcome: Verdict) -> None:
    state, error = outcome.state, outcome.error
    if state is State.QUEUED or state is State.DELAYED:
        due = book.now.wall + outcome.delay_s if state is State.DELAYED else None
        book.put(job, kind, outcome.history, outcome.event, due=due, error=error, attempt_ended=True)
    else:
        book.finish(job, kind, state)
        book.out.append(Save(job, state, outcome.history, outcome.event, None, None, None, error, True))


def recall(book: Book, active: Active) -> None:
    """Ask for a claim back."""
    active.recalling = True
    place = active.place
    book.out.append(Recall(active.job, active.history.attempt, place.queue.settings.name, place.name))


def recalled(book: Book, event: Recalled) -> None:
    """A claim came back: it never was. One that was stopped meanwhile goes the way of its reason."""
    active = book.live(event.job, event.attempt)
    if active is None or not active.recalling:
        return
    place, was = active.place, active.history
    _vacate(book, active)
    if active.stop is not None:
        _conclude(book, active, verdict(Attempt(active.kind.treatment, was, stop=active.stop)))
        return
    check(active.job, active.state, State.QUEUED)
    place.turns = max(0, place.turns - 1)
    history = History(was.attempt - 1, was.retries_used, was.infra_used, was.crashes, was.reopened)
    if active.expires is not None:
        book.expiries.set(active.job, active.expires)
    book.put(active.job, active.kind, FRESH if history == FRESH else history, None)


def attached(book: Book, event: Attached) -> None:
    """A live attempt that was found again; its stop, if one was pending, is asked for again."""
    new = event.job
    if book.knows(new.job):
        return
    kind = book.kind(new.treatment)
    kind.held += 1
    place = _place(book, event)
    active = book.active[new.job] = Active(new.job, kind, new.history, place)
    ran_as = active.ran_as = event.ran_as or new.treatment
    if not place.jobs:
        place.resources = ran_as.resources
        place.items = book.capacity.take(place.resources, event.items)
    place.serve(ran_as.session_key)
    place.queue.take(place, active)
    active.stop = event.stop
    active.expires = new.expires_at if new.history.attempt == 1 else None
    started_at = None if new.state is State.STARTING else event.started_at  # its `Started` is still to come
    active.recalling = started_at is None  # it may have been asked back: if it comes, believe it
    if started_at is not None:
        first = place.jobs[0]
        assert first is active or first.started is None, f"slot {place.name} runs both job {first.job} and {new.job}"
        place.lead(active)
        watch(book, active, book.now.mono - max(0.0, book.now.wall - started_at))
    if event.stop is not None:
        active.state = State.CANCELLING
        say_stop(book, active, event.stop)
    elif started_at is not None:
        active.state = State.RUNNING
        book.out.append(Save(new.job, State.RUNNING, new.history, None, None, place.name))


def _place(book: Book, event: Attached) -> Place:
    """The slot on which it was found, which may have gone, or not yet have been offered."""
    queue = book.queue(event.job.treatment.queue)
    place = queue.places.get(event.slot)
    if place is None:
        place = queue.places[event.slot] = Place(queue, Slot(event.slot))
        place.gone = queue.offered is not None
    return place


def orphaned(book: Book, event: Orphaned) -> None:
    """An attempt that a restart did not find again: it is dead, and goes back uncharged, or where its stop leads."""
    new = event.job
    if book.knows(new.job):
        return
    kind = book.kind(new.treatment)
    kind.held += 1
    attempt = Attempt(new.treatment, new.history, ErrorType.LOST, event.stop, crashed=event.crashed)
    _go(book, new.job, kind, verdict(attempt))
