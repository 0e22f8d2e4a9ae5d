"""Claims ahead, for short work: jobs that a busy slot holds beside the one it runs, and how they are taken back."""

from hpcq.core.attempts import recall as ask
from hpcq.core.attempts import start
from hpcq.core.book import Book
from hpcq.core.capacity import Rank, Resources
from hpcq.core.job import Treatment
from hpcq.core.policy import next_for
from hpcq.core.queues import Active, Place, Queue

SHORT_S = 0.05  # the mean run time below which waiting for a round costs more than a wrong guess


def claim(book: Book, queue: Queue, unfit: set[Resources]) -> None:
    """Fill up the slots that have at most half of what they may hold, in turn, so that none gets all."""
    if not queue.levels.size or not queue.runnable or queue.mean_run_s is None or queue.mean_run_s >= SHORT_S:
        return
    most = queue.settings.ahead
    unfit = _unfit(book, queue, unfit)
    places = [place for place in queue.places.values() if _may_claim(place, most // 2)]
    while places:
        places = [place for place in places if len(place.jobs) <= most and _claim_one(book, queue, place, unfit)]


def _unfit(book: Book, queue: Queue, unfit: set[Resources]) -> set[Resources]:
    """What no claim is to be tried with.

    It may not have fitted another queue only because it is kept for the job that was passed over here: that one now
    lacks nothing but the slot, and no claim may go before it, or it would wait for as long as there are claims.
    """
    job = queue.passed[0] if queue.passed is not None else None
    kind = book.queued.get(job) if job is not None else None
    if job is None or kind is None:
        return unfit
    resources = kind.treatment.resources
    free = book.capacity.free
    short = any(amount > free.get(name, 0) for name, amount in resources)
    if short or _withheld(book, resources, (-kind.treatment.priority, job)):
        return unfit
    return unfit - {resources}


def _may_claim(place: Place, most: int) -> bool:
    """Whether the slot runs a job that nobody wants stopped, and holds at most so many claims."""
    jobs = place.jobs
    return (
        0 < len(jobs) <= most + 1
        and place.usable
        and jobs[0].stop is None
        and not any(active.recalling for active in jobs)
    )


def _claim_one(book: Book, queue: Queue, place: Place, unfit: set[Resources]) -> bool:
    """Claim the next job for this slot, if it is one that may take over what the running one holds."""
    leader = place.jobs[0].ran_as
    level = queue.levels.by_priority.get(leader.priority)
    if level is None or not level.size or _outranked(book, queue, place):
        return False
    choice = next_for(queue, level, place, unfit - {place.resources}, book.avoid)
    if choice is None or choice.group.shelf.resources != place.resources:
        return False
    if choice.group.session_key != place.session_key or book.avoid.get(choice.job) == place.name:
        return False
    if _withheld(book, place.resources, (-leader.priority, choice.job)):
        return False
    start(book, queue, choice.job, place)
    return True


def _outranked(book: Book, queue: Queue, place: Place) -> bool:
    """Whether something more urgent waits for this slot, be it for a resource besides."""
    priority = place.jobs[0].ran_as.priority
    for level in queue.levels.order:
        if level.priority <= priority:
            return False
        for line in level.lines.values() if level.size else ():
            for shelf in line.shelves.values():
                if (
                    shelf.oldest() is not None
                    and place.admits(shelf.requires)
                    and book.capacity.possible(shelf.resources)
                ):
                    return True
    return False


def recall(book: Book, queue: Queue) -> None:
    """Ask back the claims that stand in the way of something, and those that an idle slot could run at once."""
    for place in queue.places.values():
        if len(place.jobs) > 1:
            everything = book.draining or not queue.runnable or not place.usable or _outranked(book, queue, place)
            for active in place.jobs[1:]:
                if active.recallable and (everything or _unwanted(book, active)):
                    ask(book, active)
    if queue.idle and queue.runnable and not book.draining:
        _share(book, queue)


def _unwanted(book: Book, active: Active) -> bool:
    """Whether this claim alone must go back: it was edited, its slot too, or what it needs is kept for another."""
    place = active.place
    moved = active.kind.treatment is not active.ran_as and _where(active.kind.treatment) != _where(active.ran_as)
    return moved or not place.admits(active.ran_as.requires) or _withheld(book, place.resources, _rank(active))


def _where(asked: Treatment) -> tuple[object, ...]:
    """What decides in which group a job waits."""
    return asked.queue, asked.priority, asked.org_id, asked.session_key, asked.resources, asked.requires


def _rank(active: Active) -> Rank:
    return -active.ran_as.priority, active.job


def _withheld(book: Book, resources: Resources, rank: Rank) -> bool:
    """Whether something of it is kept for a job that waits and comes before this rank."""
    reserved = book.capacity.reserved
    return any(name in reserved and reserved[name] < rank and reserved[name][1] in book.queued for name, _ in resources)


def _share(book: Book, queue: Queue) -> None:
    """One claim for each slot that has nothing to do: the last of the slot that holds most."""
    wanted = len(queue.idle) - sum(active.recalling for active in queue.active())
    for place in queue.idle.values():
        if wanted <= 0:
            return
        found = [active for each in queue.places.values() if (active := _spare(book, each, place)) is not None]
        if found:
            ask(book, max(found, key=lambda active: (len(active.place.jobs), active.job)))
            wanted -= 1


def _spare(book: Book, holder: Place, place: Place) -> Active | None:
    """The last claim of one slot that another could take at once."""
    for active in reversed(holder.jobs[1:]):
        if active.recallable and place.admits(active.ran_as.requires) and book.capacity.fits(active.ran_as.resources):
            return active
    return None
