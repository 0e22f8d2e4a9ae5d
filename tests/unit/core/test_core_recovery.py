"""After a restart: what was waiting, what was found again, and what was lost."""

from typing import Any

import pytest

from hpcq.core.effects import Save
from hpcq.core.events import Attached, Loaded, Orphaned, Recalled, Reopened, SlotsOffered, Submitted
from hpcq.core.job import (
    Dependency,
    ErrorType,
    History,
    NewJob,
    On,
    RetryPolicy,
    Slot,
    State,
    StopReason,
    Treatment,
)
from tests.support.world import World

Q = Treatment("q")


def load(world: World, **loaded: Any) -> list[Save]:
    """Load one waiting job, number 7; returns what is saved of it."""
    treatment = loaded.pop("treatment", Q)
    effects = world.send(Loaded((NewJob(7, treatment, **loaded),)))
    return [effect for effect in effects if isinstance(effect, Save)]


def test_nothing_is_saved_of_jobs_that_stand_as_they_stood() -> None:
    world = World(slots=1)
    dependency = (Dependency(6),)
    assert load(world, state=State.QUEUED) == []
    assert world.scheduler.state_of(7) is State.QUEUED
    delayed = NewJob(8, Q, History(1), run_at=1005.0, state=State.DELAYED)
    blocked = NewJob(9, Q, depends_on=dependency, state=State.BLOCKED)
    fresh = NewJob(10, Q)
    assert world.send(Loaded((delayed, blocked, fresh))) == []
    assert [world.scheduler.state_of(job) for job in (8, 9, 10)] == ["delayed", "blocked", "queued"]


def test_a_queued_job_is_past_its_dependencies_and_its_run_at() -> None:
    world = World(slots=1)
    assert load(world, state=State.QUEUED, run_at=5000.0, depends_on=(Dependency(6),)) == []
    assert world.scheduler.state_of(7) is State.QUEUED


def test_a_time_that_came_while_the_server_was_down_is_saved() -> None:
    world = World(slots=1)
    (save,) = load(world, state=State.DELAYED, run_at=999.0)
    assert (save.state, save.event) == (State.QUEUED, "job.queued")


def test_an_end_that_was_not_told_before_the_crash_is_told_at_loading() -> None:
    world = World(slots=1)
    (save,) = load(world, state=State.BLOCKED, depends_on=(Dependency(6, On.SUCCESS, State.SUCCEEDED),))
    assert (save.state, save.event) == (State.QUEUED, "job.queued")
    world = World(slots=1)
    saves = load(world, state=State.BLOCKED, depends_on=(Dependency(6, On.SUCCESS, State.FAILED),))
    assert [(save.state, save.event) for save in saves] == [(State.FAILED, "job.failed")]


def test_a_loaded_job_keeps_its_history_and_its_expiry() -> None:
    world = World(slots=1)
    load(world, state=State.QUEUED, history=History(3, 2, 1, 1, 1), expires_at=1.0)
    world.send(Loaded((NewJob(8, Q, expires_at=1005.0, state=State.QUEUED),)))
    assert world.scheduler.wakes() == (1005.0, None), "what was started does not expire"
    world.round()
    assert world.saved[7].history == History(4, 2, 1, 1, 1)


def test_a_blocked_job_keeps_its_history() -> None:
    world = World(slots=1)
    load(world, state=State.BLOCKED, history=History(reopened=2), depends_on=(Dependency(6),))
    world.cancel(7)
    assert world.saved[7].history == History(reopened=2)


def test_a_job_that_is_known_is_not_taken_twice() -> None:
    world = World(slots=2)
    job = world.submit()
    again = NewJob(job, Q)
    for event in (
        Submitted((again,)),
        Loaded((again,)),
        Reopened(again),
        Orphaned(again),
        Attached(again, "q-1", 1000.0),
    ):
        assert world.send(event) == []
    assert world.drain_queue() == [job]


def test_an_attempt_that_was_found_goes_on_with_a_full_lease_and_the_rest_of_its_timeout() -> None:
    world = World({"cpus": 2}, slots=2)
    treatment = Treatment("q", session_key="k", resources=(("cpus", 2.0),), timeout_s=100)
    world.send(Attached(NewJob(7, treatment, History(2)), "q-2", world.now.wall - 90))
    assert world.state(7) == "running"
    assert world.running() == {"q-2": [7]}
    assert world.scheduler.book.timeouts.next() == world.now.mono + 10
    assert world.scheduler.book.leases.next() == world.now.mono + 30
    waiting = world.submit(resources=(("cpus", 1.0),))
    world.round()
    assert world.state(waiting) == "queued"
    world.finish(7)
    world.round()
    assert world.states([7, waiting]) == ["succeeded", "starting"]


