"""Recall: claims that have not begun are taken back when something speaks against them."""

from hpcq.core.events import Draining, Edited, QueueChanged, Recalled, RunnerChanged, SlotsOffered
from hpcq.core.job import QueueSettings, Slot, Treatment
from tests.support.world import World, short_work

CPU = (("cpus", 1.0),)


def test_claims_not_begun_are_recalled_for_something_more_urgent() -> None:
    world = short_work()
    first, *claims = world.many(4)
    world.round()
    world.started(first)
    urgent = world.submit(priority=1)
    world.round()
    assert [recall.job for recall in world.recalls] == claims
    assert {recall.attempt for recall in world.recalls} == {1}
    world.round()
    assert len(world.recalls) == 3, "asked once"
    for job in reversed(claims):
        world.recalled(job)
        assert (world.state(job), world.attempt(job)) == ("queued", 0)
        assert world.events[job] == ["job.submitted"]
    world.finish(first)
    assert world.drain_queue() == [urgent, *claims]


def test_a_claim_that_began_in_time_is_not_given_back() -> None:
    world = short_work()
    first, claim = world.many(2)
    world.round()
    world.started(first)
    world.submit(priority=1)
    world.round()
    world.finish(first)
    world.started(claim)
    assert world.send(Recalled(claim, 1)) == []
    assert world.state(claim) == "running"


def test_a_claim_that_came_back_after_its_turn_frees_the_slot() -> None:
    world = short_work()
    first, claim = world.many(2)
    world.round()
    world.started(first)
    urgent = world.submit(priority=1)
    world.round()
    world.finish(first)
    world.recalled(claim)
    world.round()
    assert world.running() == {"q-1": [urgent]}


def test_only_what_was_asked_for_can_come_back() -> None:
    world = short_work()
    jobs = world.many(2)
    world.round()
    assert world.send(Recalled(jobs[1], 1)) == []
    assert world.send(Recalled(99, 1)) == []
    assert world.state(jobs[1]) == "starting"


def test_a_claim_moves_to_a_slot_that_has_nothing_to_do() -> None:
    world = short_work(slots=2)
    jobs = world.many(6)
    world.round()
    slots = world.running()
    quick, slow = sorted(slots)
    world.started(slots[slow][0])
    for job in slots[quick]:
        world.run(job)
    world.round()
    assert [recall.job for recall in world.recalls] == [max(slots[slow])], "asked once for one idle slot"
    world.recalled(max(slots[slow]))
    world.round()
    assert world.running()[quick] == [max(slots[slow])]
    assert jobs


def test_a_slot_that_could_not_run_a_claim_does_not_ask_for_it() -> None:
    world = World()
    world.queue("q", [Slot("q-1", (("model", "pixel"),)), Slot("q-2")], ahead=4)
    first = world.submit()
    world.round()
    world.run(first, run_s=0.001)
    world.many(3, requires=(("model", "pixel"),))
    world.round()
    world.round()
    assert len(world.running()["q-1"]) == 3
    assert world.recalls == []


def test_claims_are_recalled_when_what_they_hold_is_kept_for_an_earlier_job() -> None:
    world = short_work()
    world.queue("other", 1)
    first, *claims = world.many(3, resources=CPU)
    world.round()
    urgent = world.submit("other", resources=(("cpus", 2.0),), priority=5)
    world.round()
    assert [recall.job for recall in world.recalls] == claims
    for job in claims:
        world.recalled(job)
    world.run(first)
    assert world.state(urgent) == "starting"
    assert world.states(claims) == ["queued", "queued"]


def test_an_urgent_job_that_can_never_run_here_disturbs_nobody() -> None:
    world = short_work()
    jobs = world.many(3)
    world.round()
    world.submit(priority=9, resources=(("cpus", 99.0),))
    world.submit(priority=9, requires=(("model", "pixel"),))
    world.round()
    assert world.recalls == []
    assert world.running() == {"q-1": jobs}


def test_claims_are_recalled_when_nothing_may_start() -> None:
    for why in (
        Draining(),
        RunnerChanged("q", available=False, reason="gone"),
        QueueChanged(QueueSettings("q", paused=True)),
        SlotsOffered("q", ()),
        SlotsOffered("q", (Slot("q-1", ready=False),)),
    ):
        world = short_work()
        first, *claims = world.many(3)
        world.round()
        world.started(first)
        world.send(why)
        world.round()
        assert [recall.job for recall in world.recalls] == claims, why
        for job in claims:
            world.recalled(job)
        world.finish(first)
        world.round()
        assert world.states([first, *claims]) == ["succeeded", "queued", "queued"], why


def test_claims_go_back_when_their_slot_lost_the_label() -> None:
    world = World()
    pixel = (("model", "pixel"),)
    world.queue("q", [Slot("q-1", pixel)], ahead=2)
    first = world.submit(requires=pixel)
    world.round()
    world.run(first, run_s=0.001)
    jobs = world.many(3, requires=pixel)
    world.round()
    world.send(SlotsOffered("q", (Slot("q-1"),)))
    world.round()
    assert [recall.job for recall in world.recalls] == jobs[1:]


def test_a_recalled_claim_that_was_cancelled_meanwhile_is_cancelled() -> None:
    world = short_work()
    first, claim = world.many(2)
    world.round()
    world.started(first)
    world.submit(priority=1)
    world.round()
    world.cancel(claim)
    world.recalled(claim)
    assert world.state(claim) == "cancelled"
    assert world.running() == {"q-1": [first]}


def test_an_edited_claim_is_recalled_when_it_belongs_elsewhere_now() -> None:
    world = short_work()
    first, claim, other = world.many(3)
    world.round()
    world.started(first)
    world.send(Edited(claim, Treatment("q", priority=-5)))
    world.send(Edited(other, Treatment("q", timeout_s=60.0)))
    world.round()
    assert [recall.job for recall in world.recalls] == [claim]
    world.recalled(claim)
    assert world.running() == {"q-1": [first, other]}
    assert world.state(claim) == "queued"
