"""The store's part of tests: what attempts reported, and the history of each test."""

import contextlib
import sqlite3
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, cast, get_args

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcq.engine.testcases import merged
from hpcq.plugin import Outcome, TestCase
from hpcq.plugin.types import TestStatus
from hpcq.store.cursor import BadCursor
from hpcq.store.prune import Retention
from hpcq.store.reader import Reader
from hpcq.store.rows import AttemptRow, CaseRow, Round, VerdictsRow
from hpcq.store.schema import migrations, open_for_writing
from hpcq.store.tests import (
    RUNS_KEPT,
    CaseFilter,
    CaseStats,
    Place,
    durations_sql,
    page_sql,
    prune_history,
    write_history,
)
from hpcq.store.writer import Writer
from tests.support.storerows import NOW, ended, job_id, jobs_with, reading, writing

ALL = CaseFilter()
SUITES = 4  # the migration that they came with
HUGE = Place("", "", "", 2**63).cursor()


@pytest.fixture
async def writer(tmp_path: Path) -> AsyncIterator[Writer]:
    async with writing(tmp_path / "hpcq.db") as writer:
        yield writer


@pytest.fixture
async def reader(writer: Writer, tmp_path: Path) -> AsyncIterator[Reader]:
    async with reading(tmp_path / "hpcq.db") as reader:
        yield reader


def case(id_: str = "t", status: str = "passed", duration_s: float = 1.0, **more: Any) -> CaseRow:
    return CaseRow(id_, f"title of {id_}", "a.spec.js", 1, status, duration_s)._replace(**more)


def ran(job: int, *tests: CaseRow, org_id: str = "default", commit: str | None = None, at: float = NOW) -> Round:
    return Round(at, verdicts=[VerdictsRow(job, org_id, commit, at, tests)])


async def only(reader: Reader, org: str | None = None, wanted: CaseFilter = ALL) -> CaseStats:
    (found,), _ = await reader.tests(org, wanted)
    return found


async def ids(reader: Reader, org: str | None = None, **wanted: Any) -> list[str]:
    return [stats.id for stats in (await reader.tests(org, CaseFilter(**wanted)))[0]]


# Each attempt's own.


async def test_an_attempts_tests_come_back_with_it_and_go_with_its_job(writer: Writer, reader: Reader) -> None:
    await writer.commit(jobs_with([1, 2]))
    tests = orjson.dumps([{"id": "t"}])
    attempt = AttemptRow(1, 1, "failed", "s", NOW, NOW, tests=tests, commit="abc")
    await writer.commit(Round(NOW, saves=[ended(1)], attempts=[attempt, AttemptRow(1, 2, "failed", "s", NOW, NOW)]))
    first, second = await reader.attempts(None, job_id(1))
    assert (first.tests, first.commit) == (tests, "abc")
    assert (second.tests, second.commit) == (None, None)
    assert await reader.attempts("another", job_id(1)) == []
    await writer.prune(Retention(jobs_before=NOW + 1, artifacts_before=0, keys_before=0, events=1000))
    assert await reader._rows("SELECT * FROM attempt_tests") == []


async def test_a_round_that_is_refused_leaves_no_history(writer: Writer, reader: Reader) -> None:
    bad = ran(1, case(), case("u", duration_s=cast("float", None)))
    with pytest.raises(Exception, match="NOT NULL"):
        await writer.commit(bad)
    assert await ids(reader) == []


# History.


async def test_runs_are_counted_by_job_and_rated(writer: Writer, reader: Reader) -> None:
    for job, (status, seconds) in enumerate((("passed", 1.0), ("failed", 9.0), ("flaky", 3.0), ("skipped", 0.0)), 1):
        await writer.commit(ran(job, case(status=status, duration_s=seconds), commit=f"c{job}", at=NOW + job))
    found = await only(reader)
    assert (found.passed, found.failed, found.flaky, found.skipped) == (1, 1, 1, 1)
    assert found.p50_duration_s == 3.0, "of those that ran"
    assert (found.last_status, found.last_commit, found.last_at) == ("skipped", "c4", NOW + 4)


