"""When a cron line comes due. Pure: times go in and out as seconds since the epoch; nothing here looks at a clock."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from itertools import islice
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
FIELDS = {
    "minute": "0 to 59",
    "hour": "0 to 23",
    "day-of-month": "1 to 31, or L for the last",
    "month": "1 to 12, or JAN to DEC",
    "day-of-week": "0 to 7 (0 and 7 are Sunday), or SUN to SAT",
}
SOME_TIME = 946_684_800.0  # 2000-01-01; from here a line has 50 years to come due once
REPEATED_S = 3600.0  # the longest stretch of an autumn night that a clock shows twice
SHOWN = 60  # characters of somebody's text in a message
REPEATED = 200  # times within such a stretch, with some to spare


class BadCron(ValueError):
    """The line or the time zone cannot be used; the message is for the person who wrote it."""


@dataclass(frozen=True, slots=True)
class Missed:
    """Times that have passed: the newest of them, oldest first; `more`: there were earlier ones, left out here."""

    times: tuple[float, ...]
    more: bool


def check(cron: str) -> str:
    """The line itself, if it can be used. Raises BadCron, also for a date that no calendar has."""
    line = _five_fields(cron)
    try:
        CronSim(line, datetime.fromtimestamp(SOME_TIME, UTC))
    except CronSimError as error:
        raise BadCron(_what_is_wrong(cron, line, str(error))) from None
    next_after(cron, "UTC", SOME_TIME)
    return cron


def zone(name: str) -> tzinfo:
    """The time zone of this name. Raises BadCron."""
    if name == "UTC":  # also on a machine without time zone data
        return UTC
    if name in _zones():
        return ZoneInfo(name)
    if len(_zones()) < 2:
        raise BadCron("this machine has no time zone data; install the tzdata package, or use UTC")
    near = difflib.get_close_matches(name[:SHOWN], _zones(), n=1, cutoff=0.7)
    hint = f"did you mean {near[0]}?" if near else "expected is an IANA name such as Europe/Berlin, or UTC"
    raise BadCron(f"{name[:SHOWN]!r} is no time zone; {hint}")


def next_after(cron: str, timezone: str, after: float) -> float:
    """The first time after `after` at which the line comes due. Raises BadCron when there is none within 50 years.

    As Debian's cron: what falls into the hour that spring skips comes right after it, and what names an hour that
    autumn repeats comes once; lines for every hour follow the time that passes.
    """
    line, tz = _five_fields(cron), zone(timezone)
    start = after
    while start <= after + REPEATED_S:
        found = None
        for found in islice(_times(cron, line, start, tz), REPEATED):
            if found > after:  # within a repeated hour the line may look back
                return found
        if found is None:
            break
        start += REPEATED_S / 4
    raise _never(cron)


def missed(cron: str, timezone: str, first: float, last: float, limit: int) -> Missed:
    """The newest `limit` times from `first` to `last`, both included. Costs no more for a longer absence."""
    line, tz = _five_fields(cron), zone(timezone)
    newest: list[float] = []
    for found in islice(_times(cron, line, last + 1, tz, reverse=True), limit + REPEATED):
        if found < first or len(newest) > limit:
            break
        if found <= last and (not newest or found < newest[-1]):
            newest.append(found)
    return Missed(tuple(reversed(newest[:limit])), len(newest) > limit)


def _times(cron: str, line: str, start: float, tz: tzinfo, *, reverse: bool = False) -> Iterator[float]:
    try:
        for found in CronSim(line, datetime.fromtimestamp(start, tz), reverse):
            yield found.timestamp()
    except CronSimError:
        raise _never(cron) from None


def _never(cron: str) -> BadCron:
    return BadCron(f"{cron[:SHOWN]!r} never comes due: no date within 50 years fits its day, month and day of the week")


def _five_fields(cron: str) -> str:
    text = cron.strip()
    if text.startswith("@"):
        line = ALIASES.get(text.lower())
        if line is None:
            raise BadCron(f"{text[:SHOWN]!r} is not known; there are {', '.join(ALIASES)}, and lines of five fields")
        return line
    fields = text.split()
    if len(fields) != len(FIELDS):
        seconds = "; seconds are not supported" if len(fields) == len(FIELDS) + 1 else ""
        raise BadCron(f"expected are five fields ({', '.join(FIELDS)}), found {len(fields)}{seconds}")
    return " ".join(fields)


def _what_is_wrong(cron: str, line: str, message: str) -> str:
    name = message.removeprefix("Bad ")
    if name not in FIELDS:
        return f"{cron[:SHOWN]!r} is not a cron line: {message}"
    field = line.split()[list(FIELDS).index(name)]
    if name == "day-of-month" and _is_a_day(field):
        return f"{cron[:SHOWN]!r} never comes due: no such month has a day {field[:SHOWN]}"
    return f"{field[:SHOWN]!r} is no {name}: expected are {FIELDS[name]}, *, lists, ranges and steps"


def _is_a_day(field: str) -> bool:
    try:
        CronSim(f"0 0 {field} * *", datetime.fromtimestamp(SOME_TIME, UTC))
    except CronSimError:
        return False
    return True


@lru_cache(1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones() | {"UTC"})
