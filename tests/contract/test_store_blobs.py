"""What the store knows of uploaded files: who may name them, what names stand for, and when they may go."""

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hpcq.core.job import State
from hpcq.store.blobs import SPARED_S, STALE_S
from hpcq.store.cursor import BadCursor
from hpcq.store.prune import Retention
from hpcq.store.reader import Reader
from hpcq.store.rows import AppRow, BlobRow, Lookup, PinRow, Round, ScheduleRow
from hpcq.store.writer import Writer
from tests.support.storerows import NOW, ended, job_id, jobs_with, new, reading, saved, submitted, writing

A, B, C = "a" * 64, "b" * 64, "c" * 64
LATER = NOW + 1000 * SPARED_S


@pytest.fixture
async def writer(tmp_path: Path) -> AsyncIterator[Writer]:
    async with writing(tmp_path / "hpcq.db") as writer:
        yield writer


@pytest.fixture
async def reader(writer: Writer, tmp_path: Path) -> AsyncIterator[Reader]:
    async with reading(tmp_path / "hpcq.db") as reader:
        yield reader


async def keep(writer: Writer, sha256: str, org: str | None = None, at: float = NOW) -> None:
    await writer.keep_blob(BlobRow(sha256, 5, at, at), org)


async def gone(writer: Writer, before: float = LATER, **how: Any) -> list[str]:
    return [blob.sha256 for blob in await writer.prune_blobs(before, before, **how)]


async def test_a_file_belongs_to_the_org_that_uploaded_it_and_an_admins_to_everybody(
    writer: Writer, reader: Reader
) -> None:
    await keep(writer, A, "red")
    await keep(writer, B, None)
    places = (("red", A), ("blue", A), ("blue", B), ("", A), ("", C))
    assert (await writer.resolve(Lookup(blobs=places))).blobs == {("red", A), ("blue", B), ("", A)}
    assert await reader.blob("red", A) == BlobRow(A, 5, NOW, NOW)
    assert await reader.blob("blue", A) is None
    assert await reader.blob("blue", B) is not None
    assert await reader.blob(None, A) is not None
    await keep(writer, A, "blue")
    assert await reader.blob("blue", A) is not None, "whoever has it too may name it too"


async def test_a_name_stands_for_the_last_file_that_it_was_given_to_within_its_org(
    writer: Writer, reader: Reader
) -> None:
    await keep(writer, A)
    await keep(writer, B)
    assert await writer.name_app(AppRow("red", "rc", A, NOW))
    assert await writer.name_app(AppRow("blue", "rc", B, NOW + 1))
    assert not await writer.name_app(AppRow("red", "rc", B, NOW + 2))
    apps = (await writer.resolve(Lookup(apps=(("red", "rc"), ("blue", "rc"), ("green", "rc"))))).apps
    assert {place: app.sha256 for place, app in apps.items()} == {("red", "rc"): B, ("blue", "rc"): B}
    page, cursor = await reader.apps(None, 1)
    assert [(app.org_id, app.at) for app in page] == [("red", NOW + 2)], "the newest first"
    rest, end = await reader.apps(None, 1, cursor)
    assert [app.org_id for app in rest] == ["blue"]
    assert end is None
    assert [app.org_id for app in (await reader.apps("blue"))[0]] == ["blue"]
    with pytest.raises(BadCursor):
        await reader.apps(None, 1, "nonsense")


async def test_what_an_unfinished_job_names_is_kept_however_old(writer: Writer) -> None:
    for sha256 in (A, B, C):
        await keep(writer, sha256)
    await writer.commit(submitted(new(1), new(2), new(3), pins=[PinRow(1, A, A), PinRow(2, "rc", B), PinRow(3, C, C)]))
    await writer.commit(Round(NOW, saves=[ended(2, at=LATER), ended(3, at=LATER - 1)]))
    assert await gone(writer, dry_run=True) == [C]
    assert await gone(writer) == [C], "1 waits, 2 has just ended and may be retried"
    assert await gone(writer, LATER + 1) == [B]
    await writer.commit(Round(NOW, saves=[ended(1, at=LATER)]))
    assert await gone(writer, LATER + 1) == [A]
    assert await gone(writer, LATER + 1) == []


