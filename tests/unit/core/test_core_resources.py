"""Resources: amounts, items, and reservations for what does not fit."""

from typing import Any

import pytest

from hpcq.core.capacity import Capacity
from hpcq.core.job import Slot
from tests.support.world import World


def cpus(n: float) -> tuple[tuple[str, float], ...]:
    return (("cpus", float(n)),)


def test_no_more_runs_than_the_resource_allows() -> None:
    world = World({"cpus": 3}, slots=4)
    jobs = world.many(3, resources=cpus(2))
    world.round()
    assert world.states(jobs) == ["starting", "queued", "queued"]
    world.run(jobs[0])
    assert world.states(jobs) == ["succeeded", "starting", "queued"]


def test_nothing_behind_a_job_that_does_not_fit_takes_what_it_is_short_of() -> None:
    world = World({"cpus": 4, "gpu": 1}, slots=4)
    small = world.submit(resources=cpus(2))
    world.round()
    big = world.submit(resources=cpus(4))
    behind = world.submit(resources=cpus(1))
    other = world.submit(resources=(("gpu", 1.0),))
    nothing = world.submit()
    world.round()
    assert world.states([big, behind, other, nothing]) == ["queued", "queued", "starting", "starting"]
    world.run(small)
    assert world.states([big, behind]) == ["starting", "queued"]
    world.run(big)
    assert world.state(behind) == "starting"


def test_what_is_reserved_is_reserved_across_queues() -> None:
    world = World({"cpus": 2})
    world.queue("one", 2)
    world.queue("two", 1)
    running = world.submit("one", resources=cpus(1))
    world.round()
    big = world.submit("one", resources=cpus(2))
    behind = world.submit("two", resources=cpus(1))
    world.round()
    assert world.states([big, behind]) == ["queued", "queued"]
    world.run(running)
    assert world.states([big, behind]) == ["starting", "queued"]


def test_a_more_urgent_job_takes_what_a_lesser_one_is_short_of() -> None:
    world = World({"cpus": 2})
    world.queue("one", 2)
    world.queue("two", 1)
    world.submit("one", resources=cpus(1))
    world.round()
    big = world.submit("one", resources=cpus(2))
    urgent = world.submit("two", resources=cpus(1), priority=1)
    world.round()
    assert world.states([big, urgent]) == ["queued", "starting"]


def test_a_job_that_was_passed_over_does_not_starve_while_its_queue_has_no_slot() -> None:
    world = World({"cpus": 2})
    world.queue("one", 1)
    world.queue("two", 1)
    first = world.submit("two", resources=cpus(1))
    world.round()
    big = world.submit("one", resources=cpus(2))
    asks_for_none = world.submit("one")
    small = world.submit("two", resources=cpus(1))
    world.round()
    assert world.states([big, asks_for_none]) == ["queued", "starting"]
    world.run(first)
    assert world.states([big, small]) == ["queued", "queued"], "two cpus are free, but kept for the big one"
    world.run(asks_for_none)
    assert world.states([big, small]) == ["starting", "queued"]


def test_what_is_kept_is_kept_also_while_nobody_else_asks_for_it() -> None:
    world = World({"cpus": 2})
    world.queue("one", 1)
    world.queue("two", 1)
    first = world.submit("two", resources=cpus(1))
    world.round()
    big = world.submit("one", resources=cpus(2))
    world.submit("one")
    world.round()
    world.run(first)
    small = world.submit("two", resources=cpus(1))
    assert [reason.holders for reason in world.explain(small).reasons] == [(big,)]


def test_what_was_kept_is_free_again_when_the_job_is_cancelled_or_its_queue_pauses() -> None:
    for ending in ("cancel", "pause"):
        world = World({"cpus": 2})
        world.queue("one", 1)
        world.queue("two", 1)
        first = world.submit("two", resources=cpus(1))
        world.round()
        big = world.submit("one", resources=cpus(2))
        world.submit("one")
        small = world.submit("two", resources=cpus(1))
        world.round()
        if ending == "cancel":
            world.cancel(big)
        else:
            world.queue("one", 1, paused=True)
        world.run(first)
        assert world.state(small) == "starting", ending


def passed_over(world: World) -> int:
    """A job that asks for one cpu, and whose queue's only slot went to one that asks for none; 2 of 3 are free."""
    world.queue("one", 1)
    world.queue("two", 3)
    first = world.submit("two", resources=cpus(3))
    world.round()
    job = world.submit("one", resources=cpus(1))
    world.submit("one")
    world.round()
    world.cancel(first)
    world.finish(first)
    return job


