"""What a failed attempt leads to."""

import pytest

from hpcq.core.job import Error, ErrorType, History, RetryPolicy, State, StopReason, Treatment
from hpcq.core.retry import CRASHES_MAX, INFRA_MAX, Attempt, backoff_s, verdict
from tests.support.world import World

CHARGED = [ErrorType.EXIT, ErrorType.SIGNAL, ErrorType.TIMEOUT, ErrorType.OOM, ErrorType.EXCEPTION]
TWICE = Treatment("q", retries=RetryPolicy(max=2))


@pytest.mark.parametrize("failure", CHARGED)
def test_what_the_job_did_is_charged(failure: ErrorType) -> None:
    first = verdict(Attempt(TWICE, History(1), failure))
    assert (first.state, first.event, first.history.retries_used) == (State.DELAYED, "job.retrying", 1)
    last = verdict(Attempt(TWICE, History(3, retries_used=2), failure))
    assert (last.state, last.event, last.history.retries_used) == (State.FAILED, "job.failed", 2)


def test_what_is_not_allowed_is_never_tried_again() -> None:
    assert verdict(Attempt(TWICE, History(1), ErrorType.REJECTED)).state is State.FAILED


def test_what_was_lost_goes_back_at_once_and_uncharged() -> None:
    outcome = verdict(Attempt(Treatment("q"), History(7, crashes=1), ErrorType.LOST))
    assert (outcome.state, outcome.event, outcome.delay_s) == (State.QUEUED, "job.retrying", 0)
    assert outcome.history == History(7, crashes=1)


def test_broken_devices_are_not_charged_but_have_a_cap_of_their_own() -> None:
    history = History(1)
    for used in range(INFRA_MAX):
        outcome = verdict(Attempt(Treatment("q"), history, ErrorType.INFRA, draw=0.5))
        assert (outcome.state, outcome.elsewhere) == (State.DELAYED, True)
        assert outcome.delay_s == 0.5 * 2**used
        history = outcome.history
    assert (history.infra_used, history.retries_used) == (INFRA_MAX, 0)
    assert verdict(Attempt(TWICE, history, ErrorType.INFRA)).state is State.FAILED


def test_jitter_is_a_draw_below_the_growing_and_capped_pause() -> None:
    policy = RetryPolicy(max=99, backoff_s=2, factor=3, max_backoff_s=30)
    pauses = [
        verdict(Attempt(Treatment("q", retries=policy), History(1, used), ErrorType.EXIT, draw=0.25)).delay_s
        for used in range(4)
    ]
    assert pauses == [0.5, 1.5, 4.5, 7.5]


def test_without_jitter_the_pause_is_exact() -> None:
    policy = RetryPolicy(max=99, backoff_s=2, factor=3, max_backoff_s=30, jitter=False)
    treatment = Treatment("q", retries=policy)
    pauses = [verdict(Attempt(treatment, History(1, used), ErrorType.EXIT, draw=0.25)).delay_s for used in range(4)]
    assert pauses == [2, 6, 18, 30]


def test_a_pause_beyond_all_numbers_is_the_longest() -> None:
    assert backoff_s(100_000, 1.0, 10.0, 60.0, 1.0) == 60.0


@pytest.mark.parametrize("failure", [ErrorType.EXIT, ErrorType.INFRA])
def test_what_the_outcome_asks_for_is_the_least_pause(failure: ErrorType) -> None:
    for asked, pause in ((0.1, 1.0), (90.0, 90.0)):
        attempt = Attempt(TWICE, History(1), failure, retry_after_s=asked, draw=1.0)
        assert verdict(attempt).delay_s == pause


def test_no_pause_means_queued_at_once() -> None:
    policy = RetryPolicy(max=1, backoff_s=0)
    outcome = verdict(Attempt(Treatment("q", retries=policy), History(1), ErrorType.EXIT))
    assert (outcome.state, outcome.event) == (State.QUEUED, "job.retrying")


def test_three_dead_workers_in_a_row_are_enough() -> None:
    many = Treatment("q", retries=RetryPolicy(max=99))
    history = History(1)
    for n in range(1, CRASHES_MAX):
        outcome = verdict(Attempt(many, history, ErrorType.SIGNAL, crashed=True))
        assert (outcome.state, outcome.history.crashes, outcome.history.retries_used) == (State.DELAYED, n, n)
        history = outcome.history
    outcome = verdict(Attempt(many, history, ErrorType.SIGNAL, crashed=True))
    assert outcome.state is State.FAILED
    assert outcome.error is not None
    assert outcome.error.type is ErrorType.LOST
    assert "its worker" in outcome.error.message