def test_a_pending_stop_of_an_attempt_that_was_found_is_asked_for_again() -> None:
    world = World(slots=1)
    world.send(Attached(NewJob(7, Q, History(1)), "q-1", 900.0, StopReason.CANCEL))
    assert [stop.reason for stop in world.stops] == ["cancel"]
    world.finish(7)
    assert world.state(7) == "cancelled"


def test_an_attempt_found_on_a_slot_that_is_gone_finishes_there() -> None:
    for offered_first in (True, False):
        world = World()
        if offered_first:
            world.queue("q", 1)
        world.send(Attached(NewJob(7, Q, History(1)), "old", 900.0))
        world.queue("q", 1)
        other = world.submit()
        world.round()
        assert world.running() == {"old": [7], "q-1": [other]}
        world.finish(7)
        last = world.submit()
        world.round()
        assert (world.running(), world.state(last)) == ({"q-1": [other]}, "queued")


def test_an_attempt_found_before_the_slots_are_known_stays_on_its_slot() -> None:
    world = World()
    world.send(Attached(NewJob(7, Q, History(1)), "q-1", 900.0))
    world.send(SlotsOffered("q", (Slot("q-1"),)))
    world.finish(7)
    job = world.submit()
    world.round()
    assert world.running() == {"q-1": [job]}


def attach_three(world: World, running: int) -> None:
    """Jobs 7, 8 and 9 are found on one slot, of which one had begun."""
    treatment = Treatment("q", resources=(("cpus", 1.0),))
    for job in (7, 8, 9):
        world.saved[job] = Save(job, State.STARTING, History(1))
        started_at = 999.0 if job == running else None
        world.send(Attached(NewJob(job, treatment, History(1)), "q-1", started_at))


def test_claims_of_a_slot_are_found_again_in_whatever_order() -> None:
    for running, order in ((7, [7, 8, 9]), (9, [9, 7, 8])):
        world = World({"cpus": 1}, slots=1)
        attach_three(world, running)
        assert world.running() == {"q-1": order}
        assert world.states(order) == ["running", "starting", "starting"]
        world.finish(order[0])
        world.started(order[2])
        assert world.running() == {"q-1": [order[2], order[1]]}, "the one that begins has the slot"
        world.finish(order[2])
        world.run(order[1])
        assert world.running() == {}


def test_a_claim_that_came_back_before_the_restart_was_known_is_believed() -> None:
    world = World({"cpus": 1}, slots=1)
    attach_three(world, 7)
    world.send(Recalled(9, 1))
    assert world.states([8, 9]) == ["starting", "queued"]
    world.round()
    assert world.recalls == []


def test_a_claim_that_was_to_be_stopped_is_found_so() -> None:
    world = World(slots=1)
    world.send(Attached(NewJob(7, Q, History(1)), "q-1", None, StopReason.CANCEL))
    assert world.state(7) == "cancelling"
    assert world.scheduler.wakes() == (None, None)
    world.finish(7)
    assert world.state(7) == "cancelled"


def test_an_attempt_of_which_the_store_had_not_heard_begins_when_it_is_heard_of() -> None:
    world = World(slots=1)
    world.saved[7] = Save(7, State.STARTING, History(1))
    world.send(Attached(NewJob(7, Q, History(1), state=State.STARTING), "q-1", world.now.wall - 5))
    assert world.state(7) == "starting"
    world.started(7)
    assert (world.state(7), world.events[7]) == ("running", ["job.started"])


def test_a_claim_that_was_found_and_comes_back_may_still_expire() -> None:
    world = World(slots=1)
    for job, expires_at in ((7, None), (8, world.now.wall + 5)):
        new = NewJob(job, Q, History(1), expires_at=expires_at, state=State.STARTING)
        world.saved[job] = Save(job, State.STARTING, History(1))
        world.send(Attached(new, "q-1", None))
    world.send(Recalled(8, 1))
    assert world.state(8) == "queued"
    world.later(6)
    assert world.state(8) == "failed"


