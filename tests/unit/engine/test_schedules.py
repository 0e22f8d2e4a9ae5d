from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hpcq.engine.errors import BadSpec, Conflict, NotFound, TooMany
from tests.support.schedule_house import HOUR, HOURLY, NOON, NOOP, House, opened


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with opened(tmp_path) as made:
        yield made


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
