"""What readers find, page by page, and what they never see."""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hpcq.core.job import Error as Verdict
from hpcq.core.job import ErrorType, State
from hpcq.store.cursor import BadCursor
from hpcq.store.filter import Filter
from hpcq.store.reader import Reader
from hpcq.store.rows import (
    AppRow,
    AttemptRow,
    BlobRow,
    CaseRow,
    EditRow,
    EventRow,
    JobRow,
    Round,
    ScheduleRow,
    ScheduleRun,
    VerdictsRow,
)
from hpcq.store.tests import CaseFilter
from hpcq.store.writer import Writer
from tests.support.storerows import NOW, ended, job_id, jobs_with, new, reading, saved, submitted, writing


@dataclass
class Store:
    """Both ends of one file."""

    writer: Writer
    reader: Reader

    async def found(self, org: str | None = None, **wanted: Any) -> list[int]:
        rows, _ = await self.reader.jobs(org, Filter(**wanted), 1000)
        return [row.job for row in rows]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    path = tmp_path / "hpcq.db"
    async with writing(path) as writer, reading(path) as reader:
        yield Store(writer, reader)


def schedule(id_: str, org_id: str) -> ScheduleRow:
    return ScheduleRow(id_, org_id, "nightly", "0 2 * * *", "UTC", b"[]", "skip", "one", False, NOW, NOW, NOW)


async def two_orgs(store: Store) -> None:
    """Jobs 1 (org a) and 2 (org b), both failed, with attempts, events, tags and schedules."""
    rows = [new(job, org_id=org, queue=f"of-{org}", tags=((f"key-{org}", org),)) for job, org in ((1, "a"), (2, "b"))]
    schedules = [schedule("sa", "a"), schedule("sb", "b")]
    runs = [ScheduleRun("sa", NOW, NOW, "fired"), ScheduleRun("sb", NOW, NOW, "fired")]
    await store.writer.commit(submitted(*rows, schedules=schedules, schedule_runs=runs))
    attempts = [AttemptRow(job, 1, "failed", "s", NOW, NOW + 1) for job in (1, 2)]
    ends = [ended(job, State.FAILED, NOW + 1, error=b'{"type":"exit"}') for job in (1, 2)]
    case = CaseRow("t", "a test", "a.spec.js", 1, "passed", 1.0)
    verdicts = [VerdictsRow(job, org, None, NOW, (case,)) for job, org in ((1, "a"), (2, "b"))]
    await store.writer.commit(Round(NOW, saves=ends, attempts=attempts, verdicts=verdicts))
    await store.writer.commit(submitted(new(3, org_id="a"), new(4, org_id="b")))
    for org in ("a", "b"):
        await store.writer.keep_blob(BlobRow(org * 64, 1, NOW, NOW), org)
        await store.writer.name_app(AppRow(org, "rc1", org * 64, NOW))


# Each read as (reader, org) -> what it found of org a and org b: a set of names of orgs.
READS: dict[str, Callable[[Reader, str | None], Awaitable[set[str]]]] = {}


def read(function: Callable[[Reader, str | None], Awaitable[set[str]]]) -> None:
    READS[function.__name__] = function


def orgs(rows: list[JobRow]) -> set[str]:
    return {row.org_id for row in rows}


@read
async def job(reader: Reader, org: str | None) -> set[str]:
    return orgs([row for number in (1, 2) if (row := await reader.job(org, job_id(number)))])


@read
async def jobs(reader: Reader, org: str | None) -> set[str]:
    wanted = [
        Filter(), Filter(states=("failed",)), Filter(queues=("of-a", "of-b", "local")), Filter(text="0193"),
        Filter(number=1), Filter(number=2), Filter(error_type="exit"), Filter(finished_after=NOW),
        Filter(tags=(("key-a", "a"),)), Filter(tags=(("key-b", "b"),)), Filter(org_id="a"), Filter(org_id="b"),
    ]  # fmt: skip
    found = [await reader.jobs(org, each) for each in wanted]
    return orgs([row for rows, _ in found for row in rows])


@read
async def summary(reader: Reader, org: str | None) -> set[str]:
    wanted = {"a": [("key-a", "a")], "b": [("key-b", "b")]}
    tagged = {name for name, tags in wanted.items() if await reader.summary(org, Filter(tags=tuple(tags)))}
    queued = {name for name in wanted if await reader.summary(org, Filter(queues=(f"of-{name}",)))}
    assert tagged == queued
    assert sum((await reader.summary(org, Filter())).values()) == 2 * len(tagged)
    return tagged


