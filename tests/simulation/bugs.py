"""Bugs to plant in the core, each a slip that somebody could make. The simulation must find every one."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from hpcq.core import arrivals, assignment, attempts, policy, retry, stops
from hpcq.core import events as e
from hpcq.core.book import Book
from hpcq.core.effects import Save
from hpcq.core.groups import Group
from hpcq.core.job import ErrorType, History, State, StopReason
from hpcq.core.queues import Active, Place, Queue
from hpcq.core.retry import Attempt, Verdict
from hpcq.core.scheduler import HANDLERS, Scheduler

Patch = pytest.MonkeyPatch
Bug = Callable[[Patch], None]
BUGS: dict[str, Bug] = {}


def bug(plant: Bug) -> Bug:
    """Its name says what is wrong."""
    BUGS[plant.__name__] = plant
    return plant


def handler(patch: Patch, event: type, wrong: Callable[[Callable[[Book, Any], None], Book, Any], None]) -> None:
    """Put `wrong(right, book, event)` in the place of what handles such an event."""
    right = HANDLERS[event]
    patch.setitem(HANDLERS, event, lambda book, each: wrong(right, book, each))


# Fences and ends.


@bug
def messages_of_old_attempts_count(patch: Patch) -> None:
    patch.setattr(Book, "live", lambda book, job, attempt: book.active.get(job))


@bug
def an_outcome_after_the_end_counts(patch: Patch) -> None:
    def wrong(right: Any, book: Book, event: e.Finished) -> None:
        known = book.knows(event.job)
        right(book, event)
        if not known and event.failure is None:
            history = History(event.attempt)
            book.out.append(Save(event.job, State.SUCCEEDED, history, "job.succeeded", attempt_ended=True))

    handler(patch, e.Finished, wrong)


@bug
def a_started_attempt_still_expires(patch: Patch) -> None:
    right = attempts.start

    def wrong(book: Book, queue: Queue, job: int, place: Place) -> None:
        when = book.expiries.get(job)
        right(book, queue, job, place)
        if when is not None:
            book.expiries.set(job, when)

    patch.setattr(assignment, "start", wrong)


@bug
def a_recalled_claim_keeps_its_attempt(patch: Patch) -> None:
    def wrong(right: Any, book: Book, event: e.Recalled) -> None:
        active = book.live(event.job, event.attempt)
        if active is not None and active.recalling and active.stop is None:
            active.history = replace(active.history, attempt=event.attempt + 1)
            event = e.Recalled(event.job, event.attempt + 1)
        right(book, event)

    handler(patch, e.Recalled, wrong)


@bug
def a_claim_that_was_not_asked_back_comes_back(patch: Patch) -> None:
    def wrong(right: Any, book: Book, event: e.Recalled) -> None:
        active = book.live(event.job, event.attempt)
        if active is not None and active.state is State.STARTING:
            active.recalling = True
        right(book, event)

    handler(patch, e.Recalled, wrong)


@bug
def the_next_claim_is_not_begun(patch: Patch) -> None:
    right = Queue.leave

    def wrong(queue: Queue, active: Active) -> Active | None:
        right(queue, active)
        return None

    patch.setattr(Queue, "leave", wrong)


# Stops and clocks.


@bug
def a_later_stop_reason_overwrites_the_first(patch: Patch) -> None:
    right = stops.stop

    def wrong(book: Book, active: Active, reason: StopReason) -> None:
        if active.stop is not reason:
            active.stop = None
        right(book, active, reason)

    patch.setattr(stops, "stop", wrong)


@bug
def a_cancel_does_not_override_another_stop(patch: Patch) -> None:
    right = stops.stop

    def wrong(book: Book, active: Active, reason: StopReason) -> None:
        if active.stop is None:
            right(book, active, reason)

    patch.setattr(stops, "stop", wrong)


@bug
def a_success_counts_for_more_than_a_stop(patch: Patch) -> None:
    def wrong(right: Any, book: Book, event: e.Finished) -> None:
        active = book.live(event.job, event.attempt)
        if active is not None and event.failure is None and active.stop is not StopReason.CANCEL:
            active.stop = None
        right(book, event)

    handler(patch, e.Finished, wrong)


@bug
def leases_are_not_extended_after_a_late_tick(patch: Patch) -> None:
    def wrong(book: Book) -> None:
        book.ticked = book.now.mono

    patch.setattr(stops, "_extend", wrong)


@bug
def a_renewal_does_not_extend_the_lease(patch: Patch) -> None:
    handler(patch, e.Renewed, lambda right, book, event: None)


@bug
def timeouts_are_on_the_wall_clock(patch: Patch) -> None:
    def wrong(book: Book) -> None:
        stops._extend(book)
        for job in book.timeouts.due(book.now.wall - 999_500.0):  # as far apart as the clocks are at first
            stops.stop(book, book.active[job], StopReason.TIMEOUT)
        for job in book.leases.due(book.now.mono):
            stops.stop(book, book.active[job], StopReason.LEASE)

    patch.setattr(stops, "overdue", wrong)


@bug
def a_timeout_counts_from_the_start_rather_than_the_beginning(patch: Patch) -> None:
    right, watch, starts = attempts.start, stops.watch, dict[int, float]()

    def start(book: Book, queue: Queue, job: int, place: Place) -> None:
        starts[job] = book.now.mono
        right(book, queue, job, place)

    patch.setattr(assignment, "start", start)

    def late(book: Book, active: Active, at: float) -> None:
        watch(book, active, starts.get(active.job, at))

    patch.setattr(attempts, "watch", late)


@bug
def nobody_wakes_for_the_end_of_a_delay(patch: Patch) -> None:
    right = Scheduler.wakes

    def wrong(scheduler: Scheduler) -> tuple[float | None, float | None]:
        wall, mono = right(scheduler)
        return wall if wall == 0.0 else None, mono

    patch.setattr(Scheduler, "wakes", wrong)


# Retries.


@bug
def infra_is_charged_to_the_retries(patch: Patch) -> None:
    right = retry._infra

    def wrong(attempt: Attempt, history: History, error: Any) -> Verdict:
        outcome = right(attempt, history, error)
        return replace(outcome, history=replace(outcome.history, retries_used=outcome.history.retries_used + 1))

    patch.setattr(retry, "_infra", wrong)


@bug
def infra_has_no_cap(patch: Patch) -> None:
    patch.setattr(retry, "INFRA_MAX", 1000)


@bug
def a_lost_attempt_is_charged(patch: Patch) -> None:
    right = retry._failed

    def wrong(attempt: Attempt, history: History, failure: ErrorType, error: Any) -> Verdict:
        if failure is ErrorType.LOST:
            failure = ErrorType.EXIT
        return right(attempt, history, failure, error)

    patch.setattr(retry, "_failed", wrong)


@bug
def a_rejected_job_is_tried_again(patch: Patch) -> None:
    right = retry._failed

    def wrong(attempt: Attempt, history: History, failure: ErrorType, error: Any) -> Verdict:
        if failure is ErrorType.REJECTED:
            failure = ErrorType.EXCEPTION
        return right(attempt, history, failure, error)

    patch.setattr(retry, "_failed", wrong)


@bug
def a_completed_attempt_does_not_reset_the_crashes(patch: Patch) -> None:
    right = retry._ended

    def wrong(attempt: Attempt, failure: ErrorType | None, error: Any) -> Verdict:
        outcome = right(attempt, failure, error)
        return replace(outcome, history=replace(outcome.history, crashes=attempt.history.crashes))

    patch.setattr(retry, "_ended", wrong)


@bug
def a_job_that_kills_its_workers_is_never_given_up(patch: Patch) -> None:
    patch.setattr(retry, "CRASHES_MAX", 1000)


@bug
def a_reopened_job_has_its_old_retries(patch: Patch) -> None:
    def wrong(_: Any, book: Book, event: e.Reopened) -> None:
        if not book.knows(event.job.job):
            history = replace(event.job.history, retries_used=1)
            arrivals._admit(book, event.job, book.kind(event.job.treatment), history, "job.reopened")

    handler(patch, e.Reopened, wrong)


# Order.


@bug
def priority_gives_way_to_the_turn_of_orgs(patch: Patch) -> None:
    def wrong(queue: Queue, unfit: Any, avoid: Any) -> Any:
        lines = [line for level in queue.levels.order for line in level.lines.values() if line.size]
        lines.sort(key=lambda line: queue.running.get(line.org_id, 0))
        offers = (policy._choose(line, queue.idle.values(), unfit, avoid) for line in lines)
        return next((choice for choice in offers if choice is not None), None)

    patch.setattr(assignment, "next_job", wrong)


@bug
def orgs_have_no_turns(patch: Patch) -> None:
    def wrong(queue: Queue, level: Any) -> Iterable[Any]:
        return [line for line in level.lines.values() if line.size]

    patch.setattr(policy, "in_turn", wrong)


@bug
def a_batch_never_ends(patch: Patch) -> None:
    patch.setattr(Place, "spent", None)


@bug
def a_slot_forgets_its_session(patch: Patch) -> None:
    right = policy._choose

    def wrong(line: Any, places: Any, unfit: Any, avoid: Any) -> Any:
        choice = right(line, places, unfit, avoid)
        heads: Any = [shelf.oldest() for shelf in line.shelves.values() if shelf.oldest()]
        oldest: Any = min(heads, key=lambda group: group.head(), default=None)
        if choice is None or oldest is None or oldest.shelf is not choice.group.shelf:
            return choice
        return policy.Choice(oldest.head(), oldest, choice.place)

    patch.setattr(policy, "_choose", wrong)


@bug
def a_job_that_comes_back_goes_to_the_end(patch: Patch) -> None:
    right = Group.head

    def wrong(group: Group) -> int | None:
        return next((job for job in group.jobs if group.has(job)), None) or right(group)

    patch.setattr(Group, "head", wrong)


@bug
def labels_are_not_looked_at(patch: Patch) -> None:
    patch.setattr(Place, "admits", lambda place, requires: True)


@bug
def a_paused_queue_goes_on(patch: Patch) -> None:
    patch.setattr(Queue, "runnable", property(lambda queue: queue.available))


@bug
def a_drain_does_not_hold_anything_up(patch: Patch) -> None:
    handler(patch, e.Draining, lambda right, book, event: None)
