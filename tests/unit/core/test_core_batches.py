"""The batch rule: a slot with a session takes some jobs of its key in a row, then another key has its turn."""

from typing import Any

from hpcq.core.events import SessionEnded
from hpcq.core.job import ErrorType
from tests.support.world import World


def keyed(world: World, keys: str, **asked: Any) -> dict[int, str]:
    """One job a letter, whose session key it is; `-` has none."""
    return {world.submit(session_key=None if key == "-" else key, **asked): key for key in keys}


def order(world: World, keys: dict[int, str]) -> str:
    return "".join(keys[job] for job in world.drain_queue())


def test_a_turn_is_three_jobs_of_a_key() -> None:
    world = World(slots=1)
    assert order(world, keyed(world, "aabaaa")) == "aaabaa"


def test_the_next_turn_goes_to_the_key_that_waited_longest() -> None:
    world = World(slots=1)
    assert order(world, keyed(world, "aaaacbbcb")) == "aaaccabbb"


def test_a_turn_begins_anew_when_no_other_key_waits() -> None:
    world = World(slots=1)
    assert order(world, keyed(world, "aaaaaaa")) == "aaaaaaa"


def test_a_batch_size_of_one_alternates() -> None:
    world = World()
    world.queue("q", 1, batch_size=1)
    assert order(world, keyed(world, "aaabbb")) == "ababab"


def test_jobs_without_a_key_have_no_turns() -> None:
    world = World(slots=1)
    assert order(world, keyed(world, "----a-")) == "----a-"


def test_a_job_without_a_key_takes_its_turn_after_a_full_batch() -> None:
    world = World(slots=1)
    assert order(world, keyed(world, "a-aaa")) == "aaa-a"


def test_affinity_never_beats_priority() -> None:
    world = World(slots=1)
    low = keyed(world, "aa")
    assert world.round()
    high = keyed(world, "b", priority=1)
    first = world.running()["q-1"][0]
    world.run(first)
    assert world.running()["q-1"] == list(high)
    assert low


def test_each_of_several_slots_keeps_its_own_session() -> None:
    world = World(slots=2)
    keys = keyed(world, "ab")
    world.round()
    more = keyed(world, "bbaa")
    for job in keys:
        world.started(job)
        world.finish(job)
    world.round()
    running = {slot: [more[job] for job in jobs] for slot, jobs in world.running().items()}
    assert running == {"q-1": ["a"], "q-2": ["b"]}


def test_a_job_goes_to_the_idle_slot_that_is_prepared_for_it() -> None:
    world = World(slots=3)
    for job in keyed(world, "abc"):
        world.round()
        world.started(job)
    for job in (1, 2, 3):
        world.finish(job)
    (b,) = keyed(world, "b")
    world.round()
    assert world.running() == {"q-2": [b]}


def test_a_new_key_takes_a_slot_without_a_session_first() -> None:
    world = World(slots=2)
    (a,) = keyed(world, "a")
    world.round()
    world.run(a)
    (b,) = keyed(world, "b")
    world.round()
    assert world.running() == {"q-2": [b]}


def test_a_slot_whose_turn_is_over_stays_with_its_key_rather_than_preparing_another_slot() -> None:
    world = World(slots=2)
    for _ in range(4):
        (job,) = keyed(world, "a")
        world.round()
        assert world.running() == {"q-1": [job]}
        world.run(job)


def test_a_session_that_was_released_binds_no_longer() -> None:
    world = World(slots=1)
    keys = keyed(world, "aba")
    world.round()
    world.started(1)
    world.finish(1)
    world.send(SessionEnded("q", "q-1"))
    assert order(world, keys) == "ba"


def test_a_session_that_broke_binds_no_longer() -> None:
    world = World(slots=1)
    keys = keyed(world, "aba")
    world.round()
    world.started(1)
    world.finish(1, ErrorType.REJECTED, session_lost=True)
    assert order(world, keys) == "ba"


def test_the_end_of_a_session_while_its_slot_is_busy_changes_nothing() -> None:
    world = World(slots=1)
    keyed(world, "a")
    world.round()
    world.send(SessionEnded("q", "q-1"))
    world.send(SessionEnded("q", "no such slot"))
    view = world.scheduler.queue_view("q", world.now)
    assert view.slots[0].session_key == "a"


def test_a_key_counts_as_one_whatever_its_jobs_need() -> None:
    world = World({"cpus": 4}, slots=1)
    one = keyed(world, "aa", resources=(("cpus", 1.0),))
    two = keyed(world, "aab", resources=(("cpus", 2.0),))
    assert order(world, one | two) == "aaaba"
