"""How fast the store is, each figure beside a limit that bare sqlite3 reaches in the same run.

The limits here guard against a slip by a factor, not by a tenth: other work on the machine moves both by much.
"""

import asyncio
import contextlib
import gc
import sqlite3
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from hpcq.core.job import FRESH, NewJob, State, Treatment
from hpcq.store.filter import Filter
from hpcq.store.reader import Reader
from hpcq.store.rows import NewRow, Round, SaveRow
from hpcq.store.writer import Writer
from tests.support.storerows import NOW, ended, new, saved

pytestmark = pytest.mark.benchmark

BULK = 100_000
SPEC = (
    b'{"queue":"compute","params":{"operation":"square_sum","data":[1,2,3]},"name":null,"priority":0,'
    b'"org_id":"default","tags":{"sweep":"a"},"depends_on":[],"retries":{"max":0,"backoff_s":1.0}}'
)
TREATMENTS = [Treatment(queue, priority=priority) for queue in ("compute", "local", "noop") for priority in (0, 10)]


def report(what: str, figure: str, limit: str = "") -> None:
    print(f"\n{what}: {figure}{f' (limit: {limit})' if limit else ''}", end="")


def pair(job: int) -> tuple[NewRow, SaveRow]:
    row = new(job)._replace(
        treatment=TREATMENTS[job % 6], spec=SPEC, tags=(("sweep", f"s{job // BULK}"),), runner="matrix"
    )
    return row, saved(job, State.QUEUED, "job.submitted")


def bulk(first: int, count: int = BULK) -> Round:
    return Round(NOW, inserts=[pair(job) for job in range(first, first + count)])


def bare(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "wal_autocheckpoint = 0", "cache_size = -32768"):
        db.execute(f"PRAGMA {pragma}")
    db.execute(
        "CREATE TABLE jobs (job INTEGER PRIMARY KEY, id TEXT, state TEXT, number INTEGER, treatment INTEGER, at REAL)"
    )
    db.execute("CREATE TABLE specs (job INTEGER PRIMARY KEY, spec TEXT)")
    db.execute("CREATE TABLE events (seq INTEGER PRIMARY KEY, at REAL, type TEXT, id TEXT, state TEXT, queue TEXT)")
    db.execute("CREATE TABLE tags (key TEXT, value TEXT, job INTEGER, PRIMARY KEY (key, value, job)) WITHOUT ROWID")
    return db


def bare_bulk(db: sqlite3.Connection, round_: Round) -> float:
    """Seconds for the same rows by executemany, into tables without an index."""
    rows = [row for row, _ in round_.inserts]
    began = time.perf_counter()
    db.execute("BEGIN IMMEDIATE")
    db.executemany("INSERT INTO jobs VALUES (?,?,?,?,?,?)", [(r.job, r.id, "queued", r.number, 1, NOW) for r in rows])
    db.executemany("INSERT INTO specs VALUES (?,?)", [(r.job, r.spec.decode()) for r in rows])
    events = [(r.job, NOW, "job.submitted", r.id, "queued", "compute") for r in rows]
    db.executemany("INSERT INTO events VALUES (?,?,?,?,?,?)", events)
    db.executemany("INSERT INTO tags VALUES (?,?,?)", [(*r.tags[0], r.job) for r in rows])
    db.execute("COMMIT")
    return time.perf_counter() - began


@contextlib.asynccontextmanager
async def lag() -> AsyncIterator[list[float]]:
    """How late the loop is, ms, sample by sample."""
    found: list[float] = []

    async def watch() -> None:
        while True:
            due = time.perf_counter() + 0.002
            await asyncio.sleep(0.002)
            found.append((time.perf_counter() - due) * 1000)

    watching = asyncio.create_task(watch())
    yield found
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching


