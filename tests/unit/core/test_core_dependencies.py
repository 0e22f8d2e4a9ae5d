"""Jobs that wait for the end of others."""

import pytest

from hpcq.core.events import Reopened, Submitted
from hpcq.core.job import Dependency, ErrorType, History, NewJob, On, State, Treatment
from hpcq.core.scheduler import FAN_OUT
from tests.support.world import World


def on(job: int, which: On = On.SUCCESS, ended: State | None = None) -> tuple[Dependency, ...]:
    return (Dependency(job, which, ended),)


def ended_as(world: World, job: int, state: State) -> None:
    """Let a job that has a slot, or waits for one, end in that state."""
    if state is State.CANCELLED:
        world.cancel(job)
        world.round()
    else:
        world.round()
        world.run(job, None if state is State.SUCCEEDED else ErrorType.EXIT)
    assert world.state(job) is state


@pytest.mark.parametrize(
    ("which", "state", "runs"),
    [
        (On.SUCCESS, State.SUCCEEDED, True),
        (On.SUCCESS, State.FAILED, False),
        (On.SUCCESS, State.CANCELLED, False),
        (On.FAILURE, State.SUCCEEDED, False),
        (On.FAILURE, State.FAILED, True),
        (On.FAILURE, State.CANCELLED, True),
        (On.ANY, State.SUCCEEDED, True),
        (On.ANY, State.FAILED, True),
        (On.ANY, State.CANCELLED, True),
    ],
)
def test_the_end_of_a_job_decides_its_dependents(which: On, state: State, runs: bool) -> None:
    world = World(slots=1)
    parent = world.submit()
    child = world.submit(depends_on=on(parent, which))
    assert world.state(child) == "blocked"
    ended_as(world, parent, state)
    assert world.state(child) == ("starting" if runs else "failed")
    late = world.submit(depends_on=on(parent, which, state))
    assert world.state(late) == ("queued" if runs else "failed")
    if not runs:
        for job in (child, late):
            error = world.saved[job].error
            assert error is not None
            assert error.type is ErrorType.DEPENDENCY
            assert (error.about, "{job}" in error.message) == (parent, True)
            assert world.events[job] == ["job.submitted", "job.failed"]
            assert world.attempt(job) == 0
    else:
        assert world.events[child] == ["job.submitted", "job.queued"]


def test_a_job_waits_for_all_its_dependencies() -> None:
    world = World(slots=1)
    world.queue("other", 1)
    first, second = world.submit(), world.submit("other")
    child = world.submit(depends_on=on(first) + on(second))
    world.round()
    world.run(second)
    assert world.state(child) == "blocked"
    world.run(first)
    assert world.state(child) == "starting"


def test_the_first_broken_dependency_is_enough() -> None:
    world = World(slots=2)
    first, second = world.submit(), world.submit()
    child = world.submit(depends_on=on(first) + on(second))
    world.round()
    world.run(second, ErrorType.EXIT)
    assert world.state(child) == "failed"
    world.run(first)
    assert world.state(child) == "failed"


def test_a_broken_dependency_breaks_the_whole_chain() -> None:
    world = World(slots=1)
    chain = [world.submit()]
    for _ in range(50):
        chain.append(world.submit(depends_on=on(chain[-1])))
    always = world.submit(depends_on=on(chain[-1], On.ANY))
    world.cancel(chain[0])
    world.round()
    assert world.states(chain[1:]) == ["failed"] * 50
    assert world.state(always) == "starting"


def test_an_array_may_depend_on_its_earlier_jobs_and_on_what_ends_in_the_same_round() -> None:
    world = World(slots=1)
    parent = world.submit()
    world.round()
    world.started(parent)
    world.finish(parent)
    first = world.job(depends_on=on(parent))
    second = world.job(depends_on=on(first.job))
    world.send(Submitted((first, second)))
    assert world.states([first.job, second.job]) == ["queued", "blocked"]
    assert world.drain_queue() == [first.job, second.job]


