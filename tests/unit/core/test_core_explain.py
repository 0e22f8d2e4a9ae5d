"""Why a job is not running: every reason, the decisive one first."""

from typing import Any

from hpcq.core.events import Draining, RunnerChanged
from hpcq.core.explain import Reason
from hpcq.core.job import Dependency, ErrorType, RetryPolicy, Slot, State
from tests.support.world import World


def reason(world: World, job: int, code: str) -> Reason:
    return next(each for each in world.explain(job).reasons if each.code == code)


def test_every_reason_is_listed_and_the_decisive_one_comes_first() -> None:
    world = World({"gpu": 1}, slots=1)
    holder = world.submit(resources=(("gpu", 1.0),))
    world.round()
    world.queue("q", 1, paused=True, paused_reason="bad credentials")
    world.send(RunnerChanged("q", available=False, reason="no adb: install it"))
    parent = world.submit()
    job = world.submit(resources=(("gpu", 1.0),), depends_on=(Dependency(holder), Dependency(parent)), run_at=5000.0)
    world.send(Draining())
    assert world.codes(job) == [
        "dependency",
        "delayed",
        "draining",
        "runner_unavailable",
        "paused",
        "slots_busy",
        "resources",
    ]
    assert reason(world, job, "dependency").holders == (holder, parent)
    assert reason(world, job, "delayed").until == 5000.0
    assert "no adb: install it" in reason(world, job, "runner_unavailable").message
    assert "bad credentials" in reason(world, job, "paused").message
    assert reason(world, job, "slots_busy").holders == (holder,)
    assert reason(world, job, "resources").holders == (holder,)
    explanation = world.explain(job)
    assert explanation.state is State.BLOCKED
    assert explanation.estimated_start is None
    assert set(explanation.suggestions) >= {"hpcq queues resume q", "hpcq doctor"}


def test_one_dependency_is_said_as_one() -> None:
    world = World(slots=1)
    parent = world.submit()
    job = world.submit(depends_on=(Dependency(parent),))
    assert world.codes(job) == ["dependency"]
    assert reason(world, job, "dependency").message.endswith("1 other job")


def test_a_delay_and_a_back_off_say_until_when() -> None:
    world = World(slots=1)
    delayed = world.submit(run_at=1060.0)
    assert world.codes(delayed) == ["delayed"]
    assert reason(world, delayed, "delayed").until == world.explain(delayed).estimated_start == 1060.0
    job = world.submit(retries=RetryPolicy(max=1, backoff_s=10, jitter=False))
    world.round()
    world.run(job, ErrorType.EXIT)
    assert world.codes(job) == ["backoff"]
    assert reason(world, job, "backoff").until == 1010.0


def test_live_jobs_are_running() -> None:
    world = World(slots=1)
    job = world.submit()
    world.round()
    assert "is starting on slot q-1" in reason(world, job, "running").message
    world.started(job)
    assert "runs on slot q-1, attempt 1" in reason(world, job, "running").message
    world.cancel(job)
    assert reason(world, job, "running").message.endswith("being stopped on slot q-1: cancel")
    assert world.explain(job).state is State.CANCELLING


def test_a_claim_waits_for_the_one_before_it() -> None:
    world = World()
    world.queue("q", 1, ahead=2)
    first, second, third = world.many(3)
    world.round()
    world.run(first, run_s=0.001)
    assert world.codes(third) == ["slots_busy"]
    assert reason(world, third, "slots_busy").holders == (second,)


def test_no_slot_is_told_from_none_that_matches_and_from_one_that_is_held() -> None:
    world = World(slots=0)
    nobody = world.submit("empty")
    assert "has no slots" in reason(world, nobody, "no_matching_slot").message
    world.queue("q", [Slot("p", (("model", "pixel"),), ready=False, reason="offline")])
    held = world.submit()
    assert "p is held: offline" in reason(world, held, "no_matching_slot").message
    world.queue("q", [Slot("p", (("model", "pixel"),))])
    other = world.submit(requires=(("model", "iphone"),))
    assert "model = 'iphone'" in reason(world, other, "no_matching_slot").message
    suggestions = [world.explain(job).suggestions for job in (nobody, other)]
    assert suggestions == [["hpcq doctor"], ["edit its `requires`, or give queue q such a slot"]]


def test_a_job_that_asks_for_more_than_there_is_hears_so() -> None:
    world = World({"cpus": 2}, slots=1)
    job = world.submit(resources=(("cpus", 3.0),))
    world.round()
    assert world.codes(job) == ["resources"]
    assert "it can never start" in reason(world, job, "resources").message
    assert world.explain(job).suggestions == ["edit its `resources`, or cancel it"]


def test_what_is_kept_for_an_earlier_job_names_it() -> None:
    world = World({"cpus": 2}, slots=3)
    world.submit(resources=(("cpus", 1.0),))
    world.round()
    big = world.submit(resources=(("cpus", 2.0),))
    small = world.submit(resources=(("cpus", 1.0),))
    world.round()
    assert world.codes(small)[0] == "resources"
    assert reason(world, small, "resources").holders == (big,)
    assert reason(world, big, "resources").holders == (1,)


