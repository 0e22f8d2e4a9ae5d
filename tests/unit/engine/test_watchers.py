"""Waiting for the ends of jobs, and times as clients see them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hpcq.core.job import State
from hpcq.engine.times import timestamp
from hpcq.engine.watchers import Watchers
from hpcq.store.reader import Reader
from hpcq.store.rows import EventRow, Round
from hpcq.store.writer import Writer
from tests.support.storerows import NOW, ended, job_id, jobs_with, reading, writing

IDS = [job_id(1), job_id(2)]


@pytest.fixture
async def reader(tmp_path: Path) -> AsyncIterator[Reader]:
    async with writing(tmp_path / "hpcq.db") as writer, reading(tmp_path / "hpcq.db") as made:
        await _two_jobs(writer)
        yield made


async def _two_jobs(writer: Writer) -> None:
    """One has ended, the other waits."""
    await writer.commit(jobs_with([1, 2]))
    await writer.commit(Round(NOW, saves=[ended(1)]))


def _end(job: int) -> EventRow:
    return EventRow(1, NOW, "job.succeeded", job_id=job_id(job), state=State.SUCCEEDED)


async def test_all_are_waited_for_be_they_final_before_or_after(reader: Reader) -> None:
    watchers = Watchers(reader)
    waiting = asyncio.ensure_future(watchers.wait_final([*IDS, job_id(9), IDS[1]], 60))
    done, _ = await asyncio.wait([waiting], timeout=0.2)
    assert not done
    watchers.tell([_end(2)])
    assert await waiting
    assert await watchers.wait_final(IDS[:1], 60)
    assert await watchers.wait_final([], 60)


async def test_who_waits_in_vain_is_told_so_and_others_go_on_waiting(reader: Reader) -> None:
    watchers = Watchers(reader)
    longer = asyncio.ensure_future(watchers.wait_final(IDS, 60))
    assert not await watchers.wait_final(IDS, 0.05)
    watchers.tell([_end(2)])
    assert await longer


async def test_the_limit_holds_for_the_look_into_the_store_too(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_free", asyncio.LifoQueue())  # all of its connections are busy
    async with asyncio.timeout(20):
        assert not await Watchers(reader).wait_final(IDS, 0.05)


@pytest.mark.parametrize(
    ("wall", "text"),
    [
        (None, None),
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1_800_000_000.29, "2027-01-15T08:00:00.290Z"),
        (1_800_000_000.9999, "2027-01-15T08:00:00.999Z"),
    ],
)
def test_times_are_rfc_3339_in_utc_with_milliseconds(wall: float | None, text: str | None) -> None:
    assert timestamp(wall) == text
