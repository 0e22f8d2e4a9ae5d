"""Retention: what is old goes. First out of the store, a round at a time, then from the disk: never the other way."""

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

from hpcq.config import Retention
from hpcq.core.job import FINAL
from hpcq.engine import files
from hpcq.engine.admission import KEY_LIFE_S
from hpcq.store.prune import Place
from hpcq.store.prune import Retention as Kept
from hpcq.store.rows import JobRow, Lookup
from hpcq.store.writer import Writer

DAY_S = 86_400.0
SLICE = 100  # folders at a time, so that rounds and requests are served in between
MB = 1 << 20
_ID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Freed:
    """What went; of a dry run: what would go."""

    jobs: int = 0
    events: int = 0
    keys: int = 0
    folders: int = 0
    bytes: int = 0
    blobs: int = 0
    test_runs: int = 0

    def __add__(self, other: "Freed") -> "Freed":
        return Freed(
            self.jobs + other.jobs,
            self.events + other.events,
            self.keys + other.keys,
            self.folders + other.folders,
            self.bytes + other.bytes,
            self.blobs + other.blobs,
            self.test_runs + other.test_runs,
        )


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass over everything: `at` is the wall time, `busy` says whether the core knows the job."""

    writer: Writer
    data_dir: Path
    at: float
    busy: Callable[[int], bool]
    dry_run: bool


async def prune(
    writer: Writer,
    data_dir: Path,
    retention: Retention,
    *,
    at: float,
    busy: Callable[[int], bool] = lambda _: False,
    dry_run: bool = False,
) -> Freed:
    """Remove old jobs, events and keys, and the outputs and artifacts of jobs that ended long ago.

    A crash in between leaves folders that the next pass finds. Raises StoreFull, StoreBroken.
    """
    this = Pass(writer, data_dir, at, busy, dry_run)
    kept = Kept(
        jobs_before=at - retention.jobs_days * DAY_S,
        artifacts_before=at - retention.artifacts_days * DAY_S,
        keys_before=at - KEY_LIFE_S,
        events=retention.events,
    )
    freed = await _old(this, kept) + await _tests(this, at - retention.tests_days * DAY_S)
    if retention.disk_mb is not None:
        freed += await _over(this, kept, retention.disk_mb * MB, freed.bytes if dry_run else 0)
    return freed


async def _store(this: Pass, kept: Kept) -> tuple[Freed, set[str], set[str]]:
    """The store's part, until nothing is left; the ids of jobs that are gone, and of those without artifacts now."""
    freed, gone, bare = Freed(), set[str](), set[str]()
    further: Place | None = Place()
    while further is not None:
        done = await this.writer.prune(kept, further, dry_run=this.dry_run)
        freed += Freed(jobs=len(done.jobs), events=done.events, keys=done.keys)
        gone.update(done.jobs)
        bare.update(done.artifacts)
        further = done.further
    return freed, gone, bare


async def _tests(this: Pass, before: float) -> Freed:
    """The history of tests."""
    freed, after = Freed(), 0
    while (done := await this.writer.prune_tests(before, after, dry_run=this.dry_run))[1] is not None:
        freed += Freed(test_runs=done[0])
        after = done[1]
    return freed


async def _old(this: Pass, kept: Kept) -> Freed:
    """What is over its age."""
    freed, gone, bare = await _store(this, kept)
    newest = max(kept.jobs_before, kept.artifacts_before)
    async for ids in _folders(this.data_dir):
        old = [job_id for job_id in ids if made_at(job_id) < newest]
        rows = await _rows(this, old)
        going = [
            job_id
            for job_id in old
            if job_id in gone or job_id not in rows or _may_go(rows[job_id], kept.artifacts_before, bare)
        ]
        freed += await _remove(this, going, rows)
    return freed


async def _over(this: Pass, kept: Kept, limit: int, already: int) -> Freed:
    """What is beyond the cap on the disk's use: the files of the jobs that ended first. `already`: bytes that go."""
    sizes: dict[str, int] = {}
    async for ids in _folders(this.data_dir):
        sizes |= await asyncio.to_thread(_sizes, this.data_dir, ids)
    total, victims, until = sum(sizes.values()) - already, list[str](), 0.0
    for finished_at, job_id in await _ended(this, kept, list(sizes)) if total > limit else ():
        if total <= limit:
            break
        total -= sizes[job_id]
        until = finished_at + 0.001
        victims.append(job_id)
    freed = Freed()
    if victims:
        _, _, bare = await _store(this, replace(kept, artifacts_before=until))
        for ids in _slices(victims):
            rows = await _rows(this, ids)
            going = [job_id for job_id in ids if job_id in rows and _may_go(rows[job_id], until, bare)]
            freed += await _remove(this, going, rows)
    return freed


async def _ended(this: Pass, kept: Kept, job_ids: list[str]) -> list[tuple[float, str]]:
    """Those of these jobs that are final, by when they ended; without those whose time is over anyway."""
    found = []
    for ids in _slices(job_ids):
        for row in (await _rows(this, ids)).values():
            if row.state in FINAL and row.finished_at is not None and row.finished_at >= kept.artifacts_before:
                found.append((row.finished_at, row.id))
    return sorted(found)


def _may_go(row: JobRow, before: float, bare: Collection[str]) -> bool:
    """The job ended before then, and the store names no artifacts of it: it keeps those that others still need."""
    if row.state not in FINAL or row.finished_at is None or row.finished_at >= before:
        return False
    return row.artifacts is None or row.id in bare


async def _rows(this: Pass, ids: list[str]) -> Mapping[str, JobRow]:
    return (await this.writer.resolve(Lookup(ids=tuple(ids)))).jobs if ids else {}


async def _remove(this: Pass, ids: list[str], rows: Mapping[str, JobRow]) -> Freed:
    """Remove these folders, but for those of jobs that somebody has just queued again."""
    sizes = await asyncio.to_thread(_sizes, this.data_dir, ids) if ids else {}
    going = [job_id for job_id in ids if job_id not in rows or not this.busy(rows[job_id].job)]
    if going and not this.dry_run:
        await asyncio.to_thread(_remove_all, this.data_dir, going)
    return Freed(folders=len(going), bytes=sum(sizes[job_id] for job_id in going))


# The disk.


def made_at(job_id: str) -> float:
    """When a job was made (wall time), going by its id, a UUIDv7."""
    return (UUID(job_id).int >> 80) / 1000


async def _folders(data_dir: Path) -> AsyncIterator[list[str]]:
    """The ids of all jobs that have a folder, some at a time."""
    for part in range(256):
        ids = await asyncio.to_thread(_listed, data_dir / "jobs" / f"{part:02x}")
        for some in _slices(ids):
            yield some


def _slices(ids: list[str]) -> Iterator[list[str]]:
    for first in range(0, len(ids), SLICE):
        yield ids[first : first + SLICE]


def _listed(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if _ID.fullmatch(name))
    except FileNotFoundError:
        return []


def _sizes(data_dir: Path, ids: list[str]) -> dict[str, int]:
    return {job_id: sum(_taken(files.job_folder(data_dir, job_id).path)) for job_id in ids}


def _taken(folder: Path) -> Iterator[int]:
    """The bytes that each file below takes."""
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # it has just gone
                found = os.lstat(os.path.join(root, name))  # noqa: PTH118  (a Path for each would cost more than the call)
                yield max(found.st_size, found.st_blocks * 512)


def _remove_all(data_dir: Path, ids: list[str]) -> None:
    for job_id in ids:
        files.remove(files.job_folder(data_dir, job_id).path)
