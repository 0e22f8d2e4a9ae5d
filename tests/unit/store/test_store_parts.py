"""The store's smaller parts, each by itself."""

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcq.core.job import RetryPolicy, State, Treatment
from hpcq.store import interned
from hpcq.store.codec import treatment_of, treatment_text
from hpcq.store.cursor import BadCursor, Cursor, decode, encode
from hpcq.store.filter import Filter
from hpcq.store.hop import Hop
from hpcq.store.interned import Interned
from hpcq.store.ledger import Ledger
from hpcq.store.prune import made_before
from hpcq.store.query import Page, counts_query, page_query
from hpcq.store.rows import Round
from hpcq.store.schema import open_for_writing
from hpcq.store.statements import Many
from tests.support.storerows import NOW, new, saved
from tests.support.wait import wait_until

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
amounts = st.floats(0, 1e6) | st.integers(0, 1000)
treatments = st.builds(
    Treatment,
    queue=names,
    org_id=names,
    priority=st.integers(-100, 100),
    session_key=st.none() | names,
    resources=st.lists(st.tuples(names, amounts), max_size=3).map(tuple),
    requires=st.lists(st.tuples(names, names), max_size=3).map(tuple),
    timeout_s=st.none() | st.floats(0, 1e9),
    retries=st.builds(RetryPolicy, max=st.integers(0, 100), jitter=st.booleans()),
)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(open_for_writing(tmp_path / "hpcq.db")) as db:
        yield db


@given(treatments)
def test_a_treatment_survives_its_text(treatment: Treatment) -> None:
    assert treatment_of(treatment_text(treatment)) == treatment


@given(st.integers(0, 10**18 - 1), st.booleans())
def test_a_cursor_survives_its_text(job: int, ascending: bool) -> None:
    assert decode(encode(Cursor(job, ascending)), ascending=ascending) == job


@given(st.text(max_size=30))
def test_what_is_no_cursor_is_a_bad_cursor_or_a_number(text: str) -> None:
    with contextlib.suppress(BadCursor):
        assert decode(text, ascending=False) >= 0


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 17, 63, 64, 511, 512, 513, 1700])
def test_statements_for_many_rows_take_each_row_once_and_in_order(db: sqlite3.Connection, count: int) -> None:
    db.execute("CREATE TABLE found (number INTEGER, word TEXT)")
    rows = [(number, str(number)) for number in range(count)]
    returned = Many("INSERT INTO found VALUES", "(?, ?)", "RETURNING number").run(db, rows)
    assert [number for (number,) in returned] == list(range(count))
    assert db.execute("SELECT * FROM found ORDER BY rowid").fetchall() == rows


def test_equal_treatments_share_a_row_and_an_object(db: sqlite3.Connection) -> None:
    kept = Interned(db)
    first, second = kept.treatment(Treatment("a")), kept.treatment(Treatment("b"))
    assert first != second
    assert kept.treatment(Treatment("a")) == first
    again = Interned(db)
    assert again.treatment(Treatment("b")) == second
    found = again.treatments({first, second})
    assert found == {first: Treatment("a"), second: Treatment("b")}
    assert again.treatments({first})[first] is found[first]


def test_more_treatments_than_are_remembered_are_still_right(
    db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interned, "REMEMBERED", 10)
    kept = Interned(db)
    numbers = {priority: kept.treatment(Treatment("a", priority=priority)) for priority in range(50)}
    assert {priority: kept.treatment(Treatment("a", priority=priority)) for priority in range(50)} == numbers
    assert len(set(numbers.values())) == 50


