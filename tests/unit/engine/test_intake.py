"""What clients say of jobs is checked whole, and every bad field is named where it stands in the body."""

from typing import Any

import pytest

from hpcq.config import Settings
from hpcq.core.job import On, Treatment
from hpcq.engine.errors import BadSpec, Forbidden, Unavailable
from hpcq.engine.intake import Intake, Need, Prepared
from hpcq.engine.lane import Lane
from hpcq.engine.registry import find_runners
from hpcq.plugin import Health

NOW = 1_800_000_000.0


@pytest.fixture
def intake() -> Intake:
    found = find_runners()
    queues: Any = {"slow": {"runner": "noop", "timeout_s": 60, "retries": 2}, "gone": {"runner": "nothing"}}
    settings = Settings(queues=queues)
    lanes = {name: Lane(name, queue, found.get(queue.runner)) for name, queue in settings.queues.items()}
    for lane in lanes.values():
        if not lane.broken:
            lane.runner = lane.runner_class()
            lane.health = Health(True)
    return Intake(lanes, now=lambda: NOW)


async def accept(intake: Intake, **fields: Any) -> Prepared:
    body = {"queue": "noop", "params": {}, **fields}
    return (await intake.accept([body]))[0]


async def refused(intake: Intake, body: Any, **how: Any) -> dict[str, str]:
    with pytest.raises(BadSpec) as caught:
        await intake.accept([body] if not how.get("bulk") else body, **how)
    return {error.pointer: error.detail for error in caught.value.errors}


async def test_equal_treatments_are_one_object(intake: Intake) -> None:
    first, second = await accept(intake, name="a"), await accept(intake, name="b")
    assert first.treatment is second.treatment


async def test_what_a_job_does_not_say_comes_from_its_queue(intake: Intake) -> None:
    job = await accept(intake, queue="slow")
    assert job.treatment.timeout_s == 60
    assert job.treatment.retries.max == 2
    assert (await accept(intake, queue="slow", timeout_s=5)).treatment.timeout_s == 5


async def test_matrix_jobs_take_one_cpu_unless_they_say_otherwise(intake: Intake) -> None:
    params = {"operation": "square_sum", "data": [1]}
    assert (await accept(intake, queue="compute", params=params)).treatment.resources == (("cpus", 1),)
    more = await accept(intake, queue="compute", params=params, resources={"cpus": 2})
    assert more.treatment.resources == (("cpus", 2),)
    assert (await accept(intake)).treatment.resources == ()


@pytest.mark.parametrize(("given", "number"), [("critical", 20), ("low", -10), (7, 7), (3.0, 3)])
async def test_priorities_are_numbers_or_names(intake: Intake, given: Any, number: int) -> None:
    assert (await accept(intake, priority=given)).treatment.priority == number


async def test_a_delay_becomes_a_time(intake: Intake) -> None:
    assert (await accept(intake, delay_s=5)).run_at == NOW + 5
    at = await accept(intake, run_at="2027-01-15T08:00:00+01:00")
    assert at.run_at == 1_799_996_400.0


async def test_every_bad_field_is_named_in_one_answer(intake: Intake) -> None:
    body = {
        "queue": "noop",
        "params": {"duration_s": "x", "colour": 1},
        "priority": "urgent",
        "timeout_s": -1,
        "tags": {"a b": "c"},
        "retries": {"max": 1e30},
        "depends_on": [{"on": "never", "job": "x"}],
        "nonsense": 1,
    }
    errors = await refused(intake, body)
    expected = {"/params/duration_s", "/params/colour", "/priority", "/timeout_s", "/retries/max", "/nonsense"}
    assert expected <= set(errors)
    assert {"/depends_on/0/on", "/depends_on/0/job"} <= set(errors)
    assert any(pointer.startswith("/tags") for pointer in errors)


async def test_pointers_name_real_places_below_a_runners_union(intake: Intake) -> None:
    errors = await refused(intake, {"queue": "compute", "params": {"operation": "matmul", "size": "big"}})
    assert list(errors) == ["/params/size"]


async def test_an_unknown_queue_names_the_known_ones(intake: Intake) -> None:
    errors = await refused(intake, {"queue": "nope", "params": {}})
    assert "compute" in errors["/queue"]


async def test_in_an_array_errors_carry_the_index(intake: Intake) -> None:
    bodies = [{"queue": "noop", "params": {}}, {"queue": "noop"}, "text", {"queue": "noop", "params": {}, "x": 1}]
    errors = await refused(intake, bodies, bulk=True)
    assert set(errors) == {"/1/params", "/2", "/3/x"}


@pytest.mark.parametrize("value", [2**63, [[1, -(2**70)]], {"a": float("inf")}])
async def test_numbers_that_a_client_could_not_read_back_are_refused(intake: Intake, value: Any) -> None:
    errors = await refused(intake, {"queue": "noop", "params": {"x": value}})
    assert any(pointer.startswith("/params/x") for pointer in errors)


async def test_params_nested_a_thousand_deep_are_refused(intake: Intake) -> None:
    deep: Any = []
    for _ in range(900):
        deep = [deep]
    errors = await refused(intake, {"queue": "noop", "params": {"x": deep}})
    assert any("nested deeper" in detail for detail in errors.values())


async def test_a_dependency_names_a_job_or_an_earlier_index(intake: Intake) -> None:
    job_id = "01a2011b-db2a-7000-9b04-5fb1df50a0ef"
    job = await accept(intake, depends_on=[job_id, {"job": job_id, "on": "any"}])
    assert job.needs == (Need(On.SUCCESS, job_id), Need(On.ANY, job_id))
    errors = await refused(intake, [{"queue": "noop", "params": {}, "depends_on": [{"index": 0}]}], bulk=True)
    assert list(errors) == ["/0/depends_on/0/index"]
    assert await refused(intake, {"queue": "noop", "params": {}, "depends_on": [{}]})


async def test_a_matrix_that_is_another_jobs_product_implies_the_dependency(intake: Intake) -> None:
    job_id = "01a2011b-db2a-7000-9b04-5fb1df50a0ef"
    job = await accept(intake, queue="compute", params={"operation": "det", "a": {"job": job_id}})
    assert job.needs == (Need(On.SUCCESS, job_id),)


async def test_the_callers_org_is_the_jobs_org_and_anothers_is_not_found(intake: Intake) -> None:
    body = {"queue": "noop", "params": {}}
    (job,) = await intake.accept([body], org="a")
    assert job.treatment.org_id == "a"
    with pytest.raises(Forbidden):
        await intake.accept([{**body, "org_id": "b"}], org="a")


async def test_a_queue_whose_runner_is_missing_is_unavailable(intake: Intake) -> None:
    with pytest.raises(Unavailable, match="no runner 'nothing'"):
        await accept(intake, queue="gone")


async def test_the_digest_is_that_of_the_job_without_its_key(intake: Intake) -> None:
    plain = await accept(intake, name="a")
    keyed = await accept(intake, name="a", idempotency_key="k")
    other = await accept(intake, name="b", idempotency_key="k")
    assert plain.digest() == keyed.digest() != other.digest()
    assert isinstance(plain.treatment, Treatment)