async def test_failed_and_passed_on_one_commit_is_flaky_on_two_it_is_not(writer: Writer, reader: Reader) -> None:
    await writer.commit(ran(1, case("same", "failed"), case("other", "failed"), case("steady"), commit="c1"))
    await writer.commit(ran(2, case("same"), case("steady"), commit="c1"))
    await writer.commit(ran(3, case("other"), commit="c2"))
    assert await ids(reader, flaky=True) == ["same"]
    assert await ids(reader, flaky=False) == ["other", "steady"]
    assert [stats.unsteady for stats in (await reader.tests(None, ALL))[0]] == [False, True, False]


async def test_without_a_commit_only_the_attempts_of_one_job_are_compared(writer: Writer, reader: Reader) -> None:
    await writer.commit(ran(1, case("a", "failed"), case("b", "failed")))
    await writer.commit(ran(1, case("a")))
    await writer.commit(ran(2, case("b")))
    assert await ids(reader, flaky=True) == ["a"]


async def test_to_ask_for_flaky_tests_does_not_go_over_all_runs() -> None:
    sql, _ = page_sql(None, CaseFilter(flaky=True), 10, None)
    assert "test_runs" not in sql


async def test_a_test_is_flaky_no_more_when_the_runs_that_said_so_are_gone(writer: Writer, reader: Reader) -> None:
    await writer.commit(ran(1, case("mended", "failed"), case("still", "failed"), commit="c1"))
    await writer.commit(ran(2, case("mended"), case("still"), commit="c1", at=NOW + 10))
    await writer.commit(ran(3, case("still", "failed"), commit="c1", at=NOW + 10))
    assert await ids(reader, flaky=True) == ["mended", "still"]
    await writer.prune_tests(NOW + 5, dry_run=True)
    assert await ids(reader, flaky=True) == ["mended", "still"], "a dry run only counts"
    await writer.prune_tests(NOW + 5)
    assert await ids(reader, flaky=True) == ["still"]
    assert await ids(reader, flaky=False) == ["mended"]


async def test_figures_are_of_the_newest_runs_before_older_ones_are_removed_too(writer: Writer, reader: Reader) -> None:
    old = [VerdictsRow(job, "default", None, NOW, (case(status="failed", duration_s=99.0),)) for job in range(1, 301)]
    new = [VerdictsRow(job, "default", None, NOW, (case(),)) for job in range(301, 301 + RUNS_KEPT)]
    await writer.commit(Round(NOW, verdicts=[*old, *new]))
    found = await only(reader)
    assert (found.passed, found.failed, found.p50_duration_s) == (RUNS_KEPT, 0, 1.0)
    assert await reader.file_durations("default", [("", "a.spec.js")]) == {("", "a.spec.js"): 1.0}


async def test_a_job_tried_again_on_another_commit_is_another_run(writer: Writer, reader: Reader) -> None:
    await writer.commit(ran(1, case(status="failed"), commit="broken"))
    await writer.commit(ran(1, case(), commit="mended", at=NOW + 1))
    found = await only(reader)
    assert (found.failed, found.passed, found.flaky, found.unsteady) == (1, 1, 0, False)


async def test_the_last_title_file_and_line_stand(writer: Writer, reader: Reader) -> None:
    await writer.commit(ran(1, case()))
    await writer.commit(ran(2, case(title="new", file="b.spec.js", line=9)))
    found = await only(reader)
    assert (found.title, found.file, found.line, found.passed) == ("new", "b.spec.js", 9, 2)


async def test_the_last_job_is_named_as_long_as_it_is_there(writer: Writer, reader: Reader) -> None:
    await writer.commit(jobs_with([1, 2]))
    await writer.commit(ran(1, case("a"), case("b")))
    await writer.commit(ran(7, case("b"), at=NOW + 1))
    assert [stats.last_job for stats in (await reader.tests(None, ALL))[0]] == [job_id(1), None]


async def test_orgs_see_their_own_tests_only_though_ids_are_equal(writer: Writer, reader: Reader) -> None:
    await writer.commit(ran(1, case(title="ours"), org_id="a"))
    await writer.commit(ran(2, case(title="theirs", status="failed"), org_id="b"))
    assert (await only(reader, "a")).title == "ours"
    assert (await only(reader, "a")).failed == 0
    assert await ids(reader, "a", org_id="b") == []
    assert len(await ids(reader)) == 2
    assert (await only(reader, None, CaseFilter(org_id="b"))).title == "theirs"
    assert await reader.file_durations("c", [("", "a.spec.js")]) == {}


