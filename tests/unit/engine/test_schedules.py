import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from hpcq.config import Settings
from hpcq.core.job import FINAL
from hpcq.core.scheduler import Scheduler
from hpcq.engine import recovery
from hpcq.engine.admission import Numbers
from hpcq.engine.alarm import now
from hpcq.engine.attempt import Surroundings
from hpcq.engine.engine import Engine, Parts
from hpcq.engine.errors import BadSpec, Conflict, NotFound, OutOfSpace, TooMany
from hpcq.engine.schedules import Schedules
from hpcq.server import make_lanes
from hpcq.store.filter import Filter
from hpcq.store.reader import Reader
from hpcq.store.rows import Round
from hpcq.store.writer import Writer

# In the future: by the real clock, no alarm that a look sets rings within a test.
NOON = datetime(2096, 5, 13, 12, tzinfo=UTC).timestamp()
HOUR = 3600.0
NOOP = {"queue": "noop", "params": {}}
HOURLY = {"name": "hourly", "cron": "0 * * * *", "job": NOOP}


class Clock:
    """A wall clock that goes when it is told to."""

    def __init__(self, wall: float) -> None:
        self.wall = wall

    def __call__(self) -> float:
        return self.wall


class WallClock(Clock):
    """The real one."""

    def __call__(self) -> float:
        return now().wall


class House:
    """A real engine on a real store, and schedules whose clock the test sets. Queue noop is paused: its jobs wait."""

    def __init__(self, engine: Engine, schedules: Schedules, clock: Clock) -> None:
        self.engine, self.schedules, self.clock = engine, schedules, clock

    async def at(self, wall: float) -> float:
        """Set the clock and let the schedules look at it every minute until then, as they do."""
        while self.clock.wall + 60 < wall:
            self.clock.wall += 60
            await self.schedules.look()
        self.clock.wall = wall
        return await self.schedules.look()

    async def jobs(self, **wanted: Any) -> list[Any]:
        rows, _ = await self.engine.reader.jobs(None, Filter(**wanted), limit=1000, cursor=None, ascending=True)
        return list(rows)

    async def end_all(self) -> None:
        for row in await self.jobs():
            if row.state not in FINAL:
                await self.engine.cancel(None, row.id)

    async def runs(self, id_: str) -> list[tuple[str, float]]:
        """(outcome, hours after noon) of the last runs, newest first."""
        found = (await self.schedules.get(None, id_))["last_runs"]
        return [(run["outcome"], (wall(run["due_at"]) - NOON) / HOUR) for run in found]

    async def due(self, id_: str) -> float | None:
        """When it comes next, in hours after noon."""
        text = (await self.schedules.get(None, id_))["next_run_at"]
        return text and (wall(text) - NOON) / HOUR


def wall(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@contextlib.asynccontextmanager
async def opened(
    folder: Path, at: float = NOON - 600, config: dict[str, Any] | None = None, clock: Clock | None = None
) -> AsyncIterator[House]:
    """A house on this folder, from this time on."""
    queues = {"noop": {"runner": "noop", "slots": 1, "paused": True}, **(config or {})}
    lanes, _ = make_lanes(Settings(queues=queues), rehearse=False)
    async with contextlib.AsyncExitStack() as stack:
        writer = await Writer.open(folder / "hpcq.db")
        stack.push_async_callback(writer.close)
        reader = await Reader.open(folder / "hpcq.db")
        stack.push_async_callback(reader.close)
        around = Surroundings(data_dir=folder, env={}, output_cap=1 << 20, server_id="s")
        parts = Parts(lanes, lambda: Scheduler({"cpus": 2.0}), around, writer, reader)
        engine = Engine(parts, Numbers(await writer.counters()), 1000, recovery.reload)
        stack.push_async_callback(engine.floor.close)
        await engine.floor.open()
        await recovery.recover(engine, recovery.LastLife(clean=True, ended_at=0.0))
        engine.start()
        stack.push_async_callback(engine.stop)
        clock = clock or Clock(at)
        schedules = Schedules(engine, clock)
        await schedules.load()
        stack.push_async_callback(schedules.stop)
        yield House(engine, schedules, clock)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with opened(tmp_path) as made:
        yield made


# Making, changing, removing.


async def test_a_new_schedule_shows_when_it_comes_next(house: House) -> None:
    made = await house.schedules.create(None, {**HOURLY, "timezone": "Europe/Berlin"})
    assert made["next_run_at"] == "2096-05-13T12:00:00.000Z"
    assert made["jobs"] == [NOOP]
    assert (made["overlap"], made["catch_up"], made["paused"]) == ("skip", "none", False)
    assert await house.schedules.list(None) == [made]
    assert await house.schedules.get(None, made["id"]) == {**made, "last_runs": []}


async def test_every_bad_field_is_named_with_its_place(house: House) -> None:
    body = {
        "name": "",
        "cron": "* * * * * *",
        "timezone": "Mars",
        "overlap": "maybe",
        "colour": 1,
        "jobs": [NOOP, {"queue": "nope", "params": {}}, {"queue": "noop", "params": {"x": 1}, "priority": "urgent"}],
    }
    with pytest.raises(BadSpec) as refused:
        await house.schedules.create(None, body)
    assert {error.pointer for error in refused.value.errors} == {
        "/name",
        "/cron",
        "/timezone",
        "/overlap",
        "/colour",
        "/jobs/1/queue",
        "/jobs/2/params/x",
        "/jobs/2/priority",
    }


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"job": {**NOOP, "resources": {"cpus": 99}}}, "/job/resources/cpus"),
        ({"job": {**NOOP, "idempotency_key": "k"}}, "/job/idempotency_key"),
        ({"job": {**NOOP, "run_at": "2027-01-01T00:00:00Z"}}, "/job/run_at"),
        ({"job": {**NOOP, "tags": {f"t{n}": "" for n in range(50)}}}, "/job/tags"),
        ({"job": None}, "/job"),
        ({"job": 3}, "/job"),
        ({"jobs": [NOOP]}, "/jobs"),
        ({"job": None, "jobs": []}, "/jobs"),
        ({"job": None, "jobs": [NOOP, 3]}, "/jobs/1"),
        ({"job": None, "jobs": [NOOP, {**NOOP, "org_id": "b"}]}, "/jobs/1/org_id"),
        ({"cron": "0 0 30 2 *"}, "/cron"),
        ({"paused": "no"}, "/paused"),
    ],
)
async def test_what_no_schedule_can_be_is_refused(house: House, change: dict[str, Any], pointer: str) -> None:
    with pytest.raises(BadSpec) as refused:
        await house.schedules.create(None, {**HOURLY, **change})
    assert [error.pointer for error in refused.value.errors] == [pointer]
    assert await house.schedules.list(None) == []