async def test_what_a_schedule_names_is_kept_by_its_sum_and_by_the_builds_name(writer: Writer) -> None:
    for sha256 in (A, B, C):
        await keep(writer, sha256)
    await writer.name_app(AppRow("default", 'r"c', B, NOW))
    await writer.name_app(AppRow("other", 'r"c', C, NOW))
    jobs = b'[{"params":{"app":{"blob":"%s"},"app_version_id":"r\\"c"}}]' % A.encode()
    row = ScheduleRow("s", "default", "s", "@daily", "UTC", jobs, "skip", "none", False, None, NOW, NOW)
    await writer.commit(Round(NOW, schedules=[row]))
    assert await gone(writer) == [C], "another org's build of that name"
    await writer.commit(Round(NOW, schedules=["s"]))
    assert sorted(await gone(writer)) == [A, B]


async def test_a_file_that_was_looked_up_lately_is_kept(writer: Writer) -> None:
    for sha256 in (A, B, C):
        await keep(writer, sha256)
    await writer.name_app(AppRow("default", "rc", B, NOW))
    await writer.resolve(Lookup(blobs=(("", A),), apps=(("default", "rc"),), at=LATER))
    assert await gone(writer) == [C]
    await writer.resolve(Lookup(blobs=(("", A),), at=LATER + STALE_S - 1))
    assert sorted(await gone(writer, LATER + 1)) == [A, B], "a use is not written down again within half an hour"
    assert not await writer.touch_blob(A, LATER)


async def test_a_job_that_is_retried_keeps_its_files_or_is_told_which_is_gone(writer: Writer) -> None:
    await keep(writer, A)
    await keep(writer, B)
    await writer.commit(submitted(new(1), pins=[PinRow(1, "rc", A), PinRow(1, B, B)]))
    await writer.commit(Round(NOW, saves=[ended(1)]))
    await writer.resolve(Lookup(retried=(job_id(1),), at=LATER))
    assert await gone(writer) == [], "both are spared for the round that looked them up"
    assert sorted(await gone(writer, LATER + 1)) == [A, B]
    assert set((await writer.resolve(Lookup(retried=(job_id(1),)))).lost) == {job_id(1)}


async def test_a_name_outlives_its_file_for_a_while_and_then_goes(writer: Writer) -> None:
    await keep(writer, A)
    await writer.name_app(AppRow("default", "rc", A, NOW))
    await writer.prune_blobs(LATER, apps_before=NOW)
    found = (await writer.resolve(Lookup(apps=(("default", "rc"),)))).apps["default", "rc"]
    assert (found.sha256, found.size) == (A, None), "so that a job with it can be told"
    await writer.prune_blobs(LATER, apps_before=LATER)
    assert not (await writer.resolve(Lookup(apps=(("default", "rc"),)))).apps


async def test_pruning_a_job_forgets_what_it_named(writer: Writer, tmp_path: Path) -> None:
    await keep(writer, A)
    await writer.commit(submitted(new(1), pins=[PinRow(1, A, A)]))
    await writer.commit(jobs_with([2]))
    await writer.commit(Round(NOW, saves=[ended(1)]))
    await writer.prune(Retention(jobs_before=LATER, artifacts_before=0, keys_before=0, events=1_000_000))
    with contextlib.closing(sqlite3.connect(f"file:{tmp_path / 'hpcq.db'}?mode=ro", uri=True)) as db:
        assert db.execute("SELECT count(*) FROM job_blobs").fetchone() == (0,)


async def test_a_round_that_fails_pins_nothing(writer: Writer, tmp_path: Path) -> None:
    await writer.commit(jobs_with([1]))
    bad = submitted(new(2), pins=[PinRow(2, A, A)])
    bad.saves = [ended(99)]
    with pytest.raises(Exception, match="not in the store"):
        await writer.commit(bad)
    with contextlib.closing(sqlite3.connect(f"file:{tmp_path / 'hpcq.db'}?mode=ro", uri=True)) as db:
        assert db.execute("SELECT count(*) FROM job_blobs").fetchone() == (0,)


@pytest.mark.parametrize("state", [State.QUEUED, State.RUNNING])
async def test_a_pinned_file_stays_while_its_job_waits_or_runs(writer: Writer, state: State) -> None:
    await keep(writer, A)
    await writer.commit(submitted(new(1), pins=[PinRow(1, A, A)]))
    if state is State.RUNNING:
        await writer.commit(Round(NOW, saves=[saved(1, state, "job.started", attempt=1)]))
    assert await gone(writer) == []
