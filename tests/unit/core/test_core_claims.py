"""Claims ahead: short work is handed over before its turn, and taken back when something speaks against it."""

from hpcq.core.events import Started
from hpcq.core.job import ErrorType
from tests.support.world import World, short_work

CPU = (("cpus", 1.0),)


def test_a_slot_is_given_some_jobs_ahead_in_order() -> None:
    world = short_work()
    jobs = world.many(7)
    world.round()
    assert world.running() == {"q-1": jobs[:5]}
    assert [start.job for start in world.starts] == jobs[:5]
    assert world.states(jobs) == ["starting"] * 5 + ["queued"] * 2
    assert {start.attempt for start in world.starts} == {1}


def test_claims_are_shared_evenly_between_slots() -> None:
    world = short_work(slots=2)
    jobs = world.many(6)
    world.round()
    assert sorted(len(held) for held in world.running().values()) == [3, 3]
    assert sorted(job for held in world.running().values() for job in held) == jobs


def test_nothing_is_claimed_before_run_times_are_known() -> None:
    world = World()
    world.queue("q", 1, ahead=4)
    jobs = world.many(3)
    world.round()
    assert world.running() == {"q-1": jobs[:1]}


def test_nothing_is_claimed_when_jobs_run_long() -> None:
    world = short_work(run_s=0.06)
    jobs = world.many(3)
    world.round()
    assert world.running() == {"q-1": jobs[:1]}


def test_a_queue_that_becomes_slow_claims_no_more() -> None:
    world = short_work()
    jobs = world.many(30)
    world.round()
    for job in jobs[:5]:
        world.started(job)
        world.finish(job, run_s=1.0)
        world.round()
    assert len(world.running()["q-1"]) == 1


def test_the_run_time_is_measured_where_it_is_not_reported() -> None:
    world = World()
    world.queue("q", 1, ahead=4)
    first, *rest = world.many(3)
    world.round()
    world.run(first)
    assert world.running() == {"q-1": rest}


def test_a_claim_begins_when_its_turn_has_come() -> None:
    world = short_work()
    first, second, third = world.many(3)
    world.round()
    world.started(first)
    world.send(Started(second, 1))
    assert world.states([first, second]) == ["running", "starting"]
    world.finish(first)
    assert world.states([second, third]) == ["running", "starting"]
    world.finish(second)
    world.started(third)
    world.finish(third)
    assert world.states([first, second, third]) == ["succeeded"] * 3
    assert world.events[second] == ["job.submitted", "job.started", "job.succeeded"]


def test_a_claim_may_end_before_the_one_it_waits_for() -> None:
    world = short_work()
    first, second, third = world.many(3)
    world.round()
    world.started(first)
    world.finish(second)
    assert world.running() == {"q-1": [first, third]}
    world.finish(first)
    assert world.running() == {"q-1": [third]}


def test_claims_are_filled_up_when_half_of_them_are_used() -> None:
    world = short_work(ahead=4)
    jobs = world.many(20)
    world.round()
    sizes = []
    for job in jobs[:4]:
        world.run(job)
        sizes.append(len(world.running()["q-1"]))
    assert sizes == [4, 5, 4, 5]


def test_a_claim_inherits_what_the_running_job_holds() -> None:
    world = short_work()
    jobs = world.many(3, resources=(("cpus", 2.0),))
    world.round()
    assert world.running() == {"q-1": jobs}
    world.run(jobs[0])
    assert world.running() == {"q-1": jobs[1:]}
    world.run(jobs[1])
    world.run(jobs[2])
    assert world.scheduler.book.capacity.free["cpus"] == 2


def test_a_claim_gets_the_items_of_the_one_before_it() -> None:
    world = World({"gpu": 2}, {"gpu": ("0", "1")})
    world.queue("q", 2, ahead=2)
    first = world.submit()
    world.round()
    world.run(first, run_s=0.001)
    jobs = world.many(4, resources=(("gpu", 1.0),))
    world.round()
    items = {start.job: start.items for start in world.starts[1:]}
    for held in world.running().values():
        assert len({items[job] for job in held}) == 1
    assert len(jobs) == len(items)


