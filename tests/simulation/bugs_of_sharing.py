"""More bugs to plant: in claims, resources, dependencies and restarts."""

from dataclasses import replace
from typing import Any

import pytest

from hpcq.core import claims, dependencies
from hpcq.core import events as e
from hpcq.core.book import Book
from hpcq.core.capacity import Capacity
from hpcq.core.dependencies import Dependencies
from hpcq.core.job import FRESH, On, State
from hpcq.core.queues import Queue
from tests.simulation.bugs import Patch, bug, handler

# Claims and resources.


@bug
def a_claim_of_lower_priority_is_left_in_place(patch: Patch) -> None:
    right = claims.recall

    def wrong(book: Book, queue: Queue) -> None:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(claims, "_outranked", lambda *_: False)
            right(book, queue)

    patch.setattr(claims, "recall", wrong)


@bug
def long_work_is_claimed_ahead(patch: Patch) -> None:
    patch.setattr(claims, "SHORT_S", 1000.0)


@bug
def resources_are_not_given_back(patch: Patch) -> None:
    patch.setattr(Capacity, "give_back", lambda capacity, resources, items: None)


@bug
def an_item_is_given_to_two_jobs(patch: Patch) -> None:
    right = Capacity.take

    def wrong(capacity: Capacity, resources: Any, held: Any = ()) -> Any:
        before = {name: list(items) for name, items in capacity.free_items.items()}
        taken = right(capacity, resources, held)
        capacity.free_items = before
        return taken

    patch.setattr(Capacity, "take", wrong)


@bug
def nothing_is_kept_for_a_job_that_does_not_fit(patch: Patch) -> None:
    patch.setattr(Capacity, "reserve", lambda capacity, names, rank: None)


# Dependencies.


@bug
def any_end_releases_a_dependent(patch: Patch) -> None:
    patch.setitem(dependencies.WANTED, On.SUCCESS, dependencies.WANTED[On.ANY])


@bug
def a_cancelled_parent_is_no_failure(patch: Patch) -> None:
    patch.setitem(dependencies.WANTED, On.FAILURE, frozenset({State.FAILED}))


@bug
def a_large_fan_out_loses_its_end(patch: Patch) -> None:
    right = Dependencies.settle

    def wrong(deps: Dependencies, most: int) -> Any:
        found = list(right(deps, most))
        deps.worklist.clear()
        return found

    patch.setattr(Dependencies, "settle", wrong)


@bug
def the_first_parent_releases_its_dependents(patch: Patch) -> None:
    right = Dependencies._tell

    def wrong(deps: Dependencies, job: int, parent: int, state: State) -> Any:
        for other in [each for each in deps.undecided.get(job, ()) if each != parent]:
            del deps.undecided[job][other]
        return right(deps, job, parent, state)

    patch.setattr(Dependencies, "_tell", wrong)


# Restarts.


@bug
def a_blocked_job_is_forgotten_by_a_crash(patch: Patch) -> None:
    def wrong(right: Any, book: Book, event: e.Loaded) -> None:
        right(book, e.Loaded(tuple(new for new in event.jobs if new.state is not State.BLOCKED)))

    handler(patch, e.Loaded, wrong)


@bug
def a_loaded_job_has_no_history(patch: Patch) -> None:
    def wrong(right: Any, book: Book, event: e.Loaded) -> None:
        right(book, e.Loaded(tuple(replace(new, history=FRESH) for new in event.jobs)))

    handler(patch, e.Loaded, wrong)


@bug
def a_saved_stop_is_forgotten_by_a_crash(patch: Patch) -> None:
    handler(patch, e.Orphaned, lambda right, book, event: right(book, replace(event, stop=None)))


@bug
def a_clean_restart_counts_as_a_crash(patch: Patch) -> None:
    handler(patch, e.Orphaned, lambda right, book, event: right(book, replace(event, crashed=True)))


@bug
def what_an_attached_job_holds_is_taken_from_its_edit(patch: Patch) -> None:
    handler(patch, e.Attached, lambda right, book, event: right(book, replace(event, ran_as=None)))


@bug
def an_attached_job_gets_other_items(patch: Patch) -> None:
    handler(patch, e.Attached, lambda right, book, event: right(book, replace(event, items=())))