@read
async def attempts(reader: Reader, org: str | None) -> set[str]:
    return {name for name, number in (("a", 1), ("b", 2)) if await reader.attempts(org, job_id(number))}


@read
async def tests(reader: Reader, org: str | None) -> set[str]:
    return {stats.org_id for stats in (await reader.tests(org, CaseFilter()))[0]}


@read
async def blob(reader: Reader, org: str | None) -> set[str]:
    return {name for name in ("a", "b") if await reader.blob(org, name * 64)}


@read
async def apps(reader: Reader, org: str | None) -> set[str]:
    return {app.org_id for app in (await reader.apps(org))[0]}


@read
async def events_of(reader: Reader, org: str | None) -> set[str]:
    found = [event for number in (1, 2) for event in await reader.events_of(org, job_id(number))]
    return {event.org_id or "" for event in found}


@read
async def events_after(reader: Reader, org: str | None) -> set[str]:
    return {event.org_id or "" for event in await reader.events_after(org, 0, 100)}


@read
async def public_ids(reader: Reader, org: str | None) -> set[str]:
    return {{1: "a", 2: "b"}[number] for number in await reader.public_ids(org, [1, 2, 99])}


@read
async def oldest_waiting(reader: Reader, org: str | None) -> set[str]:
    row = await reader.oldest_waiting(org, "local")
    assert row
    return {"a", "b"} if org is None else {row.org_id}


@read
async def tags(reader: Reader, org: str | None) -> set[str]:
    values = {value for name in ("a", "b") for value in await reader.tags(org, f"key-{name}")}
    assert values == {key.removeprefix("key-") for key in await reader.tags(org)}
    return values


@read
async def stats(reader: Reader, org: str | None) -> set[str]:
    return {found.queue.removeprefix("of-") for found in await reader.stats(org, NOW)}


@read
async def schedules(reader: Reader, org: str | None) -> set[str]:
    return {row.org_id for row in await reader.schedules(org)}


@read
async def schedule_(reader: Reader, org: str | None) -> set[str]:
    return {row.org_id for id_ in ("sa", "sb") if (row := await reader.schedule(org, id_))}


@read
async def schedule_runs(reader: Reader, org: str | None) -> set[str]:
    return {id_[1:] for id_ in ("sa", "sb") if await reader.schedule_runs(org, id_)}


@pytest.mark.parametrize("name", READS)
async def test_a_read_for_one_org_sees_nothing_of_another(store: Store, name: str) -> None:
    await two_orgs(store)
    assert await READS[name](store.reader, None) == {"a", "b"}
    assert await READS[name](store.reader, "a") == {"a"}
    assert await READS[name](store.reader, "b") == {"b"}


def test_every_read_that_takes_an_org_is_examined_above() -> None:
    takers = {
        name
        for name, method in inspect.getmembers(Reader, inspect.iscoroutinefunction)
        if "org" in inspect.signature(method).parameters
    }
    assert takers == {name.rstrip("_") for name in READS}


async def test_events_of_no_org_are_everybodys(store: Store) -> None:
    await store.writer.commit(Round(NOW, notes=[EventRow(0, NOW, "queue.changed", queue="local")]))
    assert [event.type for event in await store.reader.events_after("a", 0, 10)] == ["queue.changed"]


async def test_each_filter_finds_what_it_names(store: Store) -> None:
    await store.writer.commit(
        submitted(
            new(1, name="build app", tags=(("os", "14"), ("suite", "login")), batch_key="app-1"),
            new(2, name="Test App", tags=(("os", "14"),), queue="compute"),
            new(3, org_id="b", spec=b'{"queue":"x","params":{"command":["make","50%_off"]}}')._replace(number=1),
            new(4),
        )
    )
    verdict = Verdict(ErrorType.EXPIRED, "waited too long")
    await store.writer.commit(Round(NOW, saves=[saved(4, State.FAILED, "job.failed", at=NOW + 10, verdict=verdict)]))
    find = store.found
    assert await find() == [4, 3, 2, 1]
    assert await find(states=("failed",)) == [4]
    assert await find(states=("failed", "queued"), queues=("local",)) == [4, 3, 1]
    assert await find(queues=("compute", "local")) == [4, 3, 2, 1]
    assert await find(queues=("none",)) == []
    assert await find(org_id="b") == [3]
    assert await find(org="default", org_id="b") == []
    assert await find(name="build app") == [1]
    assert await find(tags=(("os", "14"),)) == [2, 1]
    assert await find(tags=(("os", "14"), ("suite", "login"))) == [1]
    assert await find(tags=(("os", "14"),), states=("queued",), queues=("compute",)) == [2]
    assert await find(batch_key="app-1") == [1]
    assert await find(batch_key="app-1", states=("failed",)) == []
    assert await find(error_type="expired") == [4]
    assert await find(finished_after=NOW + 9) == [4]
    assert await find(finished_after=NOW + 10) == []
    assert await find(number=1) == [3, 1]
    assert await find(number=1, org_id="b") == [3]


