"""Retention: what goes, what stays, and what must stay though it is old."""

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hpcq.core.job import History, State
from hpcq.store.prune import START, Pruned, Retention, forget_treatments
from hpcq.store.rows import AttemptRow, KeyRow, Lookup, Round
from hpcq.store.writer import Writer
from tests.support.storerows import NOW, ended, job_id, jobs_with, needs, new, saved, submitted, writing

LATER = NOW + 1000
KEEP_ALL = Retention(jobs_before=0, artifacts_before=0, keys_before=0, events=1_000_000)
OLD_JOBS = Retention(jobs_before=LATER, artifacts_before=0, keys_before=0, events=1_000_000)


@pytest.fixture
async def writer(tmp_path: Path) -> AsyncIterator[Writer]:
    async with writing(tmp_path / "hpcq.db") as writer:
        yield writer


def count(tmp_path: Path, table: str) -> int:
    with contextlib.closing(sqlite3.connect(f"file:{tmp_path / 'hpcq.db'}?mode=ro", uri=True)) as db:
        found: int = db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        return found


async def whole_pass(writer: Writer, retention: Retention) -> list[Pruned]:
    rounds = [await writer.prune(retention)]
    while rounds[-1].further:
        rounds.append(await writer.prune(retention, rounds[-1].further))
    return rounds


def ids(rounds: list[Pruned]) -> list[str]:
    return [id_ for done in rounds for id_ in done.jobs]


async def test_an_old_job_goes_with_all_its_rows_but_its_events_stay(writer: Writer, tmp_path: Path) -> None:
    await writer.commit(jobs_with([1, 2], tags=(("k", "v"),)))
    attempt = AttemptRow(1, 1, "succeeded", "s", NOW, NOW + 1, b"1")
    await writer.commit(Round(NOW, saves=[ended(1, result=b"1")], attempts=[attempt], handles=[(1, 1, b"{}")]))
    assert ids(await whole_pass(writer, OLD_JOBS)) == [job_id(1)]
    tables = ("jobs", "specs", "outcomes", "attempts", "handles", "job_tags", "events")
    assert [count(tmp_path, table) for table in tables] == [1, 1, 0, 0, 0, 1, 4]
    assert list((await writer.resolve(Lookup(ids=(job_id(1), job_id(2))))).jobs) == [job_id(2)]


async def test_what_ended_lately_or_has_not_ended_stays(writer: Writer) -> None:
    await writer.commit(jobs_with(range(1, 6)))
    await writer.commit(
        Round(NOW, saves=[ended(1, at=LATER - 1), ended(2, at=LATER), saved(3, State.RUNNING, attempt=1)])
    )
    assert ids(await whole_pass(writer, OLD_JOBS)) == [job_id(1)]


async def test_a_job_with_unfinished_dependents_stays_until_they_have_ended(writer: Writer, tmp_path: Path) -> None:
    await writer.commit(submitted(new(1), new(2, depends_on=needs(1)), new(3, depends_on=needs(1)), new(4)))
    await writer.commit(Round(NOW, saves=[ended(1), ended(2)]))
    assert ids(await whole_pass(writer, OLD_JOBS)) == [job_id(2)]
    (third, _) = (await writer.load()).waiting
    assert third.depends_on[0].ended is State.SUCCEEDED
    await writer.commit(Round(NOW, saves=[ended(3)]))
    assert ids(await whole_pass(writer, OLD_JOBS)) == [job_id(1), job_id(3)]
    assert count(tmp_path, "dependencies") == 0


async def test_the_newest_job_stays_so_that_no_number_is_given_twice(tmp_path: Path) -> None:
    async with writing(tmp_path / "hpcq.db") as writer:
        await writer.commit(jobs_with([1, 2]))
        await writer.commit(Round(NOW, saves=[ended(1), ended(2)]))
        assert ids(await whole_pass(writer, OLD_JOBS)) == [job_id(1)]
        await whole_pass(writer, Retention(LATER, LATER, LATER, events=0))
    async with writing(tmp_path / "hpcq.db") as writer:
        counters = await writer.counters()
    assert (counters.job, counters.numbers, counters.seq) == (2, {"default": 2}, 6)


async def test_a_pass_takes_at_most_500_jobs_a_round(writer: Writer, tmp_path: Path) -> None:
    await writer.commit(jobs_with(range(1, 1302)))
    await writer.commit(Round(NOW, saves=[ended(job) for job in range(1, 1201)]))
    rounds = await whole_pass(writer, OLD_JOBS)
    assert [len(done.jobs) for done in rounds] == [500, 500, 200]
    assert ids(rounds) == [job_id(job) for job in range(1, 1201)]
    assert count(tmp_path, "jobs") == 101