def test_an_attempt_that_was_found_holds_what_it_was_given_and_not_what_it_was_edited_to() -> None:
    world = World({"cpus": 2, "gpu": 2}, {"gpu": ("0", "1")}, slots=2)
    was = Treatment("q", resources=(("cpus", 2.0), ("gpu", 1.0)))
    items = (("gpu", ("1",)),)
    world.send(Attached(NewJob(7, Q, History(1)), "q-1", 900.0, items=items, ran_as=was))
    waits, fits = world.submit(resources=(("cpus", 1.0),)), world.submit(resources=(("gpu", 1.0),))
    world.round()
    assert world.states([waits, fits]) == ["queued", "starting"]
    assert [start.items for start in world.starts] == [(("gpu", ("0",)),)]
    world.finish(7)
    world.round()
    assert world.state(waits) == "starting"


def test_an_attempt_that_was_lost_goes_back_uncharged() -> None:
    world = World(slots=1)
    world.send(Orphaned(NewJob(7, Q, History(1))))
    save = world.saved[7]
    assert (save.state, save.event, save.attempt_ended, save.history) == (
        State.QUEUED,
        "job.retrying",
        True,
        History(1),
    )
    world.round()
    assert world.attempt(7) == 2


@pytest.mark.parametrize(
    ("stop", "state", "error"),
    [
        (StopReason.CANCEL, State.CANCELLED, None),
        (StopReason.TIMEOUT, State.FAILED, ErrorType.TIMEOUT),
        (StopReason.OOM, State.FAILED, ErrorType.OOM),
        (StopReason.LEASE, State.QUEUED, ErrorType.LOST),
        (StopReason.DRAIN, State.QUEUED, None),
    ],
)
def test_a_saved_stop_decides_over_a_lost_attempt(stop: StopReason, state: State, error: ErrorType | None) -> None:
    world = World(slots=1)
    world.send(Orphaned(NewJob(7, Q, History(1)), stop, crashed=True))
    save = world.saved[7]
    assert (save.state, save.error.type if save.error else None) == (state, error)


def test_a_saved_timeout_of_a_lost_attempt_may_be_tried_again() -> None:
    world = World(slots=1)
    treatment = Treatment("q", retries=RetryPolicy(max=1, backoff_s=10, jitter=False))
    world.send(Orphaned(NewJob(7, treatment, History(1)), StopReason.TIMEOUT))
    assert (world.state(7), world.saved[7].due) == ("delayed", 1010.0)


def test_a_job_under_which_the_server_died_three_times_is_given_up() -> None:
    history = History(1)
    for n in (1, 2):
        world = World(slots=1)
        world.send(Orphaned(NewJob(7, Q, history), crashed=True))
        assert (world.state(7), world.saved[7].history.crashes) == ("queued", n)
        history = world.saved[7].history
    world = World(slots=1)
    world.send(Orphaned(NewJob(7, Q, history), crashed=True))
    assert world.state(7) == "failed"
    error = world.saved[7].error
    assert error is not None
    assert error.type is ErrorType.LOST
    assert "the server" in error.message


def test_a_clean_stop_never_counts_as_a_crash() -> None:
    world = World(slots=1)
    world.send(Orphaned(NewJob(7, Q, History(5, crashes=2))))
    assert (world.state(7), world.saved[7].history.crashes) == ("queued", 2)


def test_a_reopened_job_runs_again_with_fresh_retries_and_the_next_attempt_number() -> None:
    world = World(slots=1)
    job = world.submit(retries=RetryPolicy(max=1, backoff_s=0))
    world.round()
    world.run(job, ErrorType.EXIT)
    world.run(job, ErrorType.EXIT)
    assert world.state(job) == "failed"
    treatment = Treatment("q", retries=RetryPolicy(max=1, backoff_s=0))
    world.send(Reopened(NewJob(job, treatment, History(2, retries_used=1, infra_used=3, crashes=2, reopened=1))))
    assert (world.state(job), world.saved[job].history) == ("queued", History(2, reopened=1))
    assert world.events[job][-1] == "job.reopened"
    world.round()
    assert world.attempt(job) == 3
    world.run(job, ErrorType.EXIT)
    assert world.state(job) == "starting"


def test_a_job_cancelled_and_reopened_over_and_over_waits_once_in_its_place() -> None:
    world = World(slots=1)
    first, job, last = world.many(3)
    for n in range(200):
        world.cancel(job)
        world.send(Reopened(NewJob(job, Q, History(reopened=n + 1))))
    assert world.drain_queue() == [first, job, last]