@pytest.mark.parametrize(
    ("text", "jobs"),
    [
        ("APP", [2, 1]),  # names, whatever the case
        ("MAKE", [3]),  # params
        ("50%_off", [3]),  # the signs of LIKE are plain text
        ("%", [3]),
        ("queue", []),  # but not the words of the spec itself
        ("too long", [4]),  # errors
        ("000000000002", [2]),  # ids
    ],
)
async def test_text_is_searched_in_name_id_params_and_error(store: Store, text: str, jobs: list[int]) -> None:
    spec = b'{"queue":"x","params":{"command":["make","50%_off"]}}'
    plain = b'{"queue":"x","params":{}}'
    rows = [
        new(1, name="build app", spec=plain),
        new(2, name="Test App", spec=plain),
        new(3, spec=spec),
        new(4, spec=plain),
    ]
    await store.writer.commit(submitted(*rows))
    verdict = Verdict(ErrorType.EXPIRED, "waited too long")
    await store.writer.commit(Round(NOW, saves=[saved(4, State.FAILED, verdict=verdict)]))
    assert await store.found(text=text) == jobs


async def test_a_spec_nested_too_deeply_for_sqlite_does_not_break_a_search(store: Store) -> None:
    deep = b'{"params":' + b"[" * 3000 + b'"needle"' + b"]" * 3000 + b"}"
    await store.writer.commit(jobs_with([1], spec=deep))
    assert await store.found(text="needle") == []


@pytest.mark.parametrize("ascending", [False, True])
@pytest.mark.parametrize(
    "wanted",
    [
        Filter(),
        Filter(states=("queued", "failed")),
        Filter(queues=("local",)),
        Filter(tags=(("k", "v"),)),
        Filter(text="j"),
    ],
)
async def test_pages_follow_each_other_without_gaps_while_new_jobs_arrive(
    store: Store, wanted: Filter, ascending: bool
) -> None:
    def some(first: int, last: int) -> Round:
        return submitted(*(new(n, name=f"j{n}", tags=(("k", "v"),), org_id=f"org{n % 3}") for n in range(first, last)))

    await store.writer.commit(some(1, 24))
    seen: list[int] = []
    cursor = None
    while True:
        rows, cursor = await store.reader.jobs(None, wanted, 5, cursor, ascending)
        seen += [row.job for row in rows]
        if len(seen) == 10:
            await store.writer.commit(some(24, 30))
        if cursor is None:
            break
    assert seen == (list(range(1, 30)) if ascending else list(range(23, 0, -1)))


async def test_a_bad_cursor_is_named(store: Store) -> None:
    await store.writer.commit(jobs_with(range(1, 10)))
    _, cursor = await store.reader.jobs(None, Filter(), 5)
    assert cursor
    for bad in ("", "x", "!!", "ZDE=x", "é", cursor + "A", "ZC0x", "A" * 400):
        with pytest.raises(BadCursor):
            await store.reader.jobs(None, Filter(), 5, bad)
    with pytest.raises(BadCursor, match="other order"):
        await store.reader.jobs(None, Filter(), 5, cursor, ascending=True)


async def test_summary_counts_by_state(store: Store) -> None:
    await store.writer.commit(jobs_with(range(1, 11), tags=(("sweep", "a"),)))
    await store.writer.commit(jobs_with(range(11, 16), queue="compute"))
    await store.writer.commit(Round(NOW, saves=[ended(1), ended(2), ended(11, State.FAILED)]))
    summary = store.reader.summary
    assert await summary(None, Filter()) == {"queued": 12, "succeeded": 2, "failed": 1}
    assert await summary(None, Filter(queues=("compute",))) == {"queued": 4, "failed": 1}
    assert await summary(None, Filter(tags=(("sweep", "a"),), states=("succeeded",))) == {"succeeded": 2}
    assert await summary("default", Filter(name="none")) == {}


