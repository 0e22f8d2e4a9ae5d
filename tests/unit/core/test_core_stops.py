"""Cancelling, and the other reasons for which a live attempt is stopped."""

from hpcq.core.events import Cancelled, Draining, Finished, Started, StopRequested
from hpcq.core.job import Dependency, ErrorType, RetryPolicy, StopReason
from tests.support.world import World


def running(world: World, **asked: object) -> int:
    job = world.submit(**asked)  # type: ignore[arg-type]
    world.round()
    world.started(job)
    return job


def request(world: World, job: int, reason: StopReason) -> None:
    world.send(StopRequested(job, world.attempt(job), reason))


def test_a_waiting_job_is_cancelled_at_once_in_every_waiting_state() -> None:
    world = World(slots=0)
    parent = world.submit()
    queued, delayed = world.submit(), world.submit(run_at=2000.0)
    blocked = world.submit(depends_on=(Dependency(parent),), run_at=2000.0, expires_at=3000.0)
    assert world.states([queued, delayed, blocked]) == ["queued", "delayed", "blocked"]
    for job in (queued, delayed, blocked):
        world.cancel(job)
        assert world.state(job) == "cancelled"
        assert world.events[job] == ["job.submitted", "job.cancelled"]
        assert world.attempt(job) == 0
    assert world.stops == []
    assert world.scheduler.wakes() == (None, None)


def test_a_live_job_is_cancelled_when_its_tree_is_dead() -> None:
    for begun in (False, True):
        world = World(slots=1)
        world.queue("q", 1, grace_s=7.0)
        job = world.submit()
        world.round()
        if begun:
            world.started(job)
        world.cancel(job)
        assert world.state(job) == "cancelling"
        (stop,) = world.stops
        assert (stop.job, stop.attempt, stop.slot, stop.reason, stop.grace_s) == (job, 1, "q-1", "cancel", 7.0)
        world.finish(job, ErrorType.SIGNAL)
        assert world.state(job) == "cancelled"
        assert world.events[job][-1] == "job.cancelled"
        assert world.saved[job].attempt_ended


def test_a_job_is_asked_to_stop_only_once_for_one_reason() -> None:
    world = World(slots=1)
    job = running(world)
    for _ in range(3):
        world.cancel(job)
        request(world, job, StopReason.OOM)
    assert [stop.reason for stop in world.stops] == ["cancel"]


def test_the_first_reason_stays_but_cancel_overrides() -> None:
    world = World(slots=1)
    job = running(world)
    request(world, job, StopReason.OOM)
    request(world, job, StopReason.DRAIN)
    assert world.saved[job].stop is StopReason.OOM
    world.cancel(job)
    world.cancel(job)
    assert [stop.reason for stop in world.stops] == ["oom", "cancel"]
    world.finish(job, ErrorType.OOM)
    assert world.state(job) == "cancelled"


def test_a_success_that_came_before_the_stop_counts() -> None:
    world = World(slots=1)
    job = running(world)
    world.finish(job)
    world.cancel(job)
    assert world.state(job) == "succeeded"
    assert world.stops == []


def test_a_success_that_came_after_the_stop_does_not_count() -> None:
    world = World(slots=1)
    job = running(world)
    world.cancel(job)
    world.finish(job)
    assert world.state(job) == "cancelled"


def test_a_stopped_job_whose_start_is_reported_late_stays_stopped() -> None:
    world = World(slots=1)
    job = world.submit()
    world.round()
    world.cancel(job)
    world.started(job)
    assert world.state(job) == "cancelling"
    assert world.scheduler.wakes() == (None, None)


def test_a_timeout_runs_from_the_start_and_fails_the_job() -> None:
    world = World(slots=1)
    job = world.submit(timeout_s=5.0)
    world.round()
    world.later(100)
    assert world.state(job) == "starting", "what the runner prepares is outside the timeout"
    world.started(job)
    assert world.scheduler.wakes()[1] == world.now.mono + 5
    world.later(4)
    assert world.state(job) == "running"
    world.later(1)
    assert (world.state(job), world.saved[job].stop) == ("cancelling", StopReason.TIMEOUT)
    world.finish(job)
    error = world.saved[job].error
    assert error is not None
    assert error.type is ErrorType.TIMEOUT


def test_a_job_over_its_memory_fails_and_may_be_tried_again() -> None:
    world = World(slots=1)
    job = running(world, retries=RetryPolicy(max=1, backoff_s=0))
    request(world, job, StopReason.OOM)
    world.finish(job, ErrorType.SIGNAL)
    assert world.state(job) == "queued"
    error = world.saved[job].error
    assert error is not None
    assert error.type is ErrorType.OOM


def test_a_drained_job_goes_back_uncharged_and_nothing_starts() -> None:
    world = World(slots=1)
    job = running(world)
    other = world.submit()
    world.send(Draining())
    request(world, job, StopReason.DRAIN)
    world.finish(job, ErrorType.SIGNAL)
    world.round()
    assert world.states([job, other]) == ["queued", "queued"]
    assert world.saved[job].history.retries_used == 0
    assert world.events[job][-1] == "job.queued"


def test_messages_of_old_attempts_or_unknown_jobs_change_nothing() -> None:
    world = World(slots=1)
    job = running(world, retries=RetryPolicy(max=1, backoff_s=0))
    world.finish(job, ErrorType.EXIT)
    world.round()
    assert world.attempt(job) == 2
    for event in (Started(job, 1), Finished(job, 1), StopRequested(job, 1, StopReason.OOM), Finished(99, 1)):
        assert world.send(event) == []
    assert world.send(Cancelled(99)) == []
    assert world.state(job) == "starting"
    world.started(job)
    assert world.send(Started(job, 2)) == []
    world.finish(job)
    assert world.send(Finished(job, 2)) == []
    assert world.send(Cancelled(job)) == []


def test_an_outcome_without_a_start_is_counted_as_both() -> None:
    world = World(slots=1)
    job = world.submit(timeout_s=5.0)
    world.round()
    world.finish(job)
    assert world.state(job) == "succeeded"
    assert world.events[job] == ["job.submitted", "job.started", "job.succeeded"]
    assert world.scheduler.wakes() == (None, None)


def test_a_failed_preparation_is_an_end_without_a_start() -> None:
    world = World(slots=1)
    job = world.submit()
    world.round()
    world.finish(job, ErrorType.REJECTED)
    assert world.events[job] == ["job.submitted", "job.failed"]
