"""How fast the core alone is. Prints; run on purpose: `pytest -m benchmark -s tests/benchmarks/test_core_speed.py`."""

import resource
from time import perf_counter

import pytest

from hpcq.core.effects import Start
from hpcq.core.events import Finished, QueueChanged, SlotsOffered, Started, Submitted
from hpcq.core.job import Moment, NewJob, QueueSettings, Slot, Treatment
from hpcq.core.scheduler import Scheduler

pytestmark = pytest.mark.benchmark

NOW = Moment(1e9, 0.0)


def scheduler_with(slots: int, ahead: int = 0) -> Scheduler:
    scheduler = Scheduler({"cpus": slots})
    scheduler.handle(QueueChanged(QueueSettings("noop", ahead=ahead)), NOW)
    scheduler.handle(SlotsOffered("noop", tuple(Slot(f"noop-{n}") for n in range(slots))), NOW)
    return scheduler


def cycles(scheduler: Scheduler, treatment: Treatment, jobs: int, *, waiting: int = 0) -> float:
    """Submit, start and finish so many jobs, each event by itself and 16 jobs a round; returns jobs a second."""
    handle = scheduler.handle
    begin = perf_counter()
    for first in range(waiting + 1, waiting + jobs + 1, 16):
        for job in range(first, first + 16):
            handle(Submitted((NewJob(job, treatment),)), NOW)
        starts = [effect for effect in scheduler.assign(NOW) if type(effect) is Start]
        scheduler.committed()
        for start in starts:
            handle(Started(start.job, start.attempt), NOW)
        for start in starts:
            handle(Finished(start.job, start.attempt, run_s=0.001), NOW)
    return jobs / (perf_counter() - begin)


@pytest.mark.parametrize(
    ("label", "treatment", "ahead", "waiting"),
    [
        ("plain", Treatment("noop"), 0, 0),
        ("with a cpu each", Treatment("noop", resources=(("cpus", 1.0),)), 0, 0),
        ("with claims ahead", Treatment("noop", resources=(("cpus", 1.0),)), 8, 0),
        ("beside 300,000 waiting", Treatment("noop"), 0, 300_000),
    ],
)
def test_a_cycle_of_submit_start_finish(label: str, treatment: Treatment, ahead: int, waiting: int) -> None:
    scheduler = scheduler_with(16, ahead)
    submit(scheduler, waiting)
    rate = max(cycles(scheduler, treatment, 16_000, waiting=waiting + 16_000 * n) for n in range(3))
    print(f"\ncore, submit + start + finish, {label}: {rate:,.0f} jobs/s")


def submit(scheduler: Scheduler, jobs: int) -> float:
    treatment = Treatment("noop")
    spent_s = 0.0
    for first in range(1, jobs + 1, 1000):
        slice_ = tuple(NewJob(job, treatment) for job in range(first, first + 1000))
        begin = perf_counter()
        scheduler.handle(Submitted(slice_), NOW)
        spent_s += perf_counter() - begin
    return spent_s


def test_a_million_waiting_jobs() -> None:
    scheduler = scheduler_with(0)
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    spent_s = submit(scheduler, 1_000_000)
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) / 1024
    print(f"\ncore, a million submitted in slices: {spent_s:.2f} µs a job, {grown_mb:.0f} MB more")
    assert scheduler.queue_view("noop", NOW).counts["queued"] == 1_000_000  # type: ignore[index]