@pytest.fixture
def limit(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(bare(tmp_path / "bare.db")) as db:
        yield db


async def test_a_bulk_of_100_000_jobs(tmp_path: Path, limit: sqlite3.Connection) -> None:
    writer = await Writer.open(tmp_path / "hpcq.db")
    ratios, rates = [], []
    for turn in range(3):
        round_ = bulk(1 + turn * BULK)
        limit_s = bare_bulk(limit, round_)
        async with lag() as lags:
            began = time.perf_counter()
            committed = await writer.commit(round_)
            took_s = time.perf_counter() - began
        assert len(committed.events) == BULK
        ratios.append(limit_s / took_s)
        rates.append(BULK / took_s)
        p99 = statistics.quantiles(lags, n=100)[98]
        report(
            "bulk",
            f"{rates[-1]:,.0f} jobs/s = {4 * rates[-1]:,.0f} rows/s",
            f"bare executemany {BULK / limit_s:,.0f} jobs/s",
        )
        report("lag of the loop meanwhile", f"p99 {p99:.1f} ms, max {max(lags):.1f} ms")
    await writer.close()
    assert max(ratios) >= 0.3


async def test_a_round_of_16_single_submits(tmp_path: Path, limit: sqlite3.Connection) -> None:
    writer = await Writer.open(tmp_path / "hpcq.db")
    await writer.commit(bulk(1, 20_000))
    bare_bulk(limit, bulk(1, 20_000))
    ours, theirs = [], []
    for turn in range(500):
        round_ = bulk(20_001 + 16 * turn, 16)
        began = time.perf_counter()
        await writer.commit(round_)
        ours.append(time.perf_counter() - began)
        theirs.append(bare_bulk(limit, round_))
    await writer.close()
    report(
        "16 submits", f"p50 {statistics.median(ours) * 1e3:.2f} ms", f"bare {statistics.median(theirs) * 1e3:.2f} ms"
    )
    assert statistics.median(ours) <= 4 * statistics.median(theirs)


async def test_ends_of_16_jobs_a_round(tmp_path: Path) -> None:
    writer = await Writer.open(tmp_path / "hpcq.db")
    await writer.commit(bulk(1, 20_000))
    took = []
    for first in range(1, 16 * 500, 16):
        round_ = Round(NOW, saves=[ended(job, result=b"14") for job in range(first, first + 16)])
        began = time.perf_counter()
        await writer.commit(round_)
        took.append(time.perf_counter() - began)
    await writer.close()
    report("16 ends", f"p50 {statistics.median(took) * 1e3:.2f} ms, {16 / statistics.median(took):,.0f} jobs/s")


async def timed(what: str, ask: Callable[[], object], times: int = 5) -> float:
    """The median of some askings, s."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        await ask()  # type: ignore[misc]
        took.append(time.perf_counter() - began)
    report(what, f"{statistics.median(took) * 1000:.1f} ms")
    return statistics.median(took)


async def test_a_million_queued_jobs_are_listed_and_loaded_quickly(tmp_path: Path) -> None:
    writer = await Writer.open(tmp_path / "hpcq.db")
    for turn in range(10):
        await writer.commit(bulk(1 + turn * BULK))
    await writer.commit(Round(NOW, saves=[ended(job) for job in range(500_000, 500_100)]))
    reader = await Reader.open(tmp_path / "hpcq.db")
    for what, wanted in {
        "page, newest": Filter(),
        "page, state": Filter(states=("queued",)),
        "page, rare state": Filter(states=("succeeded",)),
        "page, no such state": Filter(states=("failed",)),
        "page, queue and states": Filter(queues=("compute",), states=("queued", "running")),
        "page, tag": Filter(tags=(("sweep", "s3"),)),
    }.items():
        assert await timed(what, lambda wanted=wanted: reader.jobs(None, wanted, 50)) <= 0.05  # type: ignore[misc]
    await timed("counts of all", lambda: reader.summary(None, Filter()), 3)
    await timed("text that is nowhere", lambda: reader.jobs(None, Filter(text="nowhere"), 50), 1)
    await reader.close()
    await writer.close()
    writer = await Writer.open(tmp_path / "hpcq.db")
    gc.disable()  # as the server does it while it recovers: nothing that is loaded is garbage
    began, loaded, after, more = time.perf_counter(), [], 0, True
    while more:
        part = await writer.load(after)
        loaded.append(part.waiting)
        after, more = part.last, part.more
    took_s = time.perf_counter() - began
    began = time.perf_counter()
    made = [NewJob(job, TREATMENTS[0], FRESH, None, None, (), State.QUEUED) for job in range(1_000_000)]
    limit_s = time.perf_counter() - began
    gc.enable()
    report("load of 1,000,000", f"{took_s:.2f} s", f"making the objects {limit_s:.2f} s")
    assert sum(map(len, loaded)) == 1_000_000 - 100
    assert len(made) == 1_000_000
    await writer.close()
