"""What waiting costs: integers in groups, of which only the heads are looked at."""

import gc
import tracemalloc

import pytest

from hpcq.core import book
from hpcq.core.events import Reopened, Submitted
from hpcq.core.groups import SLACK, SWEEP
from hpcq.core.job import Dependency, ErrorType, History, NewJob, RetryPolicy, State, Treatment
from tests.support.world import World


def test_equal_treatments_share_one_group() -> None:
    world = World(slots=0)
    for _ in range(10):
        world.submit(session_key="k", retries=RetryPolicy(max=2))
    assert len(world.scheduler.book.kinds) == 1
    assert len(list(world.scheduler.book.queue("q").levels.groups())) == 1


def test_jobs_that_differ_only_in_their_timeout_share_a_group_but_keep_their_own() -> None:
    world = World(slots=1)
    first, second = world.submit(timeout_s=5.0), world.submit(timeout_s=9.0)
    assert len(list(world.scheduler.book.queue("q").levels.groups())) == 1
    assert world.drain_queue() == [first, second]


def test_tombstones_are_cleared_away() -> None:
    world = World(slots=1)
    jobs = world.many(1000)
    for job in jobs[1:-1]:
        world.scheduler.book.end_waiting(job, State.CANCELLED, "job.cancelled")
    (group,) = world.scheduler.book.queue("q").levels.groups()
    assert len(group.jobs) <= 2 * 2 + SLACK + 1
    assert world.drain_queue() == [jobs[0], jobs[-1]]


def test_jobs_that_come_back_are_cleared_away_too() -> None:
    world = World(slots=1)
    jobs = world.many(4)
    for n in range(500):
        for job in jobs[1:3]:
            world.scheduler.book.out = []
            world.scheduler.book.end_waiting(job, State.CANCELLED, "job.cancelled")
            world.scheduler.handle(Reopened(NewJob(job, Treatment("q"), History(reopened=n + 1))), world.now)
    (group,) = world.scheduler.book.queue("q").levels.groups()
    assert len(group.jobs) + len(group.early) <= 2 * 4 + SLACK + 2
    assert group.waiting() == jobs


def test_empty_groups_and_kinds_are_forgotten_now_and_then() -> None:
    world = World(slots=1)
    keeper = world.submit(priority=-100)
    for n in range(3 * SWEEP):
        job = NewJob(n + 10, Treatment("q", org_id=f"org-{n}", session_key=f"key-{n}"))
        world.scheduler.handle(Submitted((job,)), world.now)
        world.scheduler.book.out = []
        world.scheduler.book.end_waiting(job.job, State.CANCELLED, "job.cancelled")
    book = world.scheduler.book
    assert len(list(book.queue("q").levels.groups())) <= SWEEP + 1
    assert len(book.kinds) <= 2 * SWEEP
    assert len(book.kinds_by_id) == len(book.kinds)
    assert world.drain_queue() == [keeper]


def test_a_live_job_goes_back_to_a_group_that_was_forgotten() -> None:
    world = World(slots=1)
    job = world.submit(session_key="old", retries=RetryPolicy(max=1, backoff_s=0))
    world.round()
    levels = world.scheduler.book.queue("q").levels
    levels.sweep_at = 0
    other = world.submit(session_key="new")
    assert [group.session_key for group in levels.groups()] == ["new"]
    world.started(job)
    world.finish(job, ErrorType.EXIT)
    assert world.drain_queue() == [job, other]


def test_a_shelf_with_many_keys_finds_the_oldest_again_and_again() -> None:
    world = World()
    world.queue("q", 1, batch_size=1)
    jobs = [world.submit(session_key=f"key-{n % 7}") for n in range(70)]
    assert world.drain_queue() == jobs


def test_a_waiting_job_costs_little_memory() -> None:
    world = World(slots=0)
    treatment = Treatment("q")
    slices = [tuple(NewJob(job, treatment) for job in range(first, first + 1000)) for first in range(1, 50_000, 1000)]
    gc.collect()
    tracemalloc.start()
    for each in slices:
        world.scheduler.handle(Submitted(each), world.now)
    world.scheduler.book.out = []
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown / 50_000 < 120, "bytes a waiting job, without its integer"


class CountingTable(dict[int, object]):
    """A table that counts how often it is asked."""

    def __init__(self, of: dict[int, object]) -> None:
        super().__init__(of)
        self.asked = 0

    def get(self, key: int, default: object = None) -> object:
        self.asked += 1
        return super().get(key, default)


def test_a_decision_looks_at_no_more_jobs_when_more_wait() -> None:
    looks = []
    for waiting in (10, 10_000):
        world = World({"cpus": 1}, slots=2)
        world.submit(resources=(("cpus", 1.0),))
        world.round()
        jobs = tuple(world.job(resources=(("cpus", 1.0),), session_key=str(n % 3)) for n in range(waiting))
        world.scheduler.handle(Submitted(jobs), world.now)
        groups = list(world.scheduler.book.queue("q").levels.groups())
        table = CountingTable(world.scheduler.book.queued)  # type: ignore[arg-type]
        for group in groups:
            group.queued = table  # type: ignore[assignment]
        world.scheduler.assign(world.now)
        looks.append(table.asked)
    assert looks[0] == looks[1] > 0


def test_a_large_fan_out_costs_each_round_a_slice() -> None:
    world = World(slots=1)
    parent = world.submit()
    for _ in range(5):
        jobs = tuple(world.job(depends_on=(Dependency(parent),)) for _ in range(1000))
        world.scheduler.handle(Submitted(jobs), world.now)
    world.round()
    world.started(parent)
    world.finish(parent)
    released = []
    while world.scheduler.book.deps.worklist:
        effects = world.scheduler.assign(world.now)
        released.append(sum(getattr(effect, "event", None) == "job.queued" for effect in effects))
    assert released == [1000] * 5


def test_a_treatment_that_lost_its_last_job_in_the_middle_of_an_array_is_known_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(book, "KINDS", 0)
    world = World(slots=1)
    world.scheduler.book.unheld_max = 0
    treatment = Treatment("q")
    broken = Dependency(99, ended=State.FAILED)
    world.send(Submitted((NewJob(1, treatment, depends_on=(broken,)), NewJob(2, treatment))))
    assert list(world.scheduler.book.kinds) == [treatment]
    assert world.scheduler.book.queued[2] is world.scheduler.book.kinds[treatment]
