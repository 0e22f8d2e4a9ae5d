"""Editing a job that is not final."""

from hpcq.core.effects import Save
from hpcq.core.events import Edited
from hpcq.core.job import Dependency, ErrorType, RetryPolicy, StopReason, Treatment
from tests.support.world import World


def test_a_waiting_job_moves_to_another_queue() -> None:
    world = World(slots=0)
    world.queue("other", 1)
    job = world.submit()
    world.send(Edited(job, Treatment("other")))
    world.round()
    assert world.running("other") == {"other-1": [job]}


def test_a_run_at_moves_and_only_a_change_is_saved() -> None:
    world = World(slots=1)
    job = world.submit(run_at=1010.0)
    assert world.send(Edited(job, Treatment("q", priority=3), run_at=1010.0)) == []
    world.send(Edited(job, Treatment("q"), run_at=1020.0))
    assert (world.state(job), world.saved[job].due) == ("delayed", 1020.0)
    assert world.events[job] == ["job.submitted"]
    world.later(10)
    assert world.state(job) == "delayed"
    world.send(Edited(job, Treatment("q"), run_at=900.0))
    assert world.state(job) == "queued"
    assert world.events[job] == ["job.submitted", "job.queued"]


def test_without_a_run_at_a_delayed_job_is_queued() -> None:
    world = World(slots=1)
    job = world.submit(run_at=1010.0)
    world.send(Edited(job, Treatment("q")))
    assert world.state(job) == "queued"


def test_a_back_off_is_not_ended_by_an_edit_but_can_be_moved() -> None:
    world = World(slots=1)
    retries = RetryPolicy(max=1, backoff_s=50, jitter=False)
    job = world.submit(retries=retries)
    world.round()
    world.run(job, ErrorType.EXIT)
    due = world.saved[job].due
    assert world.send(Edited(job, Treatment("q", priority=1, retries=retries), run_at=due)) == []
    assert world.state(job) == "delayed"
    world.send(Edited(job, Treatment("q"), run_at=world.now.wall))
    assert world.state(job) == "queued"


def test_a_back_off_whose_run_at_is_taken_away_is_written_again_or_a_restart_would_end_it() -> None:
    world = World(slots=1)
    job = world.submit(retries=RetryPolicy(max=1, backoff_s=50, jitter=False))
    world.round()
    world.run(job, ErrorType.EXIT)
    due = world.saved[job].due
    (save,) = world.send(Edited(job, Treatment("q"), run_at=None))
    assert isinstance(save, Save)
    assert (save.state, save.event, save.due) == ("delayed", None, due)


def test_a_queued_job_stays_queued_whatever_its_run_at() -> None:
    world = World(slots=1)
    job = world.submit()
    assert world.send(Edited(job, Treatment("q"), run_at=5000.0)) == []
    assert world.state(job) == "queued"


def test_a_blocked_job_is_edited_for_the_time_after() -> None:
    world = World(slots=1)
    world.queue("other", 1)
    parent = world.submit()
    child = world.submit(depends_on=(Dependency(parent),), run_at=2000.0)
    world.send(Edited(child, Treatment("other")))
    world.round()
    world.run(parent)
    assert world.running("other") == {"other-1": [child]}


def test_an_expiry_is_set_moved_and_taken_away() -> None:
    world = World(slots=0)
    job = world.submit(expires_at=1010.0)
    world.send(Edited(job, Treatment("q"), expires_at=1020.0))
    assert world.scheduler.wakes()[0] == 1020.0
    world.send(Edited(job, Treatment("q")))
    assert world.scheduler.wakes()[0] is None
    world.send(Edited(job, Treatment("q"), expires_at=1005.0))
    world.later(5)
    assert world.state(job) == "failed"


def test_an_expiry_does_not_matter_after_the_first_attempt() -> None:
    world = World(slots=1)
    job = world.submit(retries=RetryPolicy(max=1, backoff_s=0))
    world.round()
    world.started(job)
    world.finish(job, ErrorType.EXIT)
    world.send(Edited(job, Treatment("q"), expires_at=1.0))
    assert world.scheduler.wakes() == (None, None)


def test_the_timeout_of_a_running_job_counts_from_its_start() -> None:
    world = World(slots=1)
    job = world.submit()
    world.round()
    world.started(job)
    world.later(10)
    world.send(Edited(job, Treatment("q", timeout_s=12.0)))
    world.later(1)
    assert world.state(job) == "running"
    world.send(Edited(job, Treatment("q")))
    world.later(5)
    assert world.state(job) == "running"
    world.send(Edited(job, Treatment("q", timeout_s=12.0)))
    world.later(0.1)
    assert world.saved[job].stop is StopReason.TIMEOUT
    world.send(Edited(job, Treatment("q", timeout_s=99.0)))
    assert world.state(job) == "cancelling"


def test_what_a_live_job_holds_does_not_change_but_its_next_attempt_does() -> None:
    world = World({"cpus": 2}, slots=2)
    job = world.submit(resources=(("cpus", 2.0),))
    world.round()
    world.started(job)
    new = Treatment("q", resources=(("cpus", 1.0),), retries=RetryPolicy(max=1, backoff_s=0))
    world.send(Edited(job, new))
    other = world.submit(resources=(("cpus", 1.0),))
    world.round()
    assert world.state(other) == "queued"
    world.run(job, ErrorType.EXIT)
    assert world.states([job, other]) == ["starting", "starting"]


def test_a_final_or_unknown_job_is_not_edited() -> None:
    world = World(slots=1)
    job = world.submit()
    world.cancel(job)
    assert world.send(Edited(job, Treatment("q", priority=9))) == []
    assert world.send(Edited(99, Treatment("elsewhere"))) == []
    assert "elsewhere" not in world.scheduler.book.queues
