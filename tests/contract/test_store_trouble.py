"""Full disks, broken disks, kills: what the store says, and what is there afterwards."""

import contextlib
import resource
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from hpcq.core.job import State
from hpcq.store.errors import StoreBroken, StoreFull
from hpcq.store.rows import Lookup, Round
from hpcq.store.writer import Writer
from tests.support.storerows import NOW, ended, job_id, jobs_with, reading, saved, writing

FILL = b"x" * 60_000


@pytest.fixture
async def writer(tmp_path: Path) -> AsyncIterator[Writer]:
    async with writing(tmp_path / "hpcq.db") as writer:
        yield writer


async def fill(writer: Writer, first: int = 1) -> int:
    """Submit one large job after the other until the store is full; how many were accepted."""
    for job in range(first, first + 500):
        try:
            await writer.commit(jobs_with([job], spec=FILL))
        except StoreFull:
            return job - first
    raise AssertionError("the disk never became full")


async def limit_pages(writer: Writer, pages: int) -> None:
    await writer._hop.run(lambda: writer._db.execute(f"PRAGMA max_page_count = {pages}").fetchall())


async def check_whole(path: Path, jobs: int) -> None:
    """The file is sound, and holds these jobs with one event each."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("SELECT count(*), max(job) FROM jobs").fetchone() == (jobs, jobs)
        assert db.execute("SELECT count(*), min(seq), max(seq) FROM events").fetchone() == (jobs, 1, jobs)


async def test_a_full_file_is_a_definite_no_and_submits_work_again_when_there_is_space(tmp_path: Path) -> None:
    path = tmp_path / "hpcq.db"
    async with writing(path) as writer, reading(path) as reader:
        await limit_pages(writer, 200)
        accepted = await fill(writer)
        assert accepted > 0
        assert (await writer.counters()).job == accepted
        assert await reader.job(None, job_id(accepted)) is not None
        assert await reader.job(None, job_id(accepted + 1)) is None
        await limit_pages(writer, 1_000_000)
        await writer.probe()
        committed = await writer.commit(jobs_with([accepted + 1]))
        assert [event.seq for event in committed.events] == [accepted + 1]
    await check_whole(path, accepted + 1)


async def test_a_round_that_does_not_fit_is_a_definite_no(writer: Writer, tmp_path: Path) -> None:
    await writer.commit(jobs_with([1]))
    await limit_pages(writer, 100)
    accepted = 1 + await fill(writer, first=2)
    with pytest.raises(StoreFull, match="full"):
        await writer.commit(jobs_with(range(100, 2000)))
    with pytest.raises(StoreFull):
        await writer.meta_put(note="x" * 1_000_000)
    await limit_pages(writer, 1_000_000)
    await writer.commit(jobs_with([accepted + 1]))
    await writer.close()
    await check_whole(tmp_path / "hpcq.db", accepted + 1)


@contextlib.contextmanager
def file_size_limit(bytes_: int) -> Iterator[None]:
    """No file of this process may grow beyond this: a write fails with EFBIG, which is no 'disk full' to SQLite."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_an_error_of_commit_itself_is_unknown_and_nothing_is_done_any_more(tmp_path: Path) -> None:
    path = tmp_path / "hpcq.db"
    log = path.with_name("hpcq.db-wal")
    async with writing(path) as writer:
        await writer.commit(jobs_with([1]))
        with file_size_limit(log.stat().st_size + 4096), pytest.raises(StoreBroken, match="COMMIT failed"):
            await writer.commit(jobs_with(range(2, 100)))
        for call in (writer.commit(jobs_with([200])), writer.counters(), writer.resolve(Lookup())):
            with pytest.raises(StoreBroken):
                await call
    async with writing(path) as writer:
        assert (await writer.counters()).job in (1, 99)  # all of it or nothing of it


async def test_somebody_else_who_holds_the_file_is_a_definite_no(writer: Writer, tmp_path: Path) -> None:
    await writer.commit(jobs_with([1]))
    await writer._hop.run(lambda: writer._db.execute("PRAGMA busy_timeout = 50"))
    with contextlib.closing(sqlite3.connect(tmp_path / "hpcq.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreFull, match="locked"):
            await writer.commit(jobs_with([2]))
        other.execute("ROLLBACK")
    assert [event.seq for event in (await writer.commit(jobs_with([2]))).events] == [2]


async def test_a_damaged_file_is_broken_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "hpcq.db"
    async with writing(path) as writer:
        await writer.commit(jobs_with(range(1, 2000)))
    with path.open("r+b") as file:
        for page in range(3, path.stat().st_size // 4096):
            file.seek(page * 4096)
            file.write(b"\xff" * 64)
    with pytest.raises(StoreBroken, match=r"damaged.*Restore a backup"):
        await use(path)


async def use(path: Path) -> None:
    async with writing(path) as writer:
        await writer.commit(Round(NOW, saves=[saved(1, State.QUEUED)]))


WRITE_FOR_EVER = """
import asyncio, sys
from pathlib import Path
from hpcq.core.job import State
from hpcq.store.rows import Round
from hpcq.store.writer import Writer
from tests.support.storerows import NOW, ended, jobs_with

async def main():
    writer = await Writer.open(Path(sys.argv[1]))
    job = (await writer.counters()).job
    while True:
        await writer.commit(jobs_with(range(job + 1, job + 11)))
        job += 10
        await writer.commit(Round(NOW, saves=[ended(job)]))
        print(job, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("lives", [5])
def test_what_was_acknowledged_survives_kill_9(tmp_path: Path, lives: int) -> None:
    path = tmp_path / "hpcq.db"
    acknowledged: set[int] = set()  # jobs whose end was committed
    for life in range(lives):
        command = [sys.executable, "-c", WRITE_FOR_EVER, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout
            acknowledged |= {int(child.stdout.readline()) for _ in range(3 + 7 * life)}
            child.kill()
            acknowledged |= {int(line) for line in child.stdout if line.endswith("\n")}
        with contextlib.closing(sqlite3.connect(path)) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            last, count = db.execute("SELECT max(job), count(*) FROM jobs").fetchone()
            assert last == count
            assert acknowledged <= {job for (job,) in db.execute("SELECT job FROM jobs WHERE state = 'succeeded'")}
            assert db.execute("SELECT count(*) = max(seq) FROM events").fetchone() == (1,)


async def test_a_save_that_was_refused_does_not_end_the_writer(writer: Writer) -> None:
    await writer.commit(jobs_with([1]))
    await writer.commit(Round(NOW, saves=[ended(1)]))
    with pytest.raises(Exception, match="final state"):
        await writer.commit(Round(NOW, saves=[saved(1, State.QUEUED)]))
    await writer.probe()
