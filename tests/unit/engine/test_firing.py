from datetime import UTC, datetime

import pytest

from hpcq.engine.cron import BadCron
from hpcq.engine.firing import BUSY, Decision, decide, waiting_since
from hpcq.store.rows import ScheduleRow, ScheduleRun

NOON = datetime(2026, 5, 13, 12, tzinfo=UTC).timestamp()
HOUR = 3600.0
WATCHED = NOON - HOUR / 2  # since when the clock has been watched


def hourly(due: float = NOON, overlap: str = "skip", catch_up: str = "none", cron: str = "0 * * * *") -> ScheduleRow:
    return ScheduleRow("id", "default", "hourly", cron, "UTC", b"[]", overlap, catch_up, False, due, 0.0, 0.0)


def run(outcome: str, due: float) -> ScheduleRun:
    return ScheduleRun("id", due, due, outcome)


def decided(
    row: ScheduleRow, now: float, since: float = WATCHED, *, busy: bool = False, waiting: bool = False
) -> Decision:
    return decide(row, now, since, busy=busy, waiting=waiting)


@pytest.mark.parametrize("overlap", ["skip", "queue", "allow"])
def test_a_time_that_has_come_fires_when_nothing_is_in_the_way(overlap: str) -> None:
    assert decided(hourly(overlap=overlap), NOON + 0.01) == Decision(NOON + HOUR, "fired", NOON, None)


def test_overlap_skip_lets_the_time_pass_while_the_last_run_goes_on() -> None:
    assert decided(hourly(), NOON, busy=True) == Decision(NOON + HOUR, "skipped", NOON, BUSY)


def test_overlap_queue_records_that_the_time_waits_and_then_says_no_more() -> None:
    row = hourly(overlap="queue")
    assert decided(row, NOON, busy=True) == Decision(NOON, "waiting", NOON, BUSY)
    assert decided(row, NOON + 60, busy=True, waiting=True) == Decision(NOON)


def test_at_most_one_time_waits_and_later_ones_are_left_out() -> None:
    done = decided(hourly(overlap="queue"), NOON + 2.5 * HOUR, waiting=True)
    assert done == Decision(NOON + 3 * HOUR, "fired", NOON, "9000 s late; times left out since: 2")


def test_a_time_that_waited_through_a_restart_is_not_counted_as_missed() -> None:
    row, since = hourly(overlap="queue", catch_up="none"), NOON + HOUR / 2
    assert decided(row, since, since, waiting=True).outcome == "fired"
    assert decided(row, since, since).outcome == "skipped"


def test_catch_up_none_skips_what_was_missed_in_one_line_and_goes_on_in_the_future() -> None:
    since = NOON + 5.5 * HOUR
    done = decided(hourly(), since, since)
    assert (done.outcome, done.due_at, done.next_run_at) == ("skipped", NOON + 5 * HOUR, NOON + 6 * HOUR)
    assert done.detail == (
        "missed while the server was not running: 6 times from 2026-05-13T12:00:00.000Z to 2026-05-13T17:00:00.000Z"
    )


def test_catch_up_one_fires_once_for_all_that_was_missed() -> None:
    since = NOON + 5.5 * HOUR
    done = decided(hourly(catch_up="one"), since, since)
    assert (done.outcome, done.due_at, done.next_run_at) == ("fired", NOON + 5 * HOUR, NOON + 6 * HOUR)


@pytest.mark.parametrize(("overlap", "outcome"), [("skip", "skipped"), ("queue", "waiting")])
def test_catch_up_one_minds_a_run_that_has_outlived_the_restart(overlap: str, outcome: str) -> None:
    since = NOON + 5.5 * HOUR
    done = decided(hourly(overlap=overlap, catch_up="one"), since, since, busy=True)
    assert (done.outcome, done.due_at) == (outcome, NOON + 5 * HOUR)


def test_catch_up_all_fires_each_missed_time_one_after_the_other() -> None:
    since, due, fired = NOON + 2.5 * HOUR, NOON, []
    while due <= since:
        done = decided(hourly(due, catch_up="all"), since, since)
        assert done.next_run_at
        assert done.outcome == "fired"
        fired.append(done.due_at)
        due = done.next_run_at
    assert fired == [NOON, NOON + HOUR, NOON + 2 * HOUR]
    assert due == NOON + 3 * HOUR


@pytest.mark.parametrize("overlap", ["skip", "queue"])
def test_catch_up_all_skips_nothing_because_of_a_run_that_goes_on(overlap: str) -> None:
    since = NOON + 2.5 * HOUR
    assert decided(hourly(overlap=overlap, catch_up="all"), since, since, busy=True) == Decision(NOON)


def test_catch_up_all_makes_good_the_newest_hundred_and_skips_the_others_in_one_line() -> None:
    since = NOON + 250.5 * HOUR
    done = decided(hourly(catch_up="all"), since, since)
    assert (done.outcome, done.due_at, done.next_run_at) == ("skipped", NOON, NOON + 151 * HOUR)
    assert done.next_run_at
    again = decided(hourly(done.next_run_at, catch_up="all"), since, since)
    assert (again.outcome, again.due_at) == ("fired", NOON + 151 * HOUR)


def test_a_time_that_the_zone_no_longer_has_is_passed_over() -> None:
    since = NOON + HOUR / 2
    assert decided(hourly(NOON + 60), since, since) == Decision(NOON + HOUR)


def test_a_line_that_cannot_be_used_any_more_is_said_so() -> None:
    with pytest.raises(BadCron):
        decided(hourly(cron="never"), NOON)


def test_after_a_restart_the_time_that_waits_is_known_from_the_last_runs() -> None:
    assert waiting_since([run("waiting", NOON), run("fired", NOON - HOUR)]) == NOON
    assert waiting_since([run("fired", NOON), run("waiting", NOON)]) is None
    assert waiting_since([run("fired", NOON + 5), run("waiting", NOON)]) == NOON  # a run by hand came in between
    assert waiting_since([]) is None
