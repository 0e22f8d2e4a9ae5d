from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hpcq.engine.cron import ALIASES, BadCron, check, missed, next_after, zone

BERLIN = "Europe/Berlin"


def at(text: str, timezone: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(timezone)).timestamp()


def utc(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%d %H:%M")


def following(cron: str, timezone: str, after: str, count: int) -> list[str]:
    """The next times as UTC text; `after` is UTC too."""
    found = [at(after)]
    for _ in range(count):
        found.append(next_after(cron, timezone, found[-1]))
    return [utc(one) for one in found[1:]]


@pytest.mark.parametrize(
    ("alias", "due"),
    [
        ("@hourly", "2026-05-13 11:00"),
        ("@daily", "2026-05-14 00:00"),
        ("@midnight", "2026-05-14 00:00"),
        ("@weekly", "2026-05-17 00:00"),  # a Sunday
        ("@monthly", "2026-06-01 00:00"),
        ("@yearly", "2027-01-01 00:00"),
        ("@annually", "2027-01-01 00:00"),
        ("@Daily", "2026-05-14 00:00"),
    ],
)
def test_each_alias_stands_for_its_five_fields(alias: str, due: str) -> None:
    assert utc(next_after(check(alias), "UTC", at("2026-05-13 10:20"))) == due


def test_a_time_is_strictly_after_the_one_asked_about() -> None:
    assert utc(next_after("20 10 * * *", "UTC", at("2026-05-13 10:20"))) == "2026-05-14 10:20"
    assert utc(next_after("20 10 * * *", "UTC", at("2026-05-13 10:20") - 0.001)) == "2026-05-13 10:20"


def test_fields_are_read_in_the_zone_of_the_schedule() -> None:
    assert following("0 2 * * *", BERLIN, "2026-01-10 00:00", 1) == ["2026-01-10 01:00"]
    assert following("0 2 * * *", "Asia/Kathmandu", "2026-01-10 00:00", 1) == ["2026-01-10 20:15"]


def test_a_time_in_the_hour_that_spring_skips_comes_right_after_that_hour() -> None:
    # On 29 March 2026 the clocks go from 02:00 (01:00 UTC) to 03:00.
    assert following("30 2 * * *", BERLIN, "2026-03-28 00:00", 3) == [
        "2026-03-28 01:30",
        "2026-03-29 01:00",
        "2026-03-30 00:30",
    ]


def test_a_time_in_the_hour_that_autumn_repeats_comes_once() -> None:
    # On 25 October 2026 the clocks go from 03:00 (01:00 UTC) back to 02:00.
    expected = ["2026-10-24 00:30", "2026-10-25 00:30", "2026-10-26 01:30"]
    assert following("30 2 * * *", BERLIN, "2026-10-24 00:00", 3) == expected


def test_after_the_second_pass_of_a_repeated_hour_the_next_day_comes() -> None:
    assert following("30 2 * * *", BERLIN, "2026-10-25 01:15", 1) == ["2026-10-26 01:30"]  # 02:15 again
    assert following("* 2 * * *", BERLIN, "2026-10-25 01:00", 1) == ["2026-10-25 01:01"]  # a line that follows time


def test_lines_for_every_hour_follow_the_time_that_passes() -> None:
    hourly = [f"2026-10-24 {hour}:00" for hour in (22, 23)] + [f"2026-10-25 0{hour}:00" for hour in range(4)]
    assert following("0 * * * *", BERLIN, "2026-10-24 21:30", 6) == hourly
    spring = ["2026-03-29 00:00", "2026-03-29 01:00", "2026-03-29 02:00"]
    assert following("0 * * * *", BERLIN, "2026-03-28 23:30", 3) == spring


def test_the_29th_of_february_comes_in_leap_years_only() -> None:
    assert following("0 0 29 2 *", "UTC", "2026-01-01 00:00", 2) == ["2028-02-29 00:00", "2032-02-29 00:00"]


def test_the_last_day_of_the_month_can_be_named() -> None:
    assert following("0 0 L * *", "UTC", "2026-01-31 12:00", 1) == ["2026-02-28 00:00"]


@pytest.mark.parametrize(
    ("cron", "sentence"),
    [
        ("0 0 30 2 *", "never comes due"),
        ("0 0 31 4,6 *", "never comes due"),
        ("0 0 */30 2 MON#5", "never comes due"),  # the fifth Monday on the 1st or 31st of February
        ("* * * * * *", "found 6; seconds are not supported"),
        ("* * *", "expected are five fields (minute, hour, day-of-month, month, day-of-week), found 3"),
        ("", "found 0"),
        ("60 * * * *", "'60' is no minute: expected are 0 to 59"),
        ("* 24 * * *", "'24' is no hour"),
        ("* * 0 * *", "'0' is no day-of-month"),
        ("* * * FEBRUARY *", "'FEBRUARY' is no month"),
        ("* * * * MON-X", "'MON-X' is no day-of-week"),
        ("*/0 * * * *", "'*/0' is no minute"),
        ("@reboot", "there are @hourly, @daily"),
    ],
)
def test_a_line_that_cannot_be_used_is_refused_with_a_sentence(cron: str, sentence: str) -> None:
    with pytest.raises(BadCron) as refused:
        check(cron)
    assert sentence in str(refused.value)


@given(st.text(alphabet="0123456789*/,-#LWMONsun @²\n", max_size=40))
@example("* * * * ²L")
@example("* * L/2 * *")
@example("* * * * 5L/2")
def test_whatever_the_text_it_is_accepted_and_comes_due_or_refused(text: str) -> None:
    try:
        accepted = check(text)
    except BadCron:
        return
    assert next_after(accepted, BERLIN, 1.79e9) > 1.79e9


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Europe/Berln", "did you mean Europe/Berlin?"),
        ("../../etc/passwd", "expected is an IANA name"),
        ("/usr/share/zoneinfo/UTC", "IANA"),
        ("\x00", "IANA"),
    ],
)
def test_an_unknown_time_zone_is_refused_with_the_nearest_name(name: str, sentence: str) -> None:
    with pytest.raises(BadCron) as refused:
        zone(name)
    assert sentence in str(refused.value)


