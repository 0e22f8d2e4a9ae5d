"""Queues: pause, scaling, slots that come and go, runners that fail."""

from hpcq.core.events import QueueChanged, RunnerChanged, SlotsOffered
from hpcq.core.job import QueueSettings, Slot, State
from hpcq.core.queues import natural
from tests.support.world import World


def slots(*names: str, ready: bool = True) -> tuple[Slot, ...]:
    return tuple(Slot(name, ready=ready, reason="" if ready else "offline") for name in names)


def test_a_paused_queue_starts_nothing_and_lets_running_jobs_finish() -> None:
    world = World(slots=1)
    first, second = world.many(2)
    world.round()
    world.queue("q", 1, paused=True)
    world.run(first)
    assert world.states([first, second]) == ["succeeded", "queued"]
    world.queue("q", 1)
    world.round()
    assert world.state(second) == "starting"


def test_an_unavailable_runner_is_given_nothing() -> None:
    world = World(slots=1)
    job = world.submit()
    world.send(RunnerChanged("q", available=False, reason="no adb"))
    world.round()
    assert world.state(job) == "queued"
    world.send(RunnerChanged("q", available=True))
    world.round()
    assert world.state(job) == "starting"


def test_more_slots_are_used_at_once() -> None:
    world = World(slots=1)
    jobs = world.many(3)
    world.round()
    world.queue("q", 3)
    world.round()
    assert world.states(jobs) == ["starting"] * 3


def test_fewer_slots_finish_their_jobs_first() -> None:
    world = World(slots=3)
    jobs = world.many(4)
    world.round()
    world.send(QueueChanged(QueueSettings("q", slots=1)))
    view = world.scheduler.queue_view("q", world.now)
    assert [slot.state for slot in view.slots] == ["busy", "leaving", "leaving"]
    for job in jobs[1:3]:
        world.run(job)
    assert world.running() == {"q-1": [jobs[0]]}
    assert len(world.scheduler.queue_view("q", world.now).slots) == 1
    world.run(jobs[0])
    assert world.state(jobs[3]) == "starting"


def test_a_slot_that_was_to_go_stays_when_it_is_wanted_again() -> None:
    world = World(slots=2)
    jobs = world.many(3)
    world.round()
    world.send(QueueChanged(QueueSettings("q", slots=1)))
    world.send(QueueChanged(QueueSettings("q", slots=2)))
    world.run(jobs[1])
    assert world.running() == {"q-1": [jobs[0]], "q-2": [jobs[2]]}


def test_the_cap_drops_the_slots_with_the_highest_names() -> None:
    world = World()
    world.send(QueueChanged(QueueSettings("q", slots=2)))
    world.send(SlotsOffered("q", slots("q-10", "q-9", "q-1")))
    assert sorted(slot.name for slot in world.scheduler.queue_view("q", world.now).slots) == ["q-1", "q-9"]
    assert sorted(["a10", "a9", "b1", "a"], key=natural) == ["a", "a9", "a10", "b1"]


def test_no_slots_is_legal() -> None:
    world = World()
    world.queue("q", 3, slots=0)
    job = world.submit()
    world.round()
    assert world.state(job) == "queued"


def test_a_held_slot_takes_nothing_until_it_is_ready() -> None:
    world = World()
    world.queue("q", slots("a", ready=False))
    job = world.submit()
    world.round()
    assert world.scheduler.queue_view("q", world.now).slots[0].state == "held"
    world.send(SlotsOffered("q", slots("a")))
    world.round()
    assert world.running() == {"a": [job]}


def test_a_slot_that_is_held_while_busy_finishes_its_job_and_takes_no_other() -> None:
    world = World(slots=1)
    first, second = world.many(2)
    world.round()
    world.send(SlotsOffered("q", slots("q-1", ready=False)))
    world.run(first)
    assert world.states([first, second]) == ["succeeded", "queued"]
    world.send(SlotsOffered("q", slots("q-1")))
    world.round()
    assert world.state(second) == "starting"


def test_jobs_of_a_queue_nobody_knows_wait_for_it() -> None:
    world = World()
    job = world.submit("new")
    world.round()
    assert world.state(job) == "queued"
    world.queue("new", 1)
    world.round()
    assert world.state(job) == "starting"


def test_a_queue_shows_its_slots_and_counts() -> None:
    world = World()
    world.queue("q", [Slot("a", (("model", "pixel"),)), Slot("b")], paused_reason="")
    one, two = world.submit(session_key="k"), world.submit()
    world.round()
    world.started(one)
    world.cancel(two)
    world.many(3)
    world.submit(run_at=5000.0)
    view = world.scheduler.queue_view("q", world.now)
    assert view.counts == {
        State.BLOCKED: 0,
        State.DELAYED: 1,
        State.QUEUED: 3,
        State.STARTING: 0,
        State.RUNNING: 1,
        State.CANCELLING: 1,
    }
    first = view.slots[0]
    assert (first.name, first.labels, first.state, first.job, first.claims, first.session_key) == (
        "a",
        (("model", "pixel"),),
        "busy",
        one,
        (),
        "k",
    )
    assert view.mean_run_s is None
    world.finish(one, run_s=3.0)
    world.finish(two)
    assert world.scheduler.queue_view("q", world.now).mean_run_s == 3.0


def test_nothing_is_said_of_a_job_that_is_not_there() -> None:
    world = World(slots=1)
    assert world.scheduler.state_of(5) is None
    assert world.scheduler.explain(5, world.now) is None
