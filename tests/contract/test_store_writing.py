"""What the store promises about rounds: all or nothing, kept, numbered without holes."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hpcq.core.job import Dependency, ErrorType, History, On, State, StopReason
from hpcq.core.job import Error as Verdict
from hpcq.store.errors import StoreRefused
from hpcq.store.rows import AttemptRow, EditRow, EventRow, KeyRow, Lookup, QueueRow, Round, ScheduleRow, ScheduleRun
from hpcq.store.writer import Writer
from tests.support.storerows import NOW, SPEC, ended, job_id, jobs_with, needs, new, saved, submitted, writing


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hpcq.db"


@pytest.fixture
async def writer(path: Path) -> AsyncIterator[Writer]:
    async with writing(path) as writer:
        yield writer


def raw(path: Path, sql: str) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        return db.execute(sql).fetchall()


async def test_a_job_is_read_back_as_it_was_inserted_after_the_file_was_closed_and_opened(path: Path) -> None:
    row = new(
        1, name="build", tags=(("sweep", "a"),), batch_key="key", run_at=NOW + 60, expires_at=NOW + 600, priority=10,
        resources=(("cpus", 2.0),), requires=(("os", "14"),), timeout_s=30.0, session_key="key", org_id="qualgent",
    )  # fmt: skip
    async with writing(path) as writer:
        await writer.commit(Round(NOW, inserts=[(row, saved(1, State.DELAYED, "job.submitted", due=NOW + 60))]))
    async with writing(path) as writer:
        found = (await writer.resolve(Lookup(ids=(row.id,)))).jobs[row.id]
    assert (found.job, found.id, found.org_id, found.number) == (1, job_id(1), "qualgent", 1)
    assert (found.name, found.batch_key, found.spec, found.runner) == ("build", "key", SPEC, "shell")
    assert (found.state, found.history, found.treatment) == (State.DELAYED, History(), row.treatment)
    assert (found.queue, found.priority) == ("local", 10)
    assert (found.created_at, found.updated_at, found.run_at, found.expires_at) == (NOW, NOW, NOW + 60, NOW + 600)
    assert (found.started_at, found.finished_at, found.slot, found.stop) == (None, None, None, None)


async def test_a_whole_life_is_read_back(writer: Writer) -> None:
    await writer.commit(jobs_with([1]))
    await writer.commit(
        Round(NOW, saves=[saved(1, State.STARTING, attempt=1, slot="local/0")], handles=[(1, 1, b"{}")])
    )
    await writer.commit(
        Round(NOW, saves=[saved(1, State.RUNNING, "job.started", attempt=1, slot="local/0", at=NOW + 1)])
    )
    (running,) = (await writer.resolve(Lookup(ids=(job_id(1),)))).jobs.values()
    assert (running.state, running.slot, running.handle, running.started_at) == (
        State.RUNNING,
        "local/0",
        b"{}",
        NOW + 1,
    )
    end = saved(
        1, State.SUCCEEDED, "job.succeeded", attempt=1, at=NOW + 5, keep=True, result=b"14", usage=b'{"cpu_s":1}',
        progress=b'{"done":1}', artifacts=b'[{"name":"a","size":1}]',
    )  # fmt: skip
    await writer.commit(Round(NOW, saves=[end]))
    (final,) = (await writer.resolve(Lookup(ids=(job_id(1),)))).jobs.values()
    assert (final.state, final.slot, final.started_at, final.finished_at) == (State.SUCCEEDED, None, NOW + 1, NOW + 5)
    assert (final.result, final.usage, final.progress) == (b"14", b'{"cpu_s":1}', b'{"done":1}')
    assert (final.error, final.artifacts) == (None, b'[{"name":"a","size":1}]')


async def test_a_job_that_is_inserted_and_started_in_one_round_is_starting(writer: Writer) -> None:
    row = saved(1, State.STARTING, "job.submitted", attempt=1, slot="local/0")
    committed = await writer.commit(Round(NOW, inserts=[(new(1), row)], starts=[1]))
    started = committed.started[1]
    assert (started.state, started.history.attempt, started.slot, started.spec) == (State.STARTING, 1, "local/0", SPEC)
    assert [(event.type, event.state, event.attempt) for event in committed.events] == [("job.submitted", "queued", 0)]


async def test_a_job_that_waits_again_has_no_start(writer: Writer) -> None:
    await writer.commit(jobs_with([1]))
    await writer.commit(Round(NOW, saves=[saved(1, State.RUNNING, "job.started", attempt=1, slot="s")]))
    retry = saved(1, State.DELAYED, "job.retrying", attempt=1, due=NOW + 9, history=History(1, retries_used=1))
    await writer.commit(Round(NOW, saves=[retry]))
    (found,) = (await writer.resolve(Lookup(ids=(job_id(1),)))).jobs.values()
    assert (found.state, found.started_at, found.run_at, found.slot) == (State.DELAYED, None, NOW + 9, None)
    assert found.history == History(1, retries_used=1)


async def test_the_verdict_of_the_core_becomes_the_error(writer: Writer) -> None:
    verdict = Verdict(ErrorType.DEPENDENCY, "job 1 failed")
    failed = saved(2, State.FAILED, "job.submitted", "job.failed", verdict=verdict)
    committed = await writer.commit(Round(NOW, inserts=[(new(2), failed)], starts=[2]))
    error = b'{"type":"dependency","message":"job 1 failed","exit_code":null,"signal":null}'
    assert committed.started[2].error == error
    assert [(event.type, event.state, event.detail) for event in committed.events] == [
        ("job.submitted", "queued", None),
        ("job.failed", "failed", b'{"error":' + error + b"}"),
    ]


@pytest.mark.parametrize("together", [True, False])
async def test_a_verdict_names_the_job_it_is_about_by_its_public_id(writer: Writer, together: bool) -> None:
    verdict = Verdict(ErrorType.DEPENDENCY, "job {job} failed", about=1)
    first = (new(1), saved(1, State.FAILED, "job.submitted", "job.failed", verdict=Verdict(ErrorType.EXPIRED, "late")))
    second = (new(2), saved(2, State.FAILED, "job.submitted", "job.failed", verdict=verdict))
    for inserts in [[first, second]] if together else [[first], [second]]:
        committed = await writer.commit(Round(NOW, inserts=inserts, starts=[inserts[-1][0].job]))
    assert f"job {job_id(1)} failed".encode() in (committed.started[2].error or b"")


async def test_a_stop_and_its_reason_are_kept(writer: Writer) -> None:
    await writer.commit(jobs_with([1]))
    stopping = saved(1, State.CANCELLING, attempt=1, slot="s", stop=StopReason.TIMEOUT)
    committed = await writer.commit(Round(NOW, saves=[stopping], starts=[1]))
    assert (committed.started[1].state, committed.started[1].stop) == (State.CANCELLING, StopReason.TIMEOUT)


async def test_events_carry_what_a_listener_must_know(writer: Writer) -> None:
    await writer.commit(submitted(new(7, org_id="b", queue="compute")._replace(number=3)))
    committed = await writer.commit(Round(NOW, saves=[ended(7, at=NOW + 1)]))
    assert committed.events == [
        EventRow(2, NOW + 1, "job.started", job_id(7), 3, "running", "compute", "b", 1),
        EventRow(3, NOW + 1, "job.succeeded", job_id(7), 3, "succeeded", "compute", "b", 1),
    ]


async def test_seq_has_no_holes_also_after_a_refused_round(path: Path) -> None:
    async with writing(path) as writer:
        await writer.commit(jobs_with(range(1, 701)))  # more than one slice
        await writer.commit(Round(NOW, saves=[ended(1)]))
        with pytest.raises(StoreRefused):
            await writer.commit(
                Round(NOW, inserts=jobs_with([701]).inserts, saves=[saved(1, State.QUEUED, "job.queued")])
            )
        with pytest.raises(StoreRefused):
            await writer.commit(jobs_with([702, 703, 5]))  # 5 is there already
        await writer.commit(Round(NOW, notes=[EventRow(0, NOW, "queue.changed", queue="local", detail=b"{}")]))
    async with writing(path) as writer:
        committed = await writer.commit(jobs_with([701]))
        assert [event.seq for event in committed.events] == [704]
    assert raw(path, "SELECT count(*), min(seq), max(seq) FROM events") == [(704, 1, 704)]


async def test_every_type_of_event_takes_exactly_one_number(writer: Writer, path: Path) -> None:
    await writer.commit(jobs_with([1]))
    kinds = ("queued", "started", "retrying", "queued", "started", "failed", "reopened", "cancelled")
    events = [saved(1, State.QUEUED, *(f"job.{kind}" for kind in kinds))]
    notes = [EventRow(0, NOW, "device.changed"), EventRow(0, NOW, "schedule.fired", org_id="a", detail=b"{}")]
    committed = await writer.commit(Round(NOW, saves=events, notes=notes))
    assert [event.seq for event in committed.events] == list(range(2, 12))
    assert raw(path, "SELECT seq, type FROM events WHERE seq > 1 ORDER BY seq") == [
        (event.seq, event.type) for event in committed.events
    ]


async def test_every_transaction_takes_the_write_lock_at_its_beginning(writer: Writer) -> None:
    seen: list[str] = []
    await writer._hop.run(lambda: writer._db.set_trace_callback(seen.append))
    await writer.commit(jobs_with([1]))
    await writer.meta_put(a="b")
    await writer._hop.run(lambda: writer._db.set_trace_callback(None))
    assert [sql for sql in seen if sql.startswith(("BEGIN", "COMMIT"))] == ["BEGIN IMMEDIATE", "COMMIT"] * 2


async def test_a_refused_round_leaves_nothing_behind(writer: Writer) -> None:
    await writer.commit(jobs_with([1]))
    bad = submitted(
        new(2, queue="other", org_id="other", tags=(("k", "v"),)), new(1), keys=[KeyRow("o", "k", b"", b"", NOW)]
    )
    with pytest.raises(StoreRefused, match="UNIQUE"):
        await writer.commit(bad)
    counters = await writer.counters()
    assert (counters.job, counters.numbers, counters.seq) == (1, {"default": 1}, 1)
    known = await writer.resolve(Lookup(keys=(("o", "k"),), ids=(job_id(2),)))
    assert (known.keys, known.jobs) == ({}, {})
    good = await writer.commit(submitted(new(2, queue="other", org_id="other"), starts=[2]))
    assert (good.started[2].queue, good.started[2].org_id) == ("other", "other")


async def test_text_that_is_no_unicode_is_refused_and_the_next_round_goes_well(writer: Writer) -> None:
    with pytest.raises(StoreRefused):
        await writer.commit(jobs_with([1], name="\ud800"))
    with pytest.raises(StoreRefused):
        await writer.commit(submitted(new(1)._replace(number=2**63)))
    assert len((await writer.commit(jobs_with([1]))).events) == 1


@pytest.mark.parametrize("final", [State.SUCCEEDED, State.FAILED, State.CANCELLED])
async def test_a_final_state_changes_only_by_reopening(writer: Writer, final: State) -> None:
    await writer.commit(jobs_with([1]))
    await writer.commit(Round(NOW, saves=[ended(1, final, result=b"1")]))
    for state in set(State) - {final}:
        with pytest.raises(StoreRefused, match="final state"):
            await writer.commit(Round(NOW, saves=[saved(1, state, attempt=1)]))
    again = saved(1, State.QUEUED, "job.reopened", history=History(1, reopened=1), keep=True)
    committed = await writer.commit(Round(NOW, saves=[again], starts=[1]))
    row = committed.started[1]
    assert (row.state, row.history.reopened, row.finished_at, row.started_at, row.result) == (
        State.QUEUED,
        1,
        None,
        None,
        None,
    )


async def test_a_reopened_job_has_neither_its_run_at_nor_its_expiry_any_more(path: Path) -> None:
    async with writing(path) as writer:
        await writer.commit(jobs_with([1, 2], run_at=NOW - 5, expires_at=NOW - 1))
        await writer.commit(Round(NOW, saves=[ended(1, State.FAILED), ended(2, State.FAILED)]))
        once = History(reopened=1)
        now = saved(1, State.QUEUED, "job.reopened", history=once)
        later = saved(2, State.DELAYED, "job.reopened", history=once, due=NOW + 9)
        await writer.commit(Round(NOW, saves=[now, later]))
    async with writing(path) as writer:
        found = {job.job: (job.run_at, job.expires_at) for job in (await writer.load()).waiting}
    assert found == {1: (None, None), 2: (NOW + 9, None)}


async def test_a_save_of_an_unknown_job_is_refused(writer: Writer) -> None:
    with pytest.raises(StoreRefused, match=r"not in the store: \[9\]"):
        await writer.commit(Round(NOW, saves=[saved(9, State.QUEUED)]))


async def test_an_edit_changes_treatment_spec_tags_and_times(writer: Writer) -> None:
    await writer.commit(jobs_with([1], tags=(("a", "1"), ("b", "2"))))
    treatment = new(1, priority=20).treatment
    edit = EditRow(1, treatment, b'{"edited":1}', (("b", "3"),), NOW + 5, NOW + 50, "renamed", "app")
    committed = await writer.commit(Round(NOW + 1, edits=[edit], starts=[1]))
    row = committed.started[1]
    assert (row.treatment, row.priority, row.spec, row.name) == (treatment, 20, b'{"edited":1}', "renamed")
    assert row.batch_key == "app"
    assert (row.run_at, row.expires_at, row.updated_at) == (NOW + 5, NOW + 50, NOW + 1)


async def test_keys_queues_runner_state_and_facts_are_kept(path: Path) -> None:
    async with writing(path) as writer:
        keys = [KeyRow("a", "k", b"sha", b'["x"]', NOW), KeyRow("b", "k", b"other", b"[]", NOW)]
        queues = [QueueRow("local", True, "by hand", 3), QueueRow("compute", None, "", None)]
        await writer.commit(Round(NOW, keys=keys, queues=queues))
        await writer.commit(Round(NOW, queues=[QueueRow("local", False, "", None)]))
        await writer.state_put("local", "builds", b"[1]")
        await writer.state_put("local", "gone", b"1")
        await writer.state_put("local", "gone", None)
        await writer.meta_put(server_id="abc", running="yes")
    async with writing(path) as writer:
        wanted = (("a", "k"), ("b", "k"), ("c", "k"))
        assert (await writer.resolve(Lookup(keys=wanted))).keys == {("a", "k"): keys[0], ("b", "k"): keys[1]}
        assert await writer.queue_rows() == [QueueRow("compute", None, "", None), QueueRow("local", False, "", None)]
        assert [await writer.state_get("local", key) for key in ("builds", "gone")] == [b"[1]", None]
        assert [await writer.meta_get(key) for key in ("server_id", "running", "none")] == ["abc", "yes", None]


async def test_schedules_are_kept_replaced_and_removed(writer: Writer) -> None:
    row = ScheduleRow("s1", "default", "nightly", "0 2 * * *", "UTC", b"[]", "skip", "one", False, NOW, NOW, NOW)
    runs = [ScheduleRun("s1", NOW + number, NOW + number, "fired") for number in range(25)]
    await writer.commit(Round(NOW, schedules=[row, row._replace(id="s2")], schedule_runs=runs))
    await writer.commit(Round(NOW, schedules=[row._replace(paused=True, next_run_at=None), "s2"]))
    assert await writer.schedules() == [row._replace(paused=True, next_run_at=None)]


async def test_attempts_replace_nothing_of_each_other(writer: Writer, path: Path) -> None:
    await writer.commit(jobs_with([1]))
    tries = [AttemptRow(1, number, "failed", "s", NOW, NOW + 1, None, b"{}", None, 10, True) for number in (1, 2)]
    await writer.commit(Round(NOW, attempts=tries))
    assert raw(path, "SELECT attempt, state, error, output_bytes, truncated FROM attempts ORDER BY attempt") == [
        (1, "failed", b"{}", 10, 1),
        (2, "failed", b"{}", 10, 1),
    ]


async def test_a_cancelled_caller_does_not_stop_its_round(writer: Writer) -> None:
    faults: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    going = asyncio.create_task(writer.commit(jobs_with(range(1, 2001))))
    await asyncio.sleep(0)  # it has handed its round over
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going
    assert (await writer.counters()).job == 2000
    assert [event.seq for event in (await writer.commit(jobs_with([2001]))).events] == [2001]
    assert faults == []


async def test_unfinished_jobs_are_loaded_in_order_with_what_the_core_needs(path: Path) -> None:
    async with writing(path) as writer:
        rows = [new(1), new(2, priority=5), new(3, run_at=NOW + 9), new(4), new(5), new(6), new(7), new(8)]
        rows[6] = rows[6]._replace(depends_on=(Dependency(1, On.ANY), Dependency(2)))
        await writer.commit(submitted(*rows))
        ends = [
            ended(1, State.FAILED, error=b'{"type":"exit"}'),
            saved(4, State.RUNNING, "job.started", attempt=1, slot="s"),
        ]
        retried = saved(5, State.DELAYED, attempt=1, due=NOW + 3, history=History(1, retries_used=1))
        await writer.commit(Round(NOW, saves=[*ends, retried], handles=[(4, 1, b'{"pid":1}')]))
    async with writing(path) as writer:
        found = await writer.load(0, 100)
        slices, after, more = [], 0, True
        while more:
            part = await writer.load(after, 2)
            slices.append(part)
            after, more = part.last, part.more
    waiting = {job.job: job for job in found.waiting}
    assert list(waiting) == [2, 3, 5, 6, 7, 8]
    assert [job for part in slices for job in part.waiting] == list(found.waiting)
    assert [row.job for part in slices for row in part.active] == [4]
    assert waiting[2].treatment.priority == 5
    assert waiting[6].treatment is waiting[8].treatment
    assert (waiting[3].run_at, waiting[3].state) == (NOW + 9, State.QUEUED)
    assert (waiting[5].history, waiting[5].run_at, waiting[5].state) == (
        History(1, retries_used=1),
        NOW + 3,
        State.DELAYED,
    )
    assert waiting[7].depends_on == (Dependency(1, On.ANY, State.FAILED), Dependency(2, On.SUCCESS, None))
    (active,) = found.active
    assert (active.job, active.slot, active.handle, active.started_at) == (4, "s", b'{"pid":1}', NOW)
    assert active.as_new().history == History(1)


async def test_counters_go_on_after_reopening(path: Path) -> None:
    async with writing(path) as writer:
        await writer.commit(submitted(new(1), new(2, org_id="b")._replace(number=1), new(3)._replace(number=2)))
    async with writing(path) as writer:
        counters = await writer.counters()
    assert (counters.job, counters.numbers, counters.seq) == (3, {"default": 2, "b": 1}, 3)


async def test_dependencies_within_one_round_are_kept(writer: Writer) -> None:
    await writer.commit(submitted(new(1), new(2, depends_on=needs(1))))
    (_, second) = (await writer.load(0, 10)).waiting
    assert second.depends_on == (Dependency(1, On.SUCCESS, None),)
    assert second.state is State.BLOCKED


async def test_close_can_be_repeated_and_leaves_no_log_behind(path: Path) -> None:
    writer = await Writer.open(path)
    await writer.commit(jobs_with([1]))
    await writer.close()
    await writer.close()
    assert [file.name for file in path.parent.iterdir()] == ["hpcq.db"]
