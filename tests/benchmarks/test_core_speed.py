"""How fast the core alone is, beside its limit: making the same events and effects, and deciding nothing.

Run on purpose: `pytest -m benchmark -s tests/benchmarks/test_core_speed.py`. The best of many short samples is
printed, because other work on the machine can only slow a sample down.
"""

import resource
from time import perf_counter

import pytest

from hpcq.core.effects import Effect, Save, Start
from hpcq.core.events import Finished, QueueChanged, SlotsOffered, Started, Submitted
from hpcq.core.job import FRESH, History, Moment, NewJob, QueueSettings, Slot, State, Treatment
from hpcq.core.scheduler import Scheduler

pytestmark = pytest.mark.benchmark

NOW = Moment(1e9, 0.0)
SAMPLE = 1600  # jobs
SAMPLES = 40


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
    rate = max(cycles(scheduler, treatment, SAMPLE, waiting=waiting + SAMPLE * n) for n in range(SAMPLES))
    limit = max(bare(treatment, SAMPLE) for _ in range(SAMPLES))
    print(f"\ncore, submit + start + finish, {label}: {rate:,.0f} jobs/s (limit {limit:,.0f})")


def bare(treatment: Treatment, jobs: int) -> float:
    """The events and effects of as many jobs, made and dropped; returns jobs a second."""
    begin = perf_counter()
    for job in range(jobs):
        Submitted((NewJob(job, treatment),))
        history = History(1)
        out: list[Effect] = [
            Save(job, State.QUEUED, FRESH, "job.submitted"),
            Save(job, State.STARTING, history, None, None, "noop-1"),
            Start(job, 1, "noop", "noop-1"),
        ]
        Started(job, 1)
        out.append(Save(job, State.RUNNING, history, "job.started", None, "noop-1"))
        Finished(job, 1, run_s=0.001)
        out.append(Save(job, State.SUCCEEDED, history, "job.succeeded", attempt_ended=True))
    return jobs / (perf_counter() - begin)


def submit(scheduler: Scheduler, jobs: int) -> float:
    """Submit so many in slices of 1,000; returns the µs a job of the best slice."""
    treatment = Treatment("noop")
    best_s = 1.0
    for first in range(1, jobs + 1, 1000):
        slice_ = tuple(NewJob(job, treatment) for job in range(first, first + 1000))
        begin = perf_counter()
        scheduler.handle(Submitted(slice_), NOW)
        best_s = min(best_s, perf_counter() - begin)
    return best_s * 1000


def test_a_million_waiting_jobs() -> None:
    scheduler = scheduler_with(0)
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    spent_us = submit(scheduler, 1_000_000)
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) / 1024
    print(f"\ncore, a million submitted in slices: {spent_us:.2f} µs a job, {grown_mb:.0f} MB more")
    assert scheduler.queue_view("noop", NOW).counts["queued"] == 1_000_000  # type: ignore[index]
