"""When a waiting job should start, from how long the jobs of its queue ran so far."""

from hpcq.core.book import Book
from hpcq.core.groups import Kind
from hpcq.core.job import Moment, State
from hpcq.core.queues import Queue


def estimated_start(book: Book, job: int, kind: Kind, now: Moment) -> float | None:
    """A wall time; None: nobody knows, because it waits for a person, another job, or a queue with no past."""
    queue = book.queue(kind.treatment.queue)
    if job in book.delayed:
        due = book.delays.get(job)
        return None if due is None else max(due, now.wall)
    slots = sum(place.usable and place.admits(kind.treatment.requires) for place in queue.places.values())
    if job not in book.queued or not slots or not queue.runnable or book.draining or queue.mean_run_s is None:
        return None
    ahead = _ahead(queue, job, kind) + queue.claims
    busy = [active for active in queue.active() if active.leads]
    left_s = sorted(_left_s(queue, active.state, active.started, now) for active in busy)
    wait_s = left_s[ahead % slots] if ahead % slots < len(left_s) and len(left_s) >= slots else 0.0
    return now.wall + wait_s + ahead // slots * queue.mean_run_s


def _left_s(queue: Queue, state: State, started: float | None, now: Moment) -> float:
    """What a running job has left, if it takes as long as they do on average; one that is overdue, some more."""
    mean_s = queue.mean_run_s or 0.0
    if state is State.STARTING or started is None:
        return mean_s
    return max(mean_s - (now.mono - started), mean_s / 10)


def _ahead(queue: Queue, job: int, kind: Kind) -> int:
    """Jobs that come before it, roughly: all that are more urgent, and of its own priority its share of the others."""
    priority = kind.treatment.priority
    more_urgent = sum(level.size for level in queue.levels.order if level.priority > priority)
    mine = kind.group.waiting()
    before = mine.index(job)
    others = queue.levels.by_priority[priority].size - len(mine)
    return more_urgent + before + others * (before + 1) // (len(mine) + 1)
