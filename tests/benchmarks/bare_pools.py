"""The limit for `square_sum` end to end: a bare loop that hands jobs to two pool workers, eight at a time, and commits
what it has begun and what has ended to SQLite, FULL. No HTTP, no validation, no priorities, no events.

`python -m tests.benchmarks.bare_pools FILE JOBS` prints the seconds.
"""

import asyncio
import multiprocessing
import sqlite3
import sys
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

AHEAD = 8


def square_sums(batch: Sequence[Sequence[int]]) -> list[int]:
    """What a worker does with a handful of jobs."""
    return [sum(x * x for x in data) for data in batch]


def _commit(db: sqlite3.Connection, sql: str, rows: Sequence[tuple[int, int]]) -> None:
    db.execute("BEGIN IMMEDIATE")
    db.executemany(sql, rows)
    db.execute("COMMIT")


async def _slot(
    pool: ProcessPoolExecutor, writer: ThreadPoolExecutor, db: sqlite3.Connection, left: deque[int]
) -> None:
    loop = asyncio.get_running_loop()
    while left:
        batch = [left.popleft() for _ in range(min(AHEAD, len(left)))]
        begun = [(1, job) for job in batch]
        await loop.run_in_executor(writer, _commit, db, "UPDATE jobs SET state = ? WHERE job = ?", begun)
        values = await loop.run_in_executor(pool, square_sums, [[1, 2, 3]] * len(batch))
        ended = list(zip(values, batch, strict=True))
        await loop.run_in_executor(writer, _commit, db, "UPDATE jobs SET state = 2, value = ? WHERE job = ?", ended)


async def main(path: str, jobs: int) -> float:
    """Run so many jobs; seconds, keeping them included."""
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    for statement in (
        "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = FULL",
        "CREATE TABLE jobs (job INTEGER PRIMARY KEY, state INTEGER, value INTEGER)",
    ):
        db.execute(statement)
    kind = multiprocessing.get_context("forkserver")
    with ThreadPoolExecutor(1) as writer, ProcessPoolExecutor(1, kind) as one, ProcessPoolExecutor(1, kind) as two:
        for pool in (one, two):
            pool.submit(square_sums, [[1]]).result()
        began = time.perf_counter()
        _commit(db, "INSERT INTO jobs (state, job) VALUES (?, ?)", [(0, job) for job in range(jobs)])
        left = deque(range(jobs))
        await asyncio.gather(*(_slot(pool, writer, db, left) for pool in (one, two)))
        return time.perf_counter() - began


if __name__ == "__main__":
    print(asyncio.run(main(sys.argv[1], int(sys.argv[2]))))