def test_a_job_that_only_lacks_a_slot_keeps_no_more_than_it_asks_for() -> None:
    world = World({"cpus": 3})
    job = passed_over(world)
    others = world.many(3, "two", resources=cpus(1))
    world.round()
    assert world.states([job, *others]) == ["queued", "starting", "starting", "queued"]
    assert [reason.holders for reason in world.explain(others[2]).reasons if reason.code == "resources"] == [(job,)]


def test_a_job_that_no_slot_can_take_keeps_nothing_from_others() -> None:
    held = Slot("one-1", ready=False)
    for slots in ((), (held,)):
        world = World({"cpus": 3})
        passed_over(world)
        world.queue("one", slots)
        others = world.many(3, "two", resources=cpus(1))
        world.round()
        assert world.states(others) == ["starting"] * 3


def test_a_job_that_can_never_fit_keeps_nothing_from_others() -> None:
    world = World({"cpus": 2}, slots=2)
    never, fits = world.submit(resources=cpus(3)), world.submit(resources=cpus(2))
    world.round()
    assert world.states([never, fits]) == ["queued", "starting"]


def test_a_job_waiting_for_a_label_keeps_no_resource() -> None:
    world = World({"cpus": 1})
    world.queue("q", [Slot("plain"), Slot("pixel", (("model", "pixel"),), ready=False)])
    picky = world.submit(resources=cpus(1), requires=(("model", "pixel"),))
    other = world.submit(resources=cpus(1))
    world.round()
    assert world.states([picky, other]) == ["queued", "starting"]


def test_a_slot_must_have_the_labels_that_are_required() -> None:
    world = World()
    world.queue("q", [Slot("old", (("api", "29"),)), Slot("new", (("api", "34"), ("model", "pixel")))])
    picky = world.submit(requires=(("api", "34"), ("model", "pixel")))
    more = world.submit(requires=(("api", "34"),))
    easy = world.submit()
    world.round()
    assert world.running() == {"new": [picky], "old": [easy]}
    assert world.state(more) == "queued"


def test_items_are_given_out_by_name_and_come_back() -> None:
    world = World({"gpu": 3}, {"gpu": ("a", "b", "c")}, slots=3)
    two = world.submit(resources=(("gpu", 2.0),))
    one = world.submit(resources=(("gpu", 1.0),))
    world.round()
    assert [start.items for start in world.starts] == [(("gpu", ("a", "b")),), (("gpu", ("c",)),)]
    again = world.submit(resources=(("gpu", 1.0),))
    world.run(two)
    assert world.starts[-1].items == (("gpu", ("a",)),)
    assert (world.starts[-1].job, world.state(one)) == (again, "starting")


def test_a_resource_that_is_nowhere_declared_is_never_free() -> None:
    world = World(slots=1)
    job = world.submit(resources=(("tape", 1.0),))
    world.round()
    assert world.state(job) == "queued"


def test_fractions_leave_nothing_over() -> None:
    capacity = Capacity({"cpus": 1}, {})
    for _ in range(1000):
        taken = [capacity.take(cpus(0.1)) for _ in range(10)]
        assert not capacity.fits(cpus(0.1))
        for items in taken:
            capacity.give_back(cpus(0.1), items)
    assert capacity.free == {"cpus": 1}


@pytest.mark.parametrize(
    ("asked", "pointers"),
    [
        ({}, []),
        ({"resources": (("cpus", 2.0), ("gpu", 1.0))}, []),
        ({"resources": (("cpus", 3.0), ("tape", 1.0))}, ["resources/cpus", "resources/tape"]),
        ({"resources": (("gpu", 0.5),)}, ["resources/gpu"]),
        ({"requires": (("model", "pixel"),)}, []),
        ({"requires": (("model", "iphone"), ("os", "beos"))}, ["requires/model", "requires/os"]),
        ({"requires": (("api", "29"), ("model", "pixel"))}, ["requires"]),
        ({"queue": "nowhere"}, ["queue"]),
    ],
)
def test_what_can_never_be_had_is_refused(asked: dict[str, Any], pointers: list[str]) -> None:
    world = World({"cpus": 2, "gpu": 1}, {"gpu": ("0",)})
    world.queue("q", [Slot("p", (("api", "34"), ("model", "pixel"))), Slot("old", (("api", "29"),))])
    found = world.scheduler.refusals(world.job(**asked).treatment)
    assert [pointer for pointer, _ in found] == pointers
    assert all(sentence for _, sentence in found)


def test_labels_are_not_judged_before_any_slot_is_known() -> None:
    world = World(slots=0)
    world.queue("q", 0)
    assert world.scheduler.refusals(world.job(requires=(("model", "pixel"),)).treatment) == []