@pytest.mark.parametrize("body", [None, [], "x", 3])
async def test_a_body_that_is_no_object_is_refused(house: House, body: Any) -> None:
    with pytest.raises(BadSpec):
        await house.schedules.create(None, body)


async def test_a_name_is_unique_within_an_org(house: House) -> None:
    first = await house.schedules.create("a", HOURLY)
    await house.schedules.create("b", HOURLY)
    with pytest.raises(Conflict, match="there is a schedule hourly already"):
        await house.schedules.create("a", HOURLY)
    other = await house.schedules.create("a", {**HOURLY, "name": "other"})
    with pytest.raises(Conflict):
        await house.schedules.patch("a", other["id"], {"name": "hourly"})
    assert (await house.schedules.patch("a", first["id"], {"name": "hourly"}))["name"] == "hourly"


async def test_what_belongs_to_another_org_is_not_there(house: House) -> None:
    made = await house.schedules.create("a", HOURLY)
    assert await house.schedules.list("b") == []
    for refused in (
        house.schedules.get("b", made["id"]),
        house.schedules.patch("b", made["id"], {}),
        house.schedules.delete("b", made["id"]),
        house.schedules.run("b", made["id"]),
    ):
        with pytest.raises(NotFound):
            await refused
    ids = await house.schedules.run("a", made["id"])
    assert [row.id for row in await house.jobs(org_id="a")] == ids


async def test_an_org_has_a_bounded_number_of_schedules(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpcq.engine.schedules.MOST", 1)
    await house.schedules.create("a", HOURLY)
    await house.schedules.create("b", HOURLY)
    with pytest.raises(TooMany):
        await house.schedules.create("a", {**HOURLY, "name": "one too many"})


async def test_a_change_of_the_line_moves_the_next_time_and_other_changes_do_not(house: House) -> None:
    id_ = (await house.schedules.create(None, HOURLY))["id"]
    house.clock.wall = NOON - 1
    assert (await house.schedules.patch(None, id_, {"overlap": "allow", "jobs": [NOOP, NOOP]}))["jobs"] == [NOOP, NOOP]
    assert await house.due(id_) == 0
    await house.schedules.patch(None, id_, {"cron": "30 * * * *"})
    assert await house.due(id_) == 0.5
    assert (await house.schedules.patch(None, id_, {}))["cron"] == "30 * * * *"


async def test_a_bad_change_names_its_fields_and_changes_nothing(house: House) -> None:
    made = await house.schedules.create(None, HOURLY)
    with pytest.raises(BadSpec) as refused:
        await house.schedules.patch(None, made["id"], {"cron": "x", "id": "y", "job": {"queue": "nope", "params": {}}})
    assert {error.pointer for error in refused.value.errors} == {"/cron", "/id", "/job/queue"}
    assert await house.schedules.list(None) == [made]


async def test_what_came_due_while_it_was_paused_is_not_made_good(house: House) -> None:
    id_ = (await house.schedules.create(None, {**HOURLY, "catch_up": "all", "paused": True}))["id"]
    assert await house.due(id_) is None
    await house.at(NOON + 3.5 * HOUR)
    await house.schedules.patch(None, id_, {"paused": False})
    assert await house.due(id_) == 4
    await house.at(NOON + 3.9 * HOUR)
    assert await house.jobs() == []


async def test_a_removed_schedule_leaves_its_jobs(house: House) -> None:
    id_ = (await house.schedules.create(None, HOURLY))["id"]
    await house.at(NOON)
    await house.schedules.delete(None, id_)
    with pytest.raises(NotFound):
        await house.schedules.get(None, id_)
    await house.at(NOON + 2 * HOUR)
    assert len(await house.jobs()) == 1
    assert await house.engine.writer.schedules() == []


# Firing.


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
