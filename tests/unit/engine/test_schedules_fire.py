import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from hpcq.engine.alarm import now
from hpcq.engine.errors import BadSpec, OutOfSpace
from hpcq.store.rows import Round
from tests.support.schedule_house import HOUR, HOURLY, NOON, NOOP, House, WallClock, opened


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with opened(tmp_path) as made:
        yield made


async def test_at_its_time_the_jobs_are_submitted_with_the_schedules_tag_and_an_event(house: House) -> None:
    job = {**NOOP, "name": "n", "tags": {"a": "b"}}
    made = await house.schedules.create(None, {"name": "two", "cron": "@hourly", "jobs": [job, NOOP]})
    listening = house.engine.hub.subscribe(None)
    await house.at(NOON - 1)
    assert await house.jobs() == []
    assert await house.at(NOON + 0.01) == NOON + 60.01
    rows = await house.jobs(tags=(("schedule", "two"),))
    assert [row.name for row in rows] == ["n", None]
    assert await house.runs(made["id"]) == [("fired", 0.0)]
    assert await house.due(made["id"]) == 1
    events = [event async for batch in _until_closed(house, listening) for event in batch]
    fired = [orjson.loads(event.detail or b"") for event in events if event.type == "schedule.fired"]
    ids = [row.id for row in rows]
    assert fired == [{"schedule": made["id"], "name": "two", "ids": ids, "due_at": "2096-05-13T12:00:00.000Z"}]


async def _until_closed(house: House, listening: Any) -> AsyncIterator[Any]:
    house.engine.hub.unsubscribe(listening)
    async for batch in listening:
        yield batch


async def test_jobs_of_a_schedule_can_depend_on_each_other(house: House) -> None:
    jobs = [NOOP, {**NOOP, "depends_on": [{"index": 0}]}]
    await house.schedules.create(None, {"name": "chain", "cron": "@hourly", "jobs": jobs})
    await house.at(NOON)
    assert [row.state for row in await house.jobs()] == ["queued", "blocked"]


async def test_a_time_fires_once_over_restarts(tmp_path: Path) -> None:
    async with opened(tmp_path) as house:
        id_ = (await house.schedules.create(None, {**HOURLY, "overlap": "allow", "catch_up": "all"}))["id"]
        await house.at(NOON)
    async with opened(tmp_path, NOON + 1) as house:
        await house.at(NOON + 30)
        assert len(await house.jobs()) == 1
        assert await house.runs(id_) == [("fired", 0.0)]
        assert await house.due(id_) == 1


async def test_the_same_time_of_the_same_schedule_never_makes_jobs_twice(house: House) -> None:
    id_ = (await house.schedules.create(None, {**HOURLY, "overlap": "allow"}))["id"]
    await house.at(NOON)
    house.clock.wall = NOON - 60  # the clock is set back, and somebody touches the schedule
    await house.schedules.patch(None, id_, {"cron": "@hourly"})
    assert await house.due(id_) == 0
    await house.at(NOON)
    assert len(await house.jobs()) == 1


async def test_a_queue_that_is_gone_makes_the_run_fail_with_a_sentence(tmp_path: Path) -> None:
    job = {"queue": "lab", "params": {}}
    async with opened(tmp_path, config={"lab": {"runner": "noop"}}) as house:
        id_ = (await house.schedules.create(None, {**HOURLY, "job": job}))["id"]
    async with opened(tmp_path) as house:
        await house.at(NOON)
        run = (await house.schedules.get(None, id_))["last_runs"][0]
        assert (run["outcome"], run["ids"]) == ("failed", [])
        assert "/jobs/0/queue" in run["detail"]
        assert "no queue 'lab'" in run["detail"]
        assert await house.due(id_) == 1
        with pytest.raises(BadSpec):
            await house.schedules.run(None, id_)


async def test_overlap_skip_lets_times_pass_until_the_last_run_is_final_also_over_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path) as house:
        id_ = (await house.schedules.create(None, {**HOURLY, "cron": "* * * * *"}))["id"]
        await house.at(NOON + HOUR)
        assert len(await house.jobs()) == 1
    async with opened(tmp_path, NOON + HOUR + 1) as house:  # 20 skipped runs are all that is kept
        await house.at(NOON + HOUR + 60)
        assert len(await house.jobs()) == 1
        assert {outcome for outcome, _ in await house.runs(id_)} == {"skipped"}
        await house.end_all()
        await house.at(NOON + HOUR + 120)
        assert len(await house.jobs()) == 2


async def test_overlap_queue_fires_when_the_last_run_is_final(house: House) -> None:
    id_ = (await house.schedules.create(None, {**HOURLY, "overlap": "queue"}))["id"]
    await house.at(NOON + 3 * HOUR)
    assert len(await house.jobs()) == 1
    assert await house.runs(id_) == [("waiting", 1.0), ("fired", 0.0)]
    await house.end_all()
    await house.at(NOON + 3.2 * HOUR)
    assert len(await house.jobs()) == 2
    assert await house.runs(id_) == [("fired", 1.0), ("fired", 0.0)]
    assert await house.due(id_) == 4


async def test_it_looks_by_itself_when_the_run_that_is_waited_for_is_final(house: House) -> None:
    await house.schedules.create(None, {**HOURLY, "overlap": "queue"})
    await house.at(NOON + HOUR)
    await house.schedules.start()
    listening = house.engine.hub.subscribe(None)
    await house.end_all()
    async with asyncio.timeout(10):
        async for batch in listening:
            if any(event.type == "schedule.fired" for event in batch):
                break
    assert len(await house.jobs()) == 2


