"""What is admitted, and as what: keys that were used before, dependencies, changes of jobs."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hpcq.config import Settings
from hpcq.core.job import State
from hpcq.engine.admission import Admission, Submission
from hpcq.engine.alarm import now
from hpcq.engine.errors import BadSpec, Conflict
from hpcq.engine.intake import Intake
from hpcq.engine.many import act
from hpcq.engine.messages import Submit
from hpcq.engine.numbers import Numbers
from hpcq.engine.round import Gathering
from hpcq.engine.spec import JobPatch
from hpcq.server import make_lanes
from hpcq.store.filter import Filter
from hpcq.store.prune import Retention
from hpcq.store.rows import Counters, JobRow, Lookup, Resolved
from hpcq_runners.noop import NoopRunner
from tests.support.schedule_house import House, opened
from tests.support.wait import wait_until

KEYED = {"queue": "noop", "params": {}, "idempotency_key": "k"}
PLAIN = {"queue": "noop", "params": {}}
PAUSED = {
    "compute": {"runner": "matrix", "slots": 1, "paused": True},
    "bare": {"runner": "noop", "slots": 0},  # nobody knows what labels its slots will have
}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with opened(tmp_path, config=PAUSED) as made:
        yield made


async def submit(house: House, *raws: Any, key: str | None = None) -> Submission:
    prepared = await house.engine.intake.accept(raws, bulk=True)
    async with asyncio.timeout(20):  # an engine that died never answers
        return await house.engine.submit(prepared, org=None, key=key, bulk=True)


async def prune_all(house: House) -> None:
    """All jobs but the newest, which stays for its number; keys stay."""
    await house.end_all()
    await submit(house, {**PLAIN, "name": "newest"})
    await house.engine.writer.prune(Retention(now().wall + 1, 0.0, 0.0, 1_000_000))
    assert [row.name for row in await house.jobs()] == ["newest"]


async def edit(house: House, job_id: str, **patch: Any) -> JobRow:
    await house.engine.edit(None, job_id, JobPatch.model_validate(patch))
    row = await house.engine.reader.job(None, job_id)
    assert row is not None
    return row


# Keys.


async def test_a_key_whose_job_was_pruned_counts_as_unused(house: House) -> None:
    first = await submit(house, KEYED)
    await prune_all(house)
    again = await submit(house, PLAIN, KEYED)
    assert again.created
    assert first.ids[0] not in again.ids
    assert (await submit(house, KEYED)).ids == again.ids[1:], "and is used from then on"


@pytest.mark.parametrize("count", [1, 3])
async def test_a_request_key_whose_jobs_were_pruned_counts_as_unused(house: House, count: int) -> None:
    first = await submit(house, *[PLAIN] * count, key="r")
    assert (await submit(house, *[PLAIN] * count, key="r")).ids == first.ids
    await prune_all(house)
    again = await submit(house, *[PLAIN] * count, key="r")
    assert again.created
    assert not set(first.ids) & set(again.ids)
    assert len(await house.jobs()) == count + 1


# Cancelling.


async def test_a_cancel_of_what_waits_leaves_what_has_begun_meanwhile(house: House) -> None:
    ids = (await submit(house, {"queue": "noop", "params": {"duration_s": 600}}, PLAIN)).ids
    await house.engine.change_queue("noop", False, ...)
    await wait_until(lambda: bool(house.engine.floor.live), 20, "the first job runs")
    with pytest.raises(Conflict, match="waits no more"):
        await house.engine.cancel(None, ids[0], waiting_only=True)
    await house.engine.cancel(None, ids[1], waiting_only=True)
    begun, waited = await house.jobs()
    assert (begun.state in (State.STARTING, State.RUNNING), waited.state) == (True, State.CANCELLED)
    await house.engine.cancel(None, ids[0])


# A queue's runner.


async def test_a_runners_pause_is_kept_once_however_often_it_asks(house: House) -> None:
    await house.engine.change_queue("noop", False, ...)
    lane, before = house.engine.lanes["noop"], await house.engine.reader.last_seq()
    for _ in range(3):
        house.engine.floor._pause(lane, "the disk is full", paused=True)
    house.engine.floor._pause(lane, "the disk is full", paused=False)
    await house.engine.change_queue("noop", None, 2)
    events = await house.engine.reader.events_after(None, before, 100)
    assert [event.type for event in events].count("queue.changed") == 3, "paused, resumed, scaled"


# Dependencies.


@pytest.mark.parametrize(("on", "state"), [("any", State.QUEUED), ("success", State.FAILED)])
async def test_who_depends_by_index_on_a_repeat_that_has_ended_does_not_wait(
    house: House, on: str, state: State
) -> None:
    first = (await submit(house, KEYED)).ids[0]
    await house.engine.cancel(None, first)
    ids = (await submit(house, KEYED, {**PLAIN, "depends_on": [{"index": 0, "on": on}]})).ids
    assert ids[0] == first
    assert {row.id: row.state for row in await house.jobs()}[ids[1]] is state


async def test_a_job_of_another_org_is_no_dependency_within_the_round_that_makes_it_either() -> None:
    lanes, _ = make_lanes(Settings(), rehearse=False)
    intake = Intake(lanes, lambda: 0.0)
    admission = Admission(intake, lanes, lambda _: [], Numbers(Counters(0, {}, 0)), 100)

    async def nothing(_: Lookup) -> Resolved:
        return Resolved({}, {})

    async def ask(org: str, *needs: str) -> str:
        jobs = await intake.accept([{**PLAIN, "depends_on": list(needs)}], org=org)
        message = Submit(jobs, org, None, False, asyncio.get_running_loop().create_future())
        return (await admission.submit(message, Gathering(now()), 0))[0].ids[0]

    await admission.open_round([], nothing, 0.0)
    first = await ask("a")
    await ask("a", first)
    with pytest.raises(BadSpec) as refused:
        await ask("b", first)
    assert [error.pointer for error in refused.value.errors] == ["/depends_on/0"]


# Changes.


async def test_changes_of_one_job_in_one_round_join(house: House) -> None:
    job_id = (await submit(house, {**PLAIN, "tags": {"a": "1"}})).ids[0]
    await asyncio.gather(
        edit(house, job_id, priority=7),
        edit(house, job_id, name="renamed", tags={"b": "2"}),
        edit(house, job_id, timeout_s=5, expires_at="2099-01-01T00:00:00Z"),
        edit(house, job_id, requires={}),
    )
    (row,) = await house.jobs(tags=(("b", "2"),))
    assert (row.id, row.priority, row.name, row.treatment.timeout_s) == (job_id, 7, "renamed", 5)
    assert row.expires_at is not None


async def test_a_changed_batch_key_is_shown_and_found(house: House) -> None:
    job_id = (await submit(house, {**PLAIN, "batch_key": "old"})).ids[0]
    row = await edit(house, job_id, batch_key="new")
    assert (row.batch_key, row.treatment.session_key) == ("new", "new")
    assert [row.id for row in await house.jobs(batch_key="new")] == [job_id]
    assert await house.jobs(batch_key="old") == []
    assert (await edit(house, job_id, priority=1)).batch_key == "new"


class ByMessage(NoopRunner):
    def session_key(self, params: Any) -> str | None:
        return f"of {params.message}"


@pytest.mark.parametrize("foreign", [False, True])
async def test_without_its_batch_key_a_job_has_the_runners_session_key_again(house: House, foreign: bool) -> None:
    lane = house.engine.lanes["noop"]
    lane.runner, lane.foreign = ByMessage(), foreign
    job_id = (await submit(house, {**PLAIN, "params": {"message": "m"}, "batch_key": "old"})).ids[0]
    row = await edit(house, job_id, batch_key=None)
    assert (row.batch_key, row.treatment.session_key) == (None, "of m")


async def test_a_matrix_job_without_resources_of_its_own_goes_back_to_its_default_cpu(house: House) -> None:
    params = {"operation": "square_sum", "data": [1]}
    job_id = (await submit(house, {"queue": "compute", "params": params, "resources": {"cpus": 2}})).ids[0]
    assert (await edit(house, job_id, resources={})).treatment.resources == (("cpus", 1),)


# Many.


async def patch_all(house: House, patch: dict[str, Any], **wanted: Any) -> int:
    return await act(house.engine, None, "patch", Filter(**wanted), JobPatch.model_validate(patch))


async def test_a_patch_that_no_job_could_take_is_refused_before_anything_is_changed(house: House) -> None:
    await submit(house, PLAIN, PLAIN)
    with pytest.raises(BadSpec) as refused:
        await patch_all(house, {"resources": {"cpus": 99}, "priority": 5})
    assert [error.pointer for error in refused.value.errors] == ["/patch/resources/cpus"]
    with pytest.raises(BadSpec) as refused:
        await patch_all(house, {"requires": {"model": "x"}}, queues=("noop",))
    assert [error.pointer for error in refused.value.errors] == ["/patch/requires/model"]
    assert {row.priority for row in await house.jobs()} == {0}


async def test_a_job_that_cannot_take_a_patch_is_passed_over_and_the_others_are_not(house: House) -> None:
    ids = (await submit(house, PLAIN, {**PLAIN, "queue": "bare"}, PLAIN)).ids
    assert await patch_all(house, {"requires": {"model": "x"}, "priority": 5}) == 1
    assert [row.id for row in await house.jobs() if row.priority == 5] == ids[1:2]
