import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from hpcq.config import Retention
from hpcq.core.effects import Save
from hpcq.core.job import FINAL, FRESH, Dependency, On, RetryPolicy, State, Treatment
from hpcq.engine import files
from hpcq.engine.pruning import Freed, made_at, prune
from hpcq.store.filter import Filter
from hpcq.store.rows import KeyRow, Lookup, NewRow, Round, SaveRow
from hpcq.store.writer import Writer

NOW = datetime(2026, 5, 13, 12, tzinfo=UTC).timestamp()
DAY = 86_400.0
MB = 1 << 20
TREATMENT = Treatment("local", "default", 0, None, (), (), None, RetryPolicy())
DAYS = Retention(jobs_days=90, artifacts_days=14)


def id_of(made: float, job: int) -> str:
    return str(uuid.UUID(int=int(made * 1000) << 80 | 0x7 << 76 | 0x8 << 60 | job))


class Past:
    """A store and a data folder with a history."""

    def __init__(self, writer: Writer, data_dir: Path) -> None:
        self.writer, self.data_dir, self.last = writer, data_dir, 0

    def _made(self, days: float, state: State, *, took_days: float, artifact: bool = False) -> tuple[NewRow, SaveRow]:
        self.last += 1
        at = NOW - days * DAY
        made = at - took_days * DAY
        id_ = id_of(made, self.last)
        new = NewRow(
            self.last, id_, "default", self.last, None, "shell", TREATMENT, b"{}", (), (), None, made, None, None
        )
        listed = orjson.dumps([{"name": "a.txt", "size": 1}]) if artifact else None
        save = Save(self.last, state, FRESH)
        return new, SaveRow(save, ("job.submitted",), at, keep=state in FINAL, artifacts=listed)

    async def job(
        self,
        days: float,
        state: State = State.SUCCEEDED,
        *,
        needs: str | None = None,
        bytes_: int = 0,
        artifact: bool = False,
        took_days: float = 0.0,
    ) -> str:
        """A job that ended so many days ago (or was made then, where it is not final); its id."""
        new, row = self._made(days, state, took_days=took_days, artifact=artifact)
        if needs:
            new = new._replace(depends_on=(Dependency(await self._int(needs), On.ANY),))
        await self.writer.commit(Round(at=row.at, inserts=[(new, row)]))
        if bytes_:
            folder = files.job_folder(self.data_dir, new.id)
            path = files.make(folder.artifacts) / "a.txt" if artifact else files.make(folder.attempt(1)) / "output.log"
            path.write_bytes(b"x" * bytes_)
        return new.id

    async def many(self, count: int, days: float) -> None:
        """So many jobs that ended so long ago, without files."""
        rows = [self._made(days, State.SUCCEEDED, took_days=0) for _ in range(count)]
        await self.writer.commit(Round(at=NOW - days * DAY, inserts=rows))

    async def _int(self, job_id: str) -> int:
        return (await self.writer.resolve(Lookup(ids=(job_id,)))).jobs[job_id].job

    async def jobs(self) -> list[str]:
        return [row.id for row in await self.writer.matching(Filter(), 0, 10_000, org=None)]

    def folders(self) -> list[str]:
        return sorted(path.name for path in self.data_dir.glob("jobs/*/*"))

    async def prune(self, retention: Retention = DAYS, *, dry_run: bool = False, busy: bool = False) -> Freed:
        return await prune(self.writer, self.data_dir, retention, at=NOW, busy=lambda _: busy, dry_run=dry_run)


@pytest.fixture
async def past(tmp_path: Path) -> AsyncIterator[Past]:
    writer = await Writer.open(tmp_path / "hpcq.db")
    yield Past(writer, tmp_path)
    await writer.close()


def test_an_id_tells_when_its_job_was_made() -> None:
    assert made_at(id_of(NOW, 7)) == NOW


async def test_jobs_that_ended_long_ago_go_with_their_folders(past: Past) -> None:
    old = await past.job(91, bytes_=10)
    young = await past.job(1, bytes_=10)
    freed = await past.prune()
    assert await past.jobs() == [young]
    assert past.folders() == [young]
    assert (freed.jobs, freed.folders) == (1, 1)
    assert freed.bytes >= 10
    assert old not in past.folders()


