"""Leases: an attempt that goes silent is stopped, unless we were the silent ones."""

from hpcq.core.events import Renewed
from hpcq.core.job import ErrorType, Moment, StopReason
from hpcq.core.timers import Timers
from tests.support.world import World


def leased(lease_s: float = 30.0, jobs: int = 1) -> tuple[World, list[int]]:
    world = World()
    world.queue("q", jobs, lease_s=lease_s)
    running = world.many(jobs)
    world.round()
    for job in running:
        world.started(job)
    return world, running


def pass_time(world: World, seconds: float, step: float = 5.0) -> None:
    """Time passes in ticks that are never late."""
    for _ in range(int(seconds / step)):
        world.later(step)


def test_a_silent_attempt_is_stopped_and_goes_back_uncharged() -> None:
    world, (job,) = leased()
    pass_time(world, 25)
    assert world.state(job) == "running"
    pass_time(world, 5)
    assert (world.state(job), world.saved[job].stop) == ("cancelling", StopReason.LEASE)
    world.finish(job)
    assert world.state(job) == "queued"
    error = world.saved[job].error
    assert error is not None
    assert error.type is ErrorType.LOST
    assert world.saved[job].history.retries_used == 0


def test_a_renewed_lease_begins_anew() -> None:
    world, (job,) = leased()
    for _ in range(5):
        pass_time(world, 25)
        world.send(Renewed(job, 1))
    assert world.state(job) == "running"
    world.send(Renewed(job, 7))
    world.send(Renewed(99, 1))
    pass_time(world, 30)
    assert world.state(job) == "cancelling"


def test_a_lease_is_not_renewed_once_it_is_over() -> None:
    world, (job,) = leased()
    pass_time(world, 30)
    world.send(Renewed(job, 1))
    pass_time(world, 60)
    assert len(world.stops) == 1


def test_a_late_tick_extends_every_lease_by_the_gap() -> None:
    world, jobs = leased(jobs=2)
    pass_time(world, 5)
    world.later(600)
    assert world.states(jobs) == ["running", "running"]
    pass_time(world, 20)
    assert world.states(jobs) == ["running", "running"]
    pass_time(world, 5)
    assert world.states(jobs) == ["cancelling", "cancelling"]


def test_a_tick_within_half_a_lease_extends_nothing() -> None:
    world, (job,) = leased()
    world.later(15)
    world.later(15)
    assert world.state(job) == "cancelling"


def test_idle_time_before_the_first_lease_is_no_lateness() -> None:
    world, (job,) = leased()
    world.finish(job)
    world.later(3600)
    (again,) = world.many(1)
    world.round()
    world.now = Moment(world.now.wall + 3600, world.now.mono + 3600)
    world.started(again)
    pass_time(world, 30)
    assert world.state(again) == "cancelling"


def test_a_look_is_due_often_enough_to_tell_a_late_one() -> None:
    world, _ = leased(lease_s=8.0)
    assert world.scheduler.wakes() == (None, world.now.mono + 2.0)
    world.later(1)
    assert world.scheduler.wakes() == (None, world.now.mono + 2.0)


def test_a_stopped_attempt_keeps_its_first_reason_when_its_lease_ends() -> None:
    world, (job,) = leased()
    world.cancel(job)
    pass_time(world, 60)
    assert [stop.reason for stop in world.stops] == ["cancel"]


def test_a_step_of_the_wall_clock_touches_no_lease() -> None:
    world, (job,) = leased()
    world.now = Moment(world.now.wall + 1e6, world.now.mono)
    world.later(1)
    assert world.state(job) == "running"


def test_timers_skip_what_was_moved_or_dropped() -> None:
    timers = Timers()
    for job in range(10):
        timers.set(job, 10.0 + job)
    timers.drop(0)
    timers.set(1, 30.0)
    timers.set(9, 5.0)
    assert timers.next() == 5.0
    assert timers.due(12.5) == [9, 2]
    assert timers.next() == 13.0
    assert timers.due(29.0) == [3, 4, 5, 6, 7, 8]
    assert timers.due(30.0) == [1]
    assert timers.next() is None


def test_timers_do_not_grow_with_what_was_dropped() -> None:
    timers = Timers()
    for job in range(100_000):
        timers.set(job, float(job))
        timers.drop(job)
    assert len(timers._heap) < 100
    assert timers.next() is None


def test_a_timer_that_is_renewed_for_ever_costs_one_entry() -> None:
    timers = Timers()
    for now in range(10_000):
        timers.set(1, now + 30.0)
        assert timers.due(float(now)) == []
    assert len(timers._heap) == 1
