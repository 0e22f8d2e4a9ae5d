"""Which job is next: priority, org, number; and between queues."""

from hpcq.core.events import Cancelled, Edited
from hpcq.core.job import Treatment
from tests.support.world import World


def test_jobs_of_one_kind_run_in_the_order_of_their_numbers() -> None:
    world = World(slots=1)
    jobs = world.many(5)
    assert world.drain_queue() == jobs


def test_a_higher_priority_goes_first() -> None:
    world = World(slots=1)
    low, high, critical = world.submit(priority=-10), world.submit(priority=10), world.submit(priority=20)
    assert world.drain_queue() == [critical, high, low]


def test_the_org_with_fewest_running_goes_first() -> None:
    world = World(slots=3)
    a = world.many(4, org_id="a")
    world.round()
    b = world.many(2, org_id="b")
    world.run(a[0])
    assert world.running() == {"q-1": [b[0]], "q-2": [a[1]], "q-3": [a[2]]}
    world.run(a[1])
    assert world.running()["q-2"] == [a[3]], "one each, and a was served longer ago"
    world.run(a[2])
    assert world.running()["q-3"] == [b[1]]


def test_orgs_take_turns_in_one_slot() -> None:
    world = World(slots=1)
    a = world.many(3, org_id="a")
    b = world.many(3, org_id="b")
    assert world.drain_queue() == [a[0], b[0], a[1], b[1], a[2], b[2]]


def test_of_orgs_never_served_the_one_with_the_older_job_goes_first() -> None:
    world = World(slots=1)
    z, a = world.submit(org_id="z"), world.submit(org_id="a")
    assert world.drain_queue() == [z, a]


def test_priority_goes_before_fairness_between_orgs() -> None:
    world = World(slots=2)
    first = world.submit(org_id="a")
    world.round()
    fair = world.submit(org_id="b")
    urgent = world.submit(org_id="a", priority=5)
    world.round()
    assert world.running() == {"q-1": [first], "q-2": [urgent]}
    world.run(first)
    assert world.running()["q-1"] == [fair]


def test_queues_share_nothing_but_resources() -> None:
    world = World()
    world.queue("one", 1)
    world.queue("two", 1)
    ones, twos = world.many(2, "one"), world.many(2, "two")
    world.round()
    assert world.running("one") == {"one-1": [ones[0]]}
    assert world.running("two") == {"two-1": [twos[0]]}


def test_between_queues_priority_then_number_decides_who_gets_a_resource() -> None:
    world = World({"gpu": 1})
    world.queue("one", 1)
    world.queue("two", 1)
    gpu = (("gpu", 1.0),)
    later = world.submit("two", resources=gpu)
    urgent = world.submit("one", resources=gpu, priority=1)
    last = world.submit("one", resources=gpu)
    assert world.drain_queue() == [urgent, later, last]


def test_a_cancelled_job_in_the_middle_is_skipped() -> None:
    world = World(slots=1)
    jobs = world.many(5)
    world.send(Cancelled(jobs[2]))
    world.send(Cancelled(jobs[0]))
    assert world.drain_queue() == [jobs[1], jobs[3], jobs[4]]
    assert world.states(jobs) == ["cancelled", "succeeded", "cancelled", "succeeded", "succeeded"]


def test_an_edited_job_keeps_the_place_that_its_number_gives_it() -> None:
    world = World(slots=1)
    jobs = world.many(4)
    other = world.submit(priority=1)
    world.send(Edited(jobs[2], Treatment("q", priority=1)))
    assert world.drain_queue() == [jobs[2], other, jobs[0], jobs[1], jobs[3]]


def test_a_job_edited_back_and_forth_runs_once_in_its_old_place() -> None:
    world = World(slots=1)
    jobs = world.many(3)
    for _ in range(100):
        world.send(Edited(jobs[1], Treatment("q", priority=1)))
        world.send(Edited(jobs[1], Treatment("q")))
    assert world.drain_queue() == jobs