async def test_an_unfinished_job_stays_however_old(past: Past) -> None:
    waits = await past.job(400, State.QUEUED, bytes_=10)
    await past.job(1)
    await past.prune()
    assert waits in await past.jobs()
    assert past.folders() == [waits]


async def test_a_job_with_an_unfinished_dependent_stays(past: Past) -> None:
    needed = await past.job(100, bytes_=10)
    await past.job(95, State.BLOCKED, needs=needed)
    await past.job(1)
    assert (await past.prune()).jobs == 0
    assert needed in await past.jobs()


async def test_it_goes_on_round_after_round_until_nothing_is_left(past: Past) -> None:
    await past.many(1101, 100)
    kept = await past.job(1)
    assert (await past.prune()).jobs == 1101
    assert await past.jobs() == [kept]


async def test_outputs_and_artifacts_go_before_their_jobs_do(past: Past) -> None:
    output, artifact = await past.job(15, bytes_=10), await past.job(15, bytes_=10, artifact=True)
    young = await past.job(13, bytes_=10)
    freed = await past.prune()
    assert (freed.jobs, freed.folders) == (0, 2)
    assert past.folders() == [young]
    rows = (await past.writer.resolve(Lookup(ids=(output, artifact)))).jobs
    assert [row.artifacts for row in rows.values()] == [None, None]


async def test_what_matters_is_when_a_job_ended_not_when_it_was_made(past: Past) -> None:
    long = await past.job(1, bytes_=10, took_days=30)
    assert (await past.prune()).folders == 0
    assert past.folders() == [long]


async def test_a_job_that_has_just_been_queued_again_keeps_its_files(past: Past) -> None:
    again = await past.job(15, bytes_=10)
    assert (await past.prune(busy=True)).folders == 0
    assert past.folders() == [again]


async def test_a_folder_that_a_crash_has_left_behind_goes_next_time(past: Past) -> None:
    old, young = id_of(NOW - 100 * DAY, 1), id_of(NOW - DAY, 2)
    for job_id in (old, young):
        files.make(files.job_folder(past.data_dir, job_id).attempt(1))
    assert (await past.prune()).folders == 1
    assert past.folders() == [young]


async def test_only_folders_of_jobs_are_touched(past: Past) -> None:
    other = past.data_dir / "jobs" / "00" / "lost+found"
    other.mkdir(parents=True)
    await past.prune(Retention(jobs_days=0, artifacts_days=0))
    assert other.exists()


async def test_beyond_the_cap_on_the_disk_the_files_of_what_ended_first_go(past: Past) -> None:
    long = await past.job(1, bytes_=MB, took_days=5)  # made first, ended last
    third = await past.job(3, bytes_=MB, artifact=True)
    second = await past.job(2, bytes_=MB)
    running = await past.job(4, State.RUNNING, bytes_=MB)
    freed = await past.prune(Retention(disk_mb=3))
    assert (freed.jobs, freed.folders) == (0, 1)
    assert past.folders() == sorted([long, second, running])
    row = (await past.writer.resolve(Lookup(ids=(third,)))).jobs[third]
    assert row.artifacts is None
    assert (await past.prune(Retention(disk_mb=1))).folders == 2
    assert past.folders() == [running]


async def test_below_the_cap_nothing_goes(past: Past) -> None:
    await past.job(3, bytes_=MB)
    assert await past.prune(Retention(disk_mb=100)) == Freed()


async def test_a_dry_run_says_what_would_go_and_takes_nothing(past: Past) -> None:
    await past.job(91, bytes_=10)
    await past.job(15, bytes_=10, artifact=True)
    await past.job(3, bytes_=2 * MB)
    await past.job(2, bytes_=1)
    key = KeyRow("default", "k", b"sha", b"[]", NOW - 2 * DAY)
    await past.writer.commit(Round(at=NOW, keys=[key]))
    retention = Retention(disk_mb=1)
    before = past.folders(), await past.jobs()
    would = await past.prune(retention, dry_run=True)
    assert (past.folders(), await past.jobs()) == before
    assert would == await past.prune(retention)
    assert (would.jobs, would.keys, would.folders) == (1, 1, 3)


async def test_events_beyond_their_number_go(past: Past) -> None:
    await past.many(1010, 1)
    assert (await past.prune(Retention(events=1000))).events == 10