@given(
    gaps=st.lists(st.tuples(st.integers(1, 50), st.integers(0, 3)), max_size=30),
    wall=st.integers(-1, 70),
    data=st.data(),
)
def test_the_last_job_made_before_a_time_is_found_among_gaps(
    gaps: list[tuple[int, int]], wall: int, data: st.DataObject
) -> None:
    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        db.execute("CREATE TABLE jobs (job INTEGER PRIMARY KEY, created_at REAL)")
        job, at, before = 0, 0, 0
        for gap, later in gaps:
            job, at = job + gap, at + later
            db.execute("INSERT INTO jobs VALUES (?, ?)", (job, at))
            before = job if at < wall else before
        found = made_before(db, float(wall))
        assert found >= before
        assert db.execute("SELECT count(*) FROM jobs WHERE job <= ? AND created_at >= ?", (found, wall)).fetchone() == (
            0,
        )


INDEXED = {
    "newest": (None, Filter()),
    "state": (None, Filter(states=("failed",))),
    "queue": (None, Filter(queues=("local", "compute"))),
    "org": ("a", Filter()),
    "all three": ("a", Filter(states=("queued", "failed"), queues=("local",))),
    "tag": (None, Filter(tags=(("k", "v"), ("l", "w")))),
    "tag and org": ("a", Filter(tags=(("k", "v"),), states=("queued",))),
    "number": ("a", Filter(number=7)),
    "batch key": (None, Filter(batch_key="k", states=("queued",), queues=("local",))),
}


@pytest.mark.parametrize("name", INDEXED)
@pytest.mark.parametrize("ascending", [False, True])
def test_no_list_that_an_index_can_answer_looks_at_every_job(
    db: sqlite3.Connection, name: str, ascending: bool
) -> None:
    org, wanted = INDEXED[name]
    for query in (page_query(org, wanted, Page(50, 1000, ascending)), counts_query(org, wanted)):
        plan = [step for *_, step in db.execute(f"EXPLAIN QUERY PLAN {query[0]}", query[1])]
        assert not [step for step in plan if step.startswith("SCAN j")], plan
        assert not [step for step in plan if step.startswith("SCAN g")], plan


def test_a_verdict_and_an_outcomes_error_give_one_error(db: sqlite3.Connection) -> None:
    ledger = Ledger(db)
    ledger.commit(Round(NOW, inserts=[(new(1), saved(1, State.QUEUED))]))
    error = b'{"type":"timeout","message":"too long"}'
    ledger.commit(Round(NOW, saves=[saved(1, State.FAILED, keep=True, error=error)]))
    assert db.execute("SELECT error_type FROM jobs").fetchall() == [("timeout",)]
    assert db.execute("SELECT error FROM outcomes").fetchall() == [(error,)]


async def test_calls_run_in_order_on_one_thread_and_errors_come_back() -> None:
    after: list[int] = []
    hop = Hop("test", after=lambda: after.append(1), idle=lambda: None, idle_s=60)
    seen: list[int] = []

    def note(number: int) -> int:
        seen.append(number)
        return threading.get_ident()

    threads = await asyncio.gather(*(hop.run(lambda n=n: note(n)) for n in range(50)))  # type: ignore[misc]
    assert seen == list(range(50))
    assert len(set(threads)) == 1
    assert threads[0] != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        await hop.run(lambda: 1 // 0)
    hop.end()
    hop.end()
    assert len(after) == 51


async def test_idle_is_told_once_until_there_is_work_again() -> None:
    idle: list[int] = []
    hop = Hop("test", after=lambda: None, idle=lambda: idle.append(1), idle_s=0.01)
    await hop.run(lambda: None)
    await wait_until(lambda: len(idle) == 1, what="the idle call")
    await hop.run(lambda: None)
    await wait_until(lambda: len(idle) == 2, what="the second idle call")
    hop.end()


def test_an_answer_to_a_loop_that_is_closed_is_dropped() -> None:
    hop = Hop("test", after=lambda: None, idle=lambda: None, idle_s=60)
    go, done = threading.Event(), threading.Event()

    def work() -> None:
        go.wait(10)
        done.set()

    async def ask_and_leave() -> None:
        asking = asyncio.ensure_future(hop.run(work))
        await asyncio.sleep(0)
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking

    asyncio.run(ask_and_leave())
    go.set()
    assert done.wait(10)
    hop.end()