async def test_tests_are_found_by_file_folder_and_title(writer: Writer, reader: Reader) -> None:
    await writer.commit(
        ran(1, case("1", file="e2e/a.js", title="Logs in"), case("2", file="e2e/b.js"), case("3", file="e2e_b/c.js"))
    )
    assert await ids(reader, file="e2e/a.js") == ["1"]
    assert await ids(reader, file="e2e") == await ids(reader, file="e2e/") == ["1", "2"]
    assert await ids(reader, file="e2e/a") == []
    assert await ids(reader, text="logs IN") == ["1"]
    assert await ids(reader, text="%") == []


async def test_pages_follow_each_other_by_suite_file_and_title(writer: Writer, reader: Reader) -> None:
    tests = [
        case(str(number), file=f"{number % 3}.js", title="same" * (number % 2), suite="b" * (number % 5 > 2))
        for number in range(20)
    ]
    await writer.commit(ran(1, *tests))
    seen: list[CaseStats] = []
    cursor: str | None = None
    while True:
        page, cursor = await reader.tests(None, ALL, 3, cursor)
        seen += page
        if cursor is None:
            break
        assert len(page) == 3
    assert sorted(int(stats.id) for stats in seen) == list(range(20))
    places = [(stats.suite, stats.file, stats.title) for stats in seen]
    assert places == sorted(places)


@pytest.mark.parametrize("text", ["", "x", "é", "W10", "WzEsMiwzLDRd", "bnVsbA", HUGE])
async def test_what_is_no_cursor_is_refused(reader: Reader, text: str) -> None:
    with pytest.raises(BadCursor):
        await reader.tests(None, ALL, 3, text)


@given(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.integers(0, 2**60),
)
def test_cursors_come_back_as_they_went(suite: str, file: str, title: str, test: int) -> None:
    assert Place.of_cursor(Place(suite, file, title, test).cursor()) == (suite, file, title, test)


async def test_a_file_takes_as_long_as_its_tests_usually_do(writer: Writer, reader: Reader) -> None:
    for job, seconds in enumerate((1.0, 2.0, 30.0), 1):
        await writer.commit(ran(job, case("a", duration_s=seconds), case("b", duration_s=5.0)))
    await writer.commit(ran(4, case("c", "skipped", file="skipped.js"), case("d", file="d.js")))
    files = [("", name) for name in ("a.spec.js", "d.js", "skipped.js", "unknown.js")]
    assert await reader.file_durations("default", files) == {("", "a.spec.js"): 7.0, ("", "d.js"): 1.0}
    many = [("", str(number)) for number in range(2000)]
    assert len(await reader.file_durations("default", [*many, ("", "d.js")])) == 1


# Suites.


async def test_tests_of_two_suites_share_nothing_though_their_ids_are_equal(writer: Writer, reader: Reader) -> None:
    shop, bank = case("login", suite="shop"), case("login", "failed", suite="bank", duration_s=60.0)
    await writer.commit(ran(1, shop, bank, commit="c1"))
    await writer.commit(ran(2, bank, commit="c1"))
    found = [(stats.suite, stats.passed, stats.failed, stats.unsteady) for stats in (await reader.tests(None, ALL))[0]]
    assert found == [("bank", 0, 2, False), ("shop", 1, 0, False)]
    assert (await only(reader, None, CaseFilter(suite="shop"))).p50_duration_s == 1.0
    assert await ids(reader, suite="") == []
    files = [("bank", "a.spec.js"), ("shop", "a.spec.js"), ("", "a.spec.js")]
    assert await reader.file_durations("default", files) == dict(zip(files, (60.0, 1.0), strict=False))


async def test_only_the_suite_that_failed_and_passed_on_a_commit_is_flaky(writer: Writer, reader: Reader) -> None:
    for job, (suite, status) in enumerate((("shop", "failed"), ("bank", "passed"), ("bank", "failed")), 1):
        await writer.commit(ran(job, case("login", status, suite=suite), commit="c1"))
    assert (await only(reader, None, CaseFilter(flaky=True))).suite == "bank"
    assert (await only(reader, None, CaseFilter(flaky=False))).suite == "shop"