def test_both_wishes_for_one_job_must_come_true() -> None:
    world = World(slots=1)
    parent = world.submit()
    impossible = world.submit(depends_on=on(parent, On.SUCCESS) + on(parent, On.FAILURE))
    fine = world.submit(depends_on=on(parent, On.ANY) + on(parent, On.SUCCESS))
    assert world.drain_queue() == [parent, fine]
    assert world.state(impossible) == "failed"


def test_a_released_job_still_waits_for_its_run_at() -> None:
    world = World(slots=1)
    parent = world.submit()
    late = world.submit(depends_on=on(parent), run_at=world.now.wall + 60)
    soon = world.submit(depends_on=on(parent), run_at=world.now.wall - 60)
    assert world.drain_queue() == [parent, soon]
    assert (world.state(late), world.saved[late].due) == ("delayed", 1060.0)
    world.later(60)
    assert world.state(late) == "starting"


def test_a_cancelled_dependent_is_never_released() -> None:
    world = World(slots=2)
    parent = world.submit()
    child = world.submit(depends_on=on(parent))
    world.cancel(child)
    assert world.drain_queue() == [parent]
    assert world.state(child) == "cancelled"


def test_a_large_fan_out_is_released_a_slice_a_round() -> None:
    world = World(slots=1)
    parent = world.submit()
    children = world.many(FAN_OUT * 2 + 5, depends_on=on(parent))
    world.round()
    world.started(parent)
    world.finish(parent)
    for released in (FAN_OUT, 2 * FAN_OUT, len(children)):
        world.round()
        assert sum(world.scheduler.state_of(job) is not State.BLOCKED for job in children) == released
        assert world.scheduler.wakes()[0] == (None if released == len(children) else 0.0)


def test_the_slices_of_a_fan_out_keep_order_and_count_those_that_left() -> None:
    world = World(slots=1)
    parent = world.submit()
    children = world.many(FAN_OUT + 1, depends_on=on(parent))
    world.round()
    world.run(parent)
    assert world.state(children[-1]) == "blocked"
    world.cancel(children[-1])
    world.round()
    assert world.state(children[-1]) == "cancelled"
    assert world.state(children[0]) == "starting"


def test_a_reopened_job_does_not_decide_again_who_was_decided() -> None:
    world = World(slots=1)
    parent = world.submit()
    dead = world.submit(depends_on=on(parent))
    world.round()
    world.run(parent, ErrorType.EXIT)
    assert world.state(dead) == "failed"
    world.send(Reopened(NewJob(parent, Treatment("q"), History(1, reopened=1))))
    late = world.submit(depends_on=on(parent))
    world.round()
    world.run(parent)
    assert world.states([parent, dead, late]) == ["succeeded", "failed", "starting"]


def test_a_dependent_reopened_while_its_parent_is_open_waits_for_it() -> None:
    world = World(slots=1)
    parent = world.submit()
    child = world.submit(depends_on=on(parent))
    world.round()
    world.run(parent, ErrorType.EXIT)
    world.send(Reopened(NewJob(parent, Treatment("q"), History(1, reopened=1))))
    world.send(Reopened(NewJob(child, Treatment("q"), History(0, reopened=1), depends_on=on(parent))))
    assert world.state(child) == "blocked"
    assert world.drain_queue() == [parent, child]


def test_a_dependent_that_left_the_worklist_and_came_back_is_not_released_by_the_old_end() -> None:
    world = World(slots=1)
    parent, other = world.submit(), world.submit("q", priority=-1)
    world.many(FAN_OUT, depends_on=on(parent))
    child = world.submit(depends_on=on(parent) + on(other))
    world.round()
    world.run(parent)
    assert world.scheduler.wakes()[0] == 0.0
    world.cancel(child)
    again = on(parent, On.SUCCESS, State.SUCCEEDED) + on(other)
    world.send(Reopened(NewJob(child, Treatment("q"), History(reopened=1), depends_on=again)))
    world.round()
    assert world.state(child) == "blocked"