def test_missed_times_are_the_newest_and_say_when_there_were_more() -> None:
    found = missed("0 * * * *", "UTC", at("2026-05-13 01:00"), at("2026-05-13 05:00"), 3)
    assert [utc(one) for one in found.times] == ["2026-05-13 03:00", "2026-05-13 04:00", "2026-05-13 05:00"]
    assert found.more
    exact = missed("0 * * * *", "UTC", at("2026-05-13 03:00"), at("2026-05-13 05:59"), 3)
    assert (len(exact.times), exact.more) == (3, False)


def test_between_two_times_nothing_is_missed() -> None:
    assert missed("0 * * * *", "UTC", at("2026-05-13 03:01"), at("2026-05-13 03:59"), 5).times == ()


def test_a_year_of_missed_minutes_is_told_by_its_newest_alone() -> None:
    found = missed("* * * * *", "UTC", at("2025-05-13 00:00"), at("2026-05-13 00:00"), 100)
    assert (len(found.times), found.more, utc(found.times[-1])) == (100, True, "2026-05-13 00:00")


@given(
    cron=st.sampled_from(["30 2 * * *", "*/15 * * * *", "0 3 * * 0", "15 */2 * * *", *ALIASES]),
    timezone=st.sampled_from(["UTC", BERLIN, "America/New_York", "Asia/Kathmandu", "Australia/Sydney"]),
    first=st.integers(1_760_000_000, 1_800_000_000),
    hours=st.integers(0, 100),
)
@example("30 2 * * *", BERLIN, int(at("2026-03-28 00:00")), 60)
@example("30 2 * * *", BERLIN, int(at("2026-10-24 00:00")), 60)
@example("*/15 * * * *", BERLIN, int(at("2026-10-24 22:00")), 10)
def test_missed_times_are_those_that_would_have_come(cron: str, timezone: str, first: int, hours: int) -> None:
    last = first + hours * 3600.0
    found, expected = missed(cron, timezone, first, last, 1000), []
    due = next_after(cron, timezone, first - 1)
    while due <= last:
        expected.append(due)
        due = next_after(cron, timezone, due)
    assert list(found.times) == expected
    assert not found.more