def test_a_dead_worker_is_charged_like_any_signal() -> None:
    outcome = verdict(Attempt(Treatment("q"), History(1), ErrorType.SIGNAL, crashed=True))
    assert (outcome.state, outcome.error) == (State.FAILED, None)


@pytest.mark.parametrize("failure", [None, *CHARGED, ErrorType.INFRA])
def test_a_completed_attempt_breaks_the_row_of_crashes(failure: ErrorType | None) -> None:
    assert verdict(Attempt(TWICE, History(3, crashes=2), failure)).history.crashes == 0


@pytest.mark.parametrize(
    ("stop", "state", "event", "error"),
    [
        (StopReason.CANCEL, State.CANCELLED, "job.cancelled", None),
        (StopReason.DRAIN, State.QUEUED, "job.queued", None),
        (StopReason.LEASE, State.QUEUED, "job.retrying", ErrorType.LOST),
        (StopReason.TIMEOUT, State.FAILED, "job.failed", ErrorType.TIMEOUT),
        (StopReason.OOM, State.FAILED, "job.failed", ErrorType.OOM),
    ],
)
@pytest.mark.parametrize("failure", [None, ErrorType.SIGNAL, ErrorType.INFRA, ErrorType.REJECTED])
def test_the_reason_of_a_stop_decides_whatever_the_outcome_says(
    stop: StopReason, state: State, event: str, error: ErrorType | None, failure: ErrorType | None
) -> None:
    outcome = verdict(Attempt(Treatment("q"), History(2), failure, stop, crashed=True))
    assert (outcome.state, outcome.event) == (state, event)
    assert (outcome.error.type if outcome.error else None) is error
    assert outcome.history == History(2)


def test_what_was_stopped_for_its_own_fault_is_tried_again_if_it_may() -> None:
    for stop in (StopReason.TIMEOUT, StopReason.OOM):
        outcome = verdict(Attempt(TWICE, History(1), None, stop))
        assert (outcome.state, outcome.history.retries_used) == (State.DELAYED, 1)


def test_the_message_names_the_limit() -> None:
    limits = Treatment("q", resources=(("memory_mb", 512.0),), timeout_s=90)
    slow = verdict(Attempt(limits, History(1), None, StopReason.TIMEOUT)).error
    large = verdict(Attempt(limits, History(1), None, StopReason.OOM)).error
    assert isinstance(slow, Error)
    assert isinstance(large, Error)
    assert "90 s" in slow.message
    assert "512" in large.message


def test_attempts_and_retries_are_counted_to_the_end() -> None:
    world = World(slots=1)
    job = world.submit(retries=RetryPolicy(max=2, backoff_s=10, jitter=False))
    world.round()
    world.run(job, ErrorType.EXIT)
    assert (world.state(job), world.saved[job].due) == ("delayed", 1010.0)
    assert world.saved[job].attempt_ended
    world.later(9)
    assert world.state(job) == "delayed"
    world.later(1)
    assert (world.state(job), world.attempt(job)) == ("starting", 2)
    world.run(job, ErrorType.EXIT)
    world.later(20)
    world.run(job, ErrorType.EXIT)
    assert (world.state(job), world.attempt(job), world.saved[job].history.retries_used) == ("failed", 3, 2)
    assert world.events[job] == [
        "job.submitted",
        *["job.started", "job.retrying", "job.queued"] * 2,
        "job.started",
        "job.failed",
    ]


def test_a_retried_job_goes_before_younger_ones() -> None:
    world = World(slots=1)
    jobs = world.many(3, retries=RetryPolicy(max=1, backoff_s=0))
    world.round()
    world.started(jobs[0])
    world.finish(jobs[0], ErrorType.EXIT)
    assert world.drain_queue() == jobs


def test_after_a_broken_device_another_slot_is_tried() -> None:
    world = World(slots=2)
    busy, job = world.many(2)
    world.round()
    world.run(busy)
    world.run(job, ErrorType.INFRA, session_lost=True, draw=0.5)
    again = world.submit()
    world.later(60)
    assert world.running() == {"q-1": [job], "q-2": [again]}


def test_a_slot_that_failed_a_job_is_taken_when_there_is_no_other() -> None:
    world = World(slots=1)
    job = world.submit()
    world.round()
    world.run(job, ErrorType.INFRA)
    world.later(60)
    assert world.running() == {"q-1": [job]}


def test_a_job_that_takes_its_worker_with_it_ends_as_lost() -> None:
    world = World(slots=1)
    job = world.submit(retries=RetryPolicy(max=9, backoff_s=0))
    world.round()
    for _ in range(3):
        world.run(job, ErrorType.SIGNAL, worker_died=True)
    assert world.state(job) == "failed"
    error = world.saved[job].error
    assert error is not None
    assert error.type is ErrorType.LOST