async def test_a_jobs_events_are_all_of_its_own_in_order(store: Store) -> None:
    await store.writer.commit(jobs_with([1, 2, 3]))
    await store.writer.commit(Round(NOW, saves=[ended(2), ended(1)]))
    events = await store.reader.events_of(None, job_id(2))
    assert [(event.seq, event.type) for event in events] == [
        (2, "job.submitted"),
        (4, "job.started"),
        (5, "job.succeeded"),
    ]
    assert await store.reader.events_of(None, "none") == []


async def test_events_are_read_on_from_a_seq(store: Store) -> None:
    assert (await store.reader.oldest_seq(), await store.reader.last_seq()) == (0, 0)
    await store.writer.commit(jobs_with(range(1, 11)))
    assert [event.seq for event in await store.reader.events_after(None, 7, 2)] == [8, 9]
    assert (await store.reader.oldest_seq(), await store.reader.last_seq()) == (1, 10)


async def test_attempts_are_read_back_as_they_were_written(store: Store) -> None:
    await store.writer.commit(jobs_with([1]))
    tries = [
        AttemptRow(1, 1, "failed", "local/0", NOW, NOW + 1, None, b'{"type":"exit"}', b"{}", 2048, True),
        AttemptRow(1, 2, "lost", None, None, NOW + 9),
        AttemptRow(1, 3, "succeeded", "local/1", NOW + 9, NOW + 10, b"14"),
    ]
    await store.writer.commit(Round(NOW, attempts=tries))
    assert await store.reader.attempts(None, job_id(1)) == tries


async def test_the_oldest_waiting_job_is_the_one_made_first(store: Store) -> None:
    assert await store.reader.oldest_waiting(None, "local") is None
    await store.writer.commit(jobs_with(range(1, 5)))
    await store.writer.commit(Round(NOW, saves=[ended(1)]))
    row = await store.reader.oldest_waiting(None, "local")
    assert row
    assert row.job == 2
    assert await store.reader.used_queues() == {"local"}


async def test_schedule_runs_are_the_last_twenty_newest_first(store: Store) -> None:
    runs = [ScheduleRun("s", NOW + number, NOW + number, "fired", b'["x"]', "note") for number in range(25)]
    await store.writer.commit(Round(NOW, schedules=[schedule("s", "a")], schedule_runs=runs))
    assert await store.reader.schedule_runs("a", "s") == runs[:4:-1]
    assert await store.reader.schedule(None, "s") == schedule("s", "a")
    await store.writer.commit(Round(NOW, schedules=["s"]))
    assert await store.reader.schedule_runs(None, "s") == []


async def test_stats_tell_how_long_jobs_ran_and_waited(store: Store) -> None:
    await store.writer.commit(jobs_with(range(1, 102)))
    ends = [ended(job, at=NOW + 10 + job, started_at=NOW + 10) for job in range(1, 101)]
    cancelled = saved(101, State.CANCELLED, "job.cancelled", at=NOW + 50)
    await store.writer.commit(Round(NOW, saves=[*ends, cancelled]))
    (found,) = await store.reader.stats(None, NOW)
    assert (found.queue, found.succeeded, found.failed, found.cancelled) == ("local", 100, 0, 1)
    assert (found.run_p50_s, found.run_p95_s, found.wait_p50_s, found.wait_p95_s) == (50.0, 95.0, 10.0, 10.0)
    assert await store.reader.stats(None, NOW + 1000) == []


async def test_a_bulk_action_finds_its_jobs_oldest_first_in_slices(store: Store) -> None:
    await store.writer.commit(submitted(*(new(n, org_id="ab"[n % 2], tags=(("k", "v"),)) for n in range(1, 11))))
    first = await store.writer.matching(Filter(states=("queued",)), 0, 2, org="a")
    assert [row.job for row in first] == [2, 4]
    rest = await store.writer.matching(Filter(tags=(("k", "v"),)), 4, 100, org="a")
    assert [row.job for row in rest] == [6, 8, 10]
    assert len(await store.writer.matching(Filter(), 0, 100, org=None)) == 10


async def test_an_edit_changes_what_tags_find(store: Store) -> None:
    await store.writer.commit(jobs_with([1, 2], tags=(("a", "1"), ("b", "2"))))
    edit = EditRow(1, new(1).treatment, b"{}", (("b", "3"),), None, None, None, None)
    await store.writer.commit(Round(NOW, edits=[edit]))
    assert await store.found(tags=(("a", "1"),)) == [2]
    assert await store.found(tags=(("b", "3"),)) == [1]
    await store.writer.commit(Round(NOW, edits=[edit._replace(tags=())]))
    assert await store.found(tags=(("b", "3"),)) == []
