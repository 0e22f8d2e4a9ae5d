"""The end of a round: free slots are given to waiting jobs, across all queues, and scarce resources are reserved."""

from hpcq.core import claims
from hpcq.core.attempts import start
from hpcq.core.book import Book
from hpcq.core.capacity import Rank, Resources
from hpcq.core.policy import Choice, next_job
from hpcq.core.queues import Queue


def assign(book: Book) -> None:
    """Start whatever can start, then claim ahead and recall."""
    book.capacity.forget_kept()
    unfit: set[Resources] = set()
    if not book.draining:
        _start_all(book, unfit)
    for queue in book.queues.values():
        if queue.claims:
            claims.recall(book, queue)
        if queue.settings.ahead and not book.draining:
            claims.claim(book, queue, unfit)


def _start_all(book: Book, unfit: set[Resources]) -> None:
    """Between queues: priority, then number. What does not fit keeps what it is short of from all behind it."""
    kept = _kept(book)
    choices: list[tuple[Rank, int, Choice]] = []
    waiting = [queue for queue in book.queues.values() if queue.idle and queue.levels.size and queue.runnable]
    for order, queue in enumerate(waiting):
        _look(book, queue, order, unfit, choices)
    while choices:
        least = min(choices)
        choices.remove(least)
        rank, order, choice = least
        while kept and kept[0][0] < rank:
            before, resources, names = kept.pop(0)
            book.capacity.keep(resources, names, before)
        _try(book, waiting[order], choice, rank, unfit)
        _look(book, waiting[order], order, unfit, choices)
    for before, resources, names in kept:
        book.capacity.keep(resources, names, before)


def _look(book: Book, queue: Queue, order: int, unfit: set[Resources], choices: list[tuple[Rank, int, Choice]]) -> None:
    """The queue's next job, if there is one for its idle slots. A queue has at most one among the choices."""
    if not queue.idle or not queue.levels.size:
        return
    choice = next_job(queue, unfit, book.avoid)
    if choice is not None:
        choices.append(((-choice.group.shelf.line.level.priority, choice.job), order, choice))


def _try(book: Book, queue: Queue, choice: Choice, rank: Rank, unfit: set[Resources]) -> None:
    resources = choice.group.shelf.resources
    if not resources or book.capacity.fits(resources):
        place = choice.place
        place.resources = resources
        place.items = book.capacity.take(resources) if resources else ()
        start(book, queue, choice.job, place)
        return
    unfit.add(resources)
    if book.capacity.possible(resources):
        short = book.capacity.short_of(resources)
        book.capacity.reserve(short, rank)
        if queue.passed is None and short:
            queue.passed = (choice.job, short)


def _kept(book: Book) -> list[tuple[Rank, Resources, tuple[str, ...]]]:
    """What is kept for jobs that were passed over: others of their queue, which ask for none of it, took the slots.

    Such a job is not looked at while its queue has no slot for it; without this, whoever asks for less could take the
    resource in that time, again and again, and the job would starve. A job that no slot could take keeps nothing: it
    may wait for ever.
    """
    kept: list[tuple[Rank, Resources, tuple[str, ...]]] = []
    for queue in book.queues.values():
        if queue.passed is None:
            continue
        job, names = queue.passed
        kind = book.queued.get(job)
        if kind is None or not queue.runnable or book.queue(kind.treatment.queue) is not queue:
            queue.passed = None
            continue
        wanted = kind.treatment
        places = [place for place in queue.places.values() if place.usable and place.admits(wanted.requires)]
        if not places or any(not place.jobs for place in places):
            queue.passed = None  # nothing could take it, or its turn comes the usual way
        elif book.capacity.possible(wanted.resources):
            kept.append(((-wanted.priority, job), wanted.resources, names))
    return sorted(kept)