def test_to_ask_how_long_files_take_does_not_go_over_all_tests(tmp_path: Path) -> None:
    sql, values = durations_sql("default", [("shop", "a.js"), ("", "b.js")])
    with contextlib.closing(open_for_writing(tmp_path / "hpcq.db")) as db:
        plan = [step for *_, step in db.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
    assert any(step.startswith("SEARCH f ") and "tests_by_file" in step and "file=?" in step for step in plan), plan


def test_an_old_file_keeps_its_history_as_that_of_no_suite(tmp_path: Path) -> None:
    path = tmp_path / "hpcq.db"
    with contextlib.closing(open_for_writing(path, [step for step in migrations() if step[0] < SUITES])) as db:
        db.execute("INSERT INTO tests VALUES (3, 'default', 'login', 'a.js', 'logs in', 7, 1)")
        db.execute("INSERT INTO test_runs VALUES (3, 1, 'c1', ?, 'flaky', 1, 1, 2.5)", (NOW,))
    with contextlib.closing(open_for_writing(path)) as db:
        write_history(db, [VerdictsRow(2, "default", "c1", NOW, (case("login"), case("login", suite="shop")))])
        assert db.execute("SELECT test, suite, id, flaky FROM tests ORDER BY suite").fetchall() == [
            (3, "", "login", 1),
            (4, "shop", "login", 0),
        ]
        assert db.execute("SELECT test, job FROM test_runs ORDER BY test, job").fetchall() == [(3, 1), (3, 2), (4, 2)]


# As the engine merges.


def test_history_merges_a_jobs_attempts_as_its_result_does(tmp_path: Path) -> None:
    with contextlib.closing(open_for_writing(tmp_path / "hpcq.db")) as db:
        job = 0

        @given(st.lists(st.sampled_from(get_args(TestStatus)), min_size=1, max_size=6))
        def check(statuses: list[TestStatus]) -> None:
            nonlocal job
            job += 1
            _write(db, job, statuses)
            (found,) = db.execute("SELECT status FROM test_runs WHERE job = ?", (job,)).fetchone()
            outcomes = [Outcome(tests=[TestCase("t", "", "", 1, status, 1.0)]) for status in statuses]
            assert found == merged(outcomes)[0].status

        check()


def _write(db: sqlite3.Connection, job: int, statuses: Sequence[str]) -> None:
    for status in statuses:
        write_history(db, [VerdictsRow(job, "default", None, NOW, (case(status=status),))])


# Retention.


async def test_only_the_newest_runs_of_each_test_are_kept(writer: Writer, reader: Reader) -> None:
    verdicts = [VerdictsRow(job, "default", None, NOW, (case("often"),)) for job in range(1, RUNS_KEPT + 8)]
    await writer.commit(Round(NOW, verdicts=[*verdicts, VerdictsRow(1, "default", None, NOW, (case("once"),))]))
    assert (await writer.prune_tests(0, dry_run=True))[0] == 7
    assert (await writer.prune_tests(0))[0] == 7
    assert {stats.id: stats.passed for stats in (await reader.tests(None, ALL))[0]} == {"often": RUNS_KEPT, "once": 1}
    (oldest,) = (await reader._rows("SELECT min(job) FROM test_runs WHERE test = 1"))[0]
    assert oldest == 8


async def test_old_runs_go_and_so_do_tests_without_any(writer: Writer, reader: Reader) -> None:
    await writer.commit(ran(1, case("old"), case("both"), at=NOW))
    await writer.commit(ran(2, case("both"), at=NOW + 10))
    assert (await writer.prune_tests(NOW + 5, dry_run=True))[0] == 2
    assert await ids(reader) == ["both", "old"]
    assert (await writer.prune_tests(NOW + 5))[0] == 2
    assert [(stats.id, stats.passed) for stats in (await reader.tests(None, ALL))[0]] == [("both", 1)]


def test_a_pass_goes_over_all_tests_a_part_at_a_time(tmp_path: Path) -> None:
    with contextlib.closing(open_for_writing(tmp_path / "hpcq.db")) as db:
        many = tuple(case(str(number)) for number in range(1200))
        write_history(db, [VerdictsRow(1, "default", None, NOW, many)])
        rounds, after = [], 0
        while True:
            gone, further = prune_history(db, NOW + 1, after)
            if further is None:
                break
            rounds.append(gone)
            after = further
        assert rounds == [500, 500, 200]