def test_a_job_that_needs_something_else_is_not_claimed_nor_overtaken() -> None:
    world = short_work()
    first = world.submit()
    other = world.submit(resources=(("gpu", 1.0),))
    last = world.submit()
    world.round()
    assert world.running() == {"q-1": [first]}
    assert world.states([other, last]) == ["queued", "queued"]


def test_a_job_of_another_key_or_priority_is_not_claimed() -> None:
    for other in ({"session_key": "k"}, {"priority": -1}):
        world = short_work()
        first = world.submit()
        world.submit(**other)
        world.round()
        assert world.running() == {"q-1": [first]}


def test_a_job_that_needs_another_label_is_not_claimed() -> None:
    world = short_work()
    first = world.submit()
    world.submit(requires=(("model", "pixel"),))
    world.round()
    assert world.running() == {"q-1": [first]}


def test_claims_end_with_the_turn_of_their_key() -> None:
    world = short_work(batch_size=3)
    a = world.many(5, session_key="a")
    world.many(1, session_key="b")
    world.round()
    assert world.running() == {"q-1": a[:3]}


def test_claims_of_an_org_end_where_another_has_its_turn() -> None:
    world = short_work()
    a = world.many(3, org_id="a")
    b = world.many(3, org_id="b")
    world.round()
    assert world.running() == {"q-1": [a[0], b[0], a[1], b[1], a[2]]}


def test_idle_slots_without_cpus_leave_claims_where_they_are() -> None:
    world = short_work(slots=3)
    jobs = world.many(6, resources=CPU)
    world.round()
    assert sorted(len(held) for held in world.running().values()) == [3, 3]
    assert world.recalls == []
    assert world.states(jobs) == ["starting"] * 6


def test_nothing_is_claimed_from_what_is_kept_for_an_earlier_job() -> None:
    world = short_work()
    world.queue("other", 1)
    first = world.submit(resources=CPU)
    world.round()
    world.submit("other", resources=(("cpus", 2.0),))
    claim = world.submit(resources=CPU)
    world.round()
    assert world.running() == {"q-1": [first]}
    assert world.state(claim) == "queued"


def test_a_cancelled_claim_is_stopped_and_the_others_go_on() -> None:
    world = short_work()
    first, second, third = world.many(3)
    world.round()
    world.started(first)
    world.cancel(second)
    assert world.state(second) == "cancelling"
    assert [stop.job for stop in world.stops] == [second]
    world.finish(second, ErrorType.SIGNAL)
    assert world.states([first, second, third]) == ["running", "cancelled", "starting"]


def test_a_slot_that_is_being_stopped_claims_nothing() -> None:
    world = short_work()
    first = world.submit()
    world.round()
    world.cancel(first)
    job = world.submit()
    world.round()
    assert world.state(job) == "queued"


def test_a_claim_avoids_the_slot_that_failed_it() -> None:
    world = short_work(slots=1)
    failed = world.submit()
    world.round()
    world.run(failed, ErrorType.INFRA, draw=0.0)
    busy = world.running() == {"q-1": [failed]}
    assert busy, "alone, it takes the only slot there is"
    world.finish(failed, ErrorType.INFRA, draw=0.5)
    first = world.submit()
    world.round()
    world.later(60)
    assert world.running() == {"q-1": [first]}


def test_a_broken_session_with_claims_behind_it_is_prepared_again_for_them() -> None:
    world = short_work()
    first, second = world.many(2, session_key="k")
    world.round()
    world.started(first)
    world.finish(first, ErrorType.REJECTED, session_lost=True)
    assert world.scheduler.queue_view("q", world.now).slots[0].session_key == "k"
    world.started(second)
    world.finish(second, ErrorType.REJECTED, session_lost=True)
    assert world.scheduler.queue_view("q", world.now).slots[0].session_key is None


def test_no_claim_goes_before_an_older_job_that_only_lacks_the_slot() -> None:
    world = short_work()
    world.queue("other", 2)
    holder = world.submit("other", resources=(("gpu", 1.0),))
    world.round()
    older = world.submit(resources=(("gpu", 1.0),))
    runs = world.submit()
    world.round()
    assert world.running() == {"q-1": [runs]}
    world.run(holder)
    kept_from = world.submit("other", resources=(("gpu", 1.0),))
    younger = world.submit()
    world.round()
    assert world.states([older, kept_from, younger]) == ["queued"] * 3
    world.run(runs)
    assert world.running() == {"q-1": [older]}