async def test_a_dry_run_names_all_of_it_and_does_nothing(writer: Writer, tmp_path: Path) -> None:
    await writer.commit(submitted(*(new(job) for job in range(1, 702)), keys=[KeyRow("o", "k", b"", b"[]", NOW)]))
    await writer.commit(Round(NOW, saves=[ended(job, artifacts=b'[{"name":"a"}]') for job in range(1, 601)]))
    retention = Retention(LATER, LATER, LATER, events=100)
    dry = await writer.prune(retention, dry_run=True)
    events = count(tmp_path, "events")
    assert (len(dry.jobs), len(dry.artifacts), dry.events, dry.keys) == (600, 600, events - 100, 1)
    assert [count(tmp_path, table) for table in ("jobs", "events", "idempotency_keys")] == [701, events, 1]
    rounds = await whole_pass(writer, retention)
    assert ids(rounds) == list(dry.jobs)
    assert sum(done.events for done in rounds) == dry.events


async def test_only_the_newest_events_stay(writer: Writer, tmp_path: Path) -> None:
    await writer.commit(jobs_with(range(1, 12_001)))
    rounds = await whole_pass(writer, Retention(0, 0, 0, events=1000))
    assert [done.events for done in rounds] == [5000, 5000, 1000]
    with contextlib.closing(sqlite3.connect(tmp_path / "hpcq.db")) as db:
        assert db.execute("SELECT min(seq), max(seq) FROM events").fetchone() == (11_001, 12_000)


async def test_artifacts_go_before_their_job(writer: Writer) -> None:
    await writer.commit(jobs_with([1, 2, 3, 4]))
    named = b'[{"name":"a","size":1}]'
    rows = [ended(1, artifacts=named), ended(2, artifacts=named, at=LATER), ended(3, artifacts=b"[]")]
    await writer.commit(Round(NOW, saves=rows))
    (done,) = await whole_pass(writer, Retention(0, LATER, 0, 1_000_000))
    assert (done.artifacts, done.jobs) == ((job_id(1),), ())
    found = (await writer.resolve(Lookup(ids=(job_id(1), job_id(2))))).jobs
    assert [found[job_id(job)].artifacts for job in (1, 2)] == [None, named]


async def test_old_keys_go(writer: Writer) -> None:
    keys = [KeyRow("a", f"k{number}", b"", b"[]", NOW + number) for number in range(10)]
    await writer.commit(Round(NOW, keys=keys))
    (done,) = await whole_pass(writer, Retention(0, 0, NOW + 4, 1_000_000))
    assert done.keys == 4
    known = await writer.resolve(Lookup(keys=tuple(("a", f"k{number}") for number in range(10))))
    assert sorted(known.keys) == [("a", f"k{number}") for number in range(4, 10)]


async def test_a_reopened_job_stays(writer: Writer) -> None:
    await writer.commit(jobs_with([1, 2]))
    await writer.commit(Round(NOW, saves=[ended(1)]))
    await writer.commit(Round(NOW, saves=[saved(1, State.QUEUED, "job.reopened", history=History(1, reopened=1))]))
    assert ids(await whole_pass(writer, OLD_JOBS)) == []


async def test_nothing_to_do_is_one_round(writer: Writer) -> None:
    empty = Pruned((), (), 0, 0, None)
    assert await writer.prune(OLD_JOBS, START) == empty
    await writer.commit(jobs_with([1, 2]))
    assert await writer.prune(KEEP_ALL) == empty


async def test_treatments_that_no_job_has_any_more_are_forgotten_at_the_start(writer: Writer, tmp_path: Path) -> None:
    await writer.commit(submitted(*(new(job, session_key=str(job)) for job in range(1, 21))))
    await writer.commit(Round(NOW, saves=[ended(job) for job in range(1, 11)]))
    await whole_pass(writer, OLD_JOBS)
    await writer._hop.run(lambda: forget_treatments(writer._db, most=100))
    assert count(tmp_path, "treatments") == 20
    await writer._hop.run(lambda: forget_treatments(writer._db, most=5))
    assert count(tmp_path, "treatments") == 10
    assert [job.treatment.session_key for job in (await writer.load()).waiting] == [str(job) for job in range(11, 21)]
