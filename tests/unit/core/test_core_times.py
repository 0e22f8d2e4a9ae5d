"""`run_at`, back-off and expiry: wall time."""

from hpcq.core.events import Recalled
from hpcq.core.job import Dependency, ErrorType, RetryPolicy
from tests.support.world import World


def test_a_job_waits_for_its_run_at() -> None:
    world = World(slots=1)
    job = world.submit(run_at=1010.0)
    assert (world.state(job), world.saved[job].due) == ("delayed", 1010.0)
    assert world.scheduler.wakes() == (1010.0, None)
    world.later(9)
    assert world.state(job) == "delayed"
    world.later(1)
    assert world.state(job) == "starting"
    assert world.events[job] == ["job.submitted", "job.queued"]


def test_a_run_at_in_the_past_is_now() -> None:
    world = World(slots=1)
    assert world.state(world.submit(run_at=999.0)) == "queued"


def test_a_job_that_waited_too_long_expires_in_every_waiting_state() -> None:
    world = World(slots=0)
    queued = world.submit(expires_at=1005.0)
    delayed = world.submit(expires_at=1005.0, run_at=2000.0)
    blocked = world.submit(expires_at=1005.0, depends_on=(Dependency(queued),))
    assert world.scheduler.wakes() == (1005.0, None)
    world.later(5)
    assert world.states([queued, delayed, blocked]) == ["failed"] * 3
    errors = [world.saved[job].error for job in (queued, delayed, blocked)]
    assert [error.type for error in errors if error] == [ErrorType.EXPIRED] * 3
    assert world.attempt(queued) == 0


def test_a_job_that_was_started_never_expires() -> None:
    world = World(slots=1)
    job = world.submit(expires_at=1005.0, retries=RetryPolicy(max=1, backoff_s=100, jitter=False))
    world.round()
    world.run(job, ErrorType.EXIT)
    world.later(50)
    assert world.state(job) == "delayed"
    world.later(50)
    assert world.state(job) == "starting"


def test_a_recalled_job_can_still_expire() -> None:
    world = World()
    world.queue("q", 1, ahead=2)
    first = world.submit()
    world.round()
    world.started(first)
    world.finish(first, run_s=0.001)
    second, third = world.submit(), world.submit(expires_at=1005.0)
    world.round()
    urgent = world.submit(priority=9)
    world.later(10)
    assert world.state(third) == "starting"
    world.send(Recalled(third, 1))
    world.later(1)
    assert world.states([second, third, urgent]) == ["starting", "failed", "queued"]
    error = world.saved[third].error
    assert error is not None
    assert error.type is ErrorType.EXPIRED
