"""Uploaded files on disk: whole or not at all, once, and for as long as somebody may need them."""

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hpcq.config import Retention
from hpcq.core.job import State
from hpcq.engine.alarm import now
from hpcq.engine.blobs import Blobs, WrongSum
from hpcq.engine.errors import BadSpec, OutOfSpace
from hpcq.engine.pruning import Freed
from hpcq.store.rows import AppRow, PinRow, Round
from tests.support.storerows import new, reading, saved, submitted, writing

DAY = 86_400.0
MONTH = Retention(blobs_days=30, jobs_days=90)
DATA = b"a build" * 100_000
SUM = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
async def blobs(tmp_path: Path) -> AsyncIterator[Blobs]:
    async with writing(tmp_path / "hpcq.db") as writer, reading(tmp_path / "hpcq.db") as reader:
        yield Blobs(writer, reader, tmp_path)


async def pieces(data: bytes, error: Exception | None = None) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 50_000):
        yield data[start : start + 50_000]
    if error:
        raise error


async def put(blobs: Blobs, data: bytes = DATA, org: str | None = None) -> str:
    return (await blobs.receive(org, hashlib.sha256(data).hexdigest(), pieces(data))).sha256


def on_disk(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "blobs").rglob("*") if path.is_file())


async def test_a_file_is_kept_under_its_sum_and_cannot_be_written_to(blobs: Blobs, tmp_path: Path) -> None:
    assert await put(blobs) == SUM
    path = tmp_path / "blobs" / SUM[:2] / SUM
    assert blobs.path(SUM) == path
    assert path.read_bytes() == DATA
    assert path.stat().st_mode & 0o777 == 0o400
    found = await blobs.find(None, SUM)
    assert found is not None
    assert found.size == len(DATA)
    assert on_disk(tmp_path) == [SUM]


async def test_a_wrong_sum_leaves_nothing(blobs: Blobs, tmp_path: Path) -> None:
    with pytest.raises(WrongSum, match=hashlib.sha256(b"other").hexdigest()):
        await blobs.receive(None, SUM, pieces(b"other"))
    assert on_disk(tmp_path) == []
    assert await blobs.find(None, SUM) is None


async def test_a_body_that_breaks_off_leaves_nothing(blobs: Blobs, tmp_path: Path) -> None:
    with pytest.raises(ConnectionResetError):
        await blobs.receive(None, SUM, pieces(DATA, ConnectionResetError()))
    assert on_disk(tmp_path) == []