async def test_a_waiting_time_survives_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path) as house:
        id_ = (await house.schedules.create(None, {**HOURLY, "overlap": "queue"}))["id"]
        await house.at(NOON + HOUR)
    async with opened(tmp_path, NOON + 1.5 * HOUR) as house:
        await house.schedules.look()
        assert await house.runs(id_) == [("waiting", 1.0), ("fired", 0.0)]
        await house.end_all()
        await house.at(NOON + 1.6 * HOUR)
        assert await house.runs(id_) == [("fired", 1.0), ("fired", 0.0)]


async def test_a_time_does_not_wait_for_a_schedule_that_is_changed_away_from_it(house: House) -> None:
    id_ = (await house.schedules.create(None, {**HOURLY, "overlap": "queue"}))["id"]
    await house.at(NOON + HOUR)
    await house.schedules.patch(None, id_, {"paused": True})
    assert await house.runs(id_) == [("skipped", 1.0), ("fired", 0.0)]
    await house.end_all()
    await house.at(NOON + 2 * HOUR)
    assert len(await house.jobs()) == 1


async def test_overlap_allow_fires_every_time(house: House) -> None:
    await house.schedules.create(None, {**HOURLY, "overlap": "allow"})
    await house.at(NOON + 2 * HOUR)
    assert len(await house.jobs()) == 3


@pytest.mark.parametrize(("catch_up", "fired"), [("none", []), ("one", [2.0]), ("all", [2.0, 1.0, 0.0])])
async def test_after_a_time_down_catch_up_says_what_is_made_good(
    tmp_path: Path, catch_up: str, fired: list[float]
) -> None:
    async with opened(tmp_path) as house:
        body = {**HOURLY, "catch_up": catch_up, "overlap": "allow"}
        id_ = (await house.schedules.create(None, body))["id"]
    async with opened(tmp_path, NOON + 2.5 * HOUR) as house:
        await house.schedules.look()
        runs = await house.runs(id_)
        assert [due for outcome, due in runs if outcome == "fired"] == fired
        assert len(await house.jobs()) == len(fired)
        assert await house.due(id_) == 3


async def test_catch_up_all_runs_missed_times_one_after_the_other_where_runs_may_not_overlap(tmp_path: Path) -> None:
    async with opened(tmp_path) as house:
        id_ = (await house.schedules.create(None, {**HOURLY, "catch_up": "all"}))["id"]
    async with opened(tmp_path, NOON + 2.5 * HOUR) as house:
        for count in (1, 2, 3, 3):
            await house.schedules.look()
            assert len(await house.jobs()) == count
            await house.schedules.look()
            assert len(await house.jobs()) == count
            await house.end_all()
        assert await house.runs(id_) == [("fired", 2.0), ("fired", 1.0), ("fired", 0.0)]


async def test_what_came_due_while_the_machine_slept_was_missed(house: House) -> None:
    id_ = (await house.schedules.create(None, HOURLY))["id"]
    house.clock.wall = NOON + 2.5 * HOUR
    await house.schedules.look()
    assert await house.runs(id_) == [("skipped", 2.0)]


async def test_a_run_by_hand_fires_also_when_paused_and_moves_no_time(house: House) -> None:
    id_ = (await house.schedules.create(None, {**HOURLY, "paused": True}))["id"]
    ids = await house.schedules.run(None, id_)
    assert [row.id for row in await house.jobs()] == ids
    assert await house.due(id_) is None
    assert (await house.schedules.get(None, id_))["last_runs"][0]["detail"] == "by hand"
    assert await house.schedules.run(None, id_) != ids


async def test_while_the_disk_is_full_a_time_stays_due(house: House) -> None:
    id_ = (await house.schedules.create(None, HOURLY))["id"]
    house.engine.full = True
    assert await house.at(NOON) == NOON + 10
    with pytest.raises(OutOfSpace):
        await house.schedules.run(None, id_)
    house.engine.full = False
    await house.at(NOON + 90)
    assert await house.runs(id_) == [("fired", 0.0)]


async def test_a_server_that_drains_fires_nothing(house: House) -> None:
    id_ = (await house.schedules.create(None, HOURLY))["id"]
    house.engine.draining = True
    await house.at(NOON)
    assert await house.jobs() == []
    assert await house.due(id_) == 0


async def test_started_it_looks_by_itself(house: House) -> None:
    id_ = (await house.schedules.create(None, {**HOURLY, "catch_up": "one"}))["id"]
    house.clock.wall = NOON + 1
    listening = house.engine.hub.subscribe(None)
    await house.schedules.start()  # what came due before a start was missed
    async with asyncio.timeout(10):
        await anext(aiter(listening))
    assert await house.runs(id_) == [("fired", 0.0)]


async def test_it_wakes_by_itself_at_the_time(tmp_path: Path) -> None:
    async with opened(tmp_path, clock=WallClock(0.0)) as house:
        await house.schedules.create(None, HOURLY)
        rows = [row._replace(next_run_at=now().wall + 0.3) for row in await house.engine.writer.schedules()]
        await house.engine.writer.commit(Round(at=now().wall, schedules=[*rows]))
        listening = house.engine.hub.subscribe(None)
        await house.schedules.start()
        async with asyncio.timeout(10):
            await anext(aiter(listening))
        assert rows[0].next_run_at is not None
        assert now().wall >= rows[0].next_run_at
        assert len(await house.jobs()) == 1