def test_an_org_that_waits_for_its_turn_hears_so() -> None:
    world = World(slots=1)
    world.submit(org_id="a")
    world.round()
    job = world.submit(org_id="a")
    first = world.submit(org_id="b")
    assert world.codes(job) == ["slots_busy", "org_turn"]
    assert reason(world, job, "org_turn").holders == (first,)
    assert world.codes(first) == ["slots_busy"]


def test_a_batch_that_goes_on_is_a_reason() -> None:
    world = World(slots=1)
    world.submit(session_key="a")
    world.round()
    other = world.submit(session_key="b")
    younger = world.submit(session_key="a")
    assert world.codes(other) == ["slots_busy", "batch_turn"]
    assert reason(world, other, "batch_turn").holders == (younger,)
    assert world.codes(younger) == ["slots_busy"]


def test_a_batch_that_is_over_is_a_reason() -> None:
    world = World()
    world.queue("q", 1, batch_size=1)
    world.submit(session_key="a")
    world.round()
    again = world.submit(session_key="a")
    other = world.submit(session_key="b")
    assert world.codes(again) == ["slots_busy", "batch_turn"]
    assert reason(world, again, "batch_turn").holders == (other,)


def test_a_turn_that_is_over_is_no_reason_when_nobody_else_waits() -> None:
    world = World()
    world.queue("q", 1, batch_size=1)
    world.submit(session_key="a")
    world.round()
    again = world.submit(session_key="a")
    assert world.codes(again) == ["slots_busy"]


def test_older_jobs_of_the_queue_are_counted_when_a_slot_is_free() -> None:
    world = World({"cpus": 1}, slots=2)
    world.many(3, resources=(("cpus", 1.0),))
    urgent = world.submit(resources=(("cpus", 1.0),), priority=1)
    world.round()
    last = world.submit(resources=(("cpus", 1.0),))
    assert world.codes(last) == ["resources", "slots_busy"]
    assert "at least 4 waiting jobs" not in reason(world, last, "slots_busy").message
    assert "at least 3 waiting jobs" in reason(world, last, "slots_busy").message
    other = world.submit(session_key="k")
    assert "at least 1 waiting job of" in reason(world, other, "slots_busy").message
    assert urgent


def test_a_job_that_just_came_is_next() -> None:
    world = World(slots=1)
    job = world.submit()
    assert "it starts with the next decision" in reason(world, job, "slots_busy").message


def timed(slots: int, mean_s: float, **asked: Any) -> World:
    world = World(slots=slots)
    job = world.submit(**asked)
    world.round()
    world.started(job)
    world.finish(job, run_s=mean_s)
    world.round()
    return world


def test_the_start_is_estimated_from_how_long_jobs_ran_so_far() -> None:
    world = timed(2, 10.0)
    jobs = world.many(6)
    world.round()
    for job in jobs[:2]:
        world.started(job)
    world.later(4)
    starts = [world.explain(job).estimated_start for job in jobs[2:]]
    now = world.now.wall
    assert starts == [now + 6, now + 6, now + 16, now + 16]


def test_an_overdue_job_is_expected_soon_and_a_starting_one_late() -> None:
    world = timed(1, 10.0)
    first, second = world.many(2)
    world.round()
    assert world.explain(second).estimated_start == world.now.wall + 10
    world.started(first)
    world.later(12)
    world.later(12)
    assert world.explain(second).estimated_start == world.now.wall + 1


def test_more_urgent_jobs_and_other_groups_push_the_estimate_back() -> None:
    world = timed(1, 10.0)
    world.queue("q", 1)
    world.many(1)
    world.round()
    mine = world.submit(session_key="mine")
    world.many(3, priority=5)
    world.many(2, session_key="other")
    estimate = world.explain(mine).estimated_start
    assert estimate == world.now.wall + 10 + (3 + 1) * 10


def test_nothing_is_estimated_where_nobody_knows() -> None:
    world = World(slots=1)
    first = world.submit()
    assert world.explain(first).estimated_start is None, "no past"
    world = timed(1, 10.0)
    world.queue("q", 1, paused=True)
    assert world.explain(world.submit()).estimated_start is None, "paused"
    world.queue("q", 0)
    assert world.explain(world.submit()).estimated_start is None, "no slots"


def test_a_slot_that_is_free_is_expected_at_once() -> None:
    world = timed(2, 10.0)
    world.submit()
    world.round()
    job = world.submit()
    assert world.explain(job).estimated_start == world.now.wall


def test_a_suggestion_that_several_reasons_make_is_made_once() -> None:
    world = World({"cpus": 1, "gpu": 1})
    world.queue("q", 0)
    world.send(RunnerChanged("q", available=False, reason="no adb: install it"))
    job = world.submit(resources=(("cpus", 2.0), ("gpu", 2.0)))
    assert world.codes(job) == ["runner_unavailable", "no_matching_slot", "resources", "resources"]
    assert world.explain(job).suggestions == ["hpcq doctor", "edit its `resources`, or cancel it"]


def test_busy_slots_suggest_more_of_them() -> None:
    world = World(slots=2)
    *_, job = world.many(3)
    world.round()
    assert "all 2 slots of queue q" in reason(world, job, "slots_busy").message
    assert world.explain(job).suggestions == ["hpcq queues scale q 3"]