async def test_an_upload_that_is_cancelled_leaves_nothing(blobs: Blobs, tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"x" * (2 << 20)
        begun.set()
        await asyncio.Event().wait()

    upload = asyncio.create_task(blobs.receive(None, SUM, endless()))
    await begun.wait()
    assert len(on_disk(tmp_path)) == 1
    upload.cancel()
    await asyncio.wait([upload])
    assert on_disk(tmp_path) == []


async def test_what_runs_on_a_thread_is_over_before_an_upload_that_is_cancelled_goes_on(blobs: Blobs) -> None:
    begun, go, over = threading.Event(), threading.Event(), threading.Event()

    def write() -> None:
        begun.set()
        go.wait(20)
        over.set()

    hop = asyncio.create_task(blobs._apart(write))
    assert await asyncio.to_thread(begun.wait, 20)
    hop.cancel()
    threading.Timer(0.05, go.set).start()
    with pytest.raises(asyncio.CancelledError):
        await hop
    assert over.is_set()


async def test_what_a_crash_left_half_open_is_cleared_at_the_start(blobs: Blobs, tmp_path: Path) -> None:
    await put(blobs)
    (tmp_path / "blobs" / "incoming").mkdir(exist_ok=True)
    (tmp_path / "blobs" / "incoming" / "half").write_bytes(b"half")
    again = Blobs(blobs._writer, blobs._reader, tmp_path)
    assert on_disk(tmp_path) == [SUM]
    assert await again.find(None, SUM)


async def test_the_same_file_from_several_at_once_is_kept_once(blobs: Blobs, tmp_path: Path) -> None:
    assert await asyncio.gather(*(put(blobs) for _ in range(5))) == [SUM] * 5
    assert on_disk(tmp_path) == [SUM]
    assert blobs.path(SUM).read_bytes() == DATA


async def test_a_file_that_is_there_is_summed_up_but_not_written_again(blobs: Blobs, tmp_path: Path) -> None:
    await put(blobs, org="red")
    before = blobs.path(SUM).stat()
    await put(blobs, org="blue")
    assert blobs.path(SUM).stat().st_ino == before.st_ino
    with pytest.raises(WrongSum):
        await blobs.receive("green", SUM, pieces(b"only the sum is known to me"))
    assert await blobs.find("blue", SUM)
    assert await blobs.find("green", SUM) is None, "to know a sum is not to have the file"


async def test_a_row_without_its_file_is_mended_by_sending_it_again(blobs: Blobs) -> None:
    await put(blobs)
    blobs.path(SUM).unlink()
    assert await blobs.find(None, SUM) is None
    await put(blobs)
    assert await blobs.find(None, SUM)
    assert blobs.path(SUM).read_bytes() == DATA


async def test_an_upload_leaves_the_store_its_space(blobs: Blobs) -> None:
    blobs.make_room(1 << 20)
    with pytest.raises(OutOfSpace, match="bytes left"):
        blobs.make_room(1 << 60)


async def test_only_a_known_file_can_be_named(blobs: Blobs) -> None:
    with pytest.raises(BadSpec) as caught:
        await blobs.name(None, AppRow("default", "rc", SUM, now().wall))
    assert [error.pointer for error in caught.value.errors] == ["/blob"]
    await put(blobs, org="red")
    with pytest.raises(BadSpec):
        await blobs.name("blue", AppRow("blue", "rc", SUM, now().wall))
    assert await blobs.name("red", AppRow("red", "rc", SUM, now().wall))


# Retention.


async def test_what_nobody_asked_for_in_a_month_goes_and_what_a_job_needs_stays(blobs: Blobs, tmp_path: Path) -> None:
    kept, old = await put(blobs, b"needed"), await put(blobs, b"old")
    await blobs._writer.commit(submitted(new(1), pins=[PinRow(1, "rc", kept)]))
    later = now().wall + 31 * DAY
    dry = await blobs.prune(MONTH, at=later, dry_run=True)
    assert dry == Freed(blobs=1, bytes=3)
    assert on_disk(tmp_path) == sorted([kept, old]), "a dry run only counts"
    assert await blobs.prune(MONTH, at=later - 2 * DAY, dry_run=False) == Freed()
    assert await blobs.prune(MONTH, at=later, dry_run=False) == dry
    assert on_disk(tmp_path) == [kept]
    await blobs._writer.commit(Round(later, saves=[saved(1, State.CANCELLED, "job.cancelled", at=later)]))
    assert await blobs.prune(MONTH, at=later + DAY, dry_run=False) == Freed(), "it may be retried"
    assert (await blobs.prune(MONTH, at=later + 31 * DAY, dry_run=False)).blobs == 1
    assert on_disk(tmp_path) == []


async def test_even_without_retention_a_file_is_kept_for_an_hour(blobs: Blobs, tmp_path: Path) -> None:
    await put(blobs)
    never = with_days(MONTH, 0)
    assert await blobs.prune(never, at=now().wall + 3000, dry_run=False) == Freed()
    assert (await blobs.prune(never, at=now().wall + 3700, dry_run=False)).blobs == 1


def with_days(retention: Retention, days: float) -> Retention:
    return retention.model_copy(update={"blobs_days": days})


async def test_files_that_a_crash_left_without_a_row_go(blobs: Blobs, tmp_path: Path) -> None:
    await put(blobs)
    stray = blobs.path("f" * 64)
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_bytes(b"12345")
    (stray.parent / "readme").write_bytes(b"not ours")
    assert await blobs.prune(MONTH, at=now().wall, dry_run=False) == Freed(bytes=5)
    assert on_disk(tmp_path) == sorted([SUM, "readme"])


async def test_many_old_files_go_in_one_pass(blobs: Blobs, tmp_path: Path) -> None:
    for number in range(120):
        await put(blobs, b"%d" % number)
    assert (await blobs.prune(MONTH, at=now().wall + 31 * DAY, dry_run=False)).blobs == 120
    assert on_disk(tmp_path) == []
