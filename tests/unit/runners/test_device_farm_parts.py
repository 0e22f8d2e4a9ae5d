"""The parts of the device farm runner: its slots, its sessions, its verdicts, and what a job may ask for."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from hpcq.engine.intake import pointer
from hpcq.plugin import Failure, Outcome, Slot, TestCase
from hpcq.plugin.testing_stage import Stage
from hpcq_runners.device_farm import verdict
from hpcq_runners.device_farm.api import FarmError
from hpcq_runners.device_farm.browserstack import BrowserStack
from hpcq_runners.device_farm.capacity import Capacity
from hpcq_runners.device_farm.lambdatest import LambdaTest
from hpcq_runners.device_farm.params import FarmBuildParams, FarmParams, FarmTestParams
from hpcq_runners.device_farm.runner import DeviceFarmRunner
from hpcq_runners.device_farm.sessions import OurSessions
from hpcq_runners.device_farm.settings import DeviceFarmSettings
from tests.support.fake_farm.farm import FULL, NO_APP, FakeFarm
from tests.support.fake_farm.kept import Kept
from tests.support.wait import wait_until

PARAMS: TypeAdapter[Any] = TypeAdapter(FarmParams)
LOG = logging.getLogger("test")


class Offer:
    """As much of a context as slots need."""

    queue = "farm"

    def __init__(self) -> None:
        self.slots: list[Slot] = []

    def set_slots(self, slots: list[Slot]) -> None:
        self.slots = slots

    @property
    def ready(self) -> list[str]:
        return [slot.name for slot in self.slots if slot.state == "ready"]

    @property
    def reasons(self) -> set[str]:
        return {slot.reason for slot in self.slots if slot.state == "held"}


# What it lacks.


@pytest.mark.parametrize(
    ("farm_name", "ready", "message"),
    [
        ("browserstack", True, "farm builds run, but tests cannot: the project's folder /nowhere is not there"),
        ("lambdatest", False, "the project's folder /nowhere is not there"),
    ],
)
async def test_a_project_that_is_not_there_keeps_only_tests_from_running(
    farm: FakeFarm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, farm_name: str, ready: bool, message: str
) -> None:
    for name in (*BrowserStack.variables, *LambdaTest.variables):
        monkeypatch.setenv(name, farm.user if name.endswith("USERNAME") else farm.key)
    stage = Stage(tmp_path, DeviceFarmRunner, {**farm.settings, "farm": farm_name, "project_dir": "/nowhere"})
    await stage.open()
    health = await stage.runner.health()
    await stage.close()
    assert (health.ready, health.message.startswith(message)) == (ready, True), health


# Slots.


async def slots(stack: BrowserStack) -> tuple[Offer, Capacity]:
    offer: Any = Offer()
    capacity = Capacity(stack, offer)
    await capacity.ask()
    return offer, capacity


async def test_there_are_as_many_slots_as_the_plan_has_sessions(farm: FakeFarm, stack: BrowserStack) -> None:
    offer, _ = await slots(stack)
    assert offer.ready == [f"farm-{number}" for number in range(1, 6)]
    assert dict(offer.slots[0].labels) == {"farm": "browserstack"}


async def test_sessions_of_others_take_slots_and_the_reason_says_so(farm: FakeFarm, stack: BrowserStack) -> None:
    farm.others = 2
    offer, _ = await slots(stack)
    assert offer.ready == ["farm-1", "farm-2", "farm-3"]
    assert offer.reasons == {
        "of the 5 sessions of the BrowserStack plan are in use: 2 by others of the account",
    }


async def test_our_own_sessions_take_no_slots_from_us(farm: FakeFarm, stack: BrowserStack) -> None:
    offer, capacity = await slots(stack)
    capacity.begin("a-1-1")
    session = farm.open_session("a-1-1")
    await capacity.ask(anew=True)
    assert len(offer.ready) == 5
    capacity.end("a-1-1")  # the farm still counts it for a while
    await capacity.ask(anew=True)
    assert len(offer.ready) == 5
    assert session in farm.sessions


async def test_a_build_on_several_devices_takes_as_many_sessions(stack: BrowserStack) -> None:
    offer, capacity = await slots(stack)
    capacity.begin("a-1-1", sessions=3)
    assert offer.ready == ["farm-1", "farm-2", "farm-3"]
    capacity.end("a-1-1")
    assert len(offer.ready) == 5


async def test_while_the_farm_wants_a_pause_no_slot_is_ready(stack: BrowserStack) -> None:
    offer, capacity = await slots(stack)
    capacity.pause(0.05, "it asked for a pause")
    assert not offer.ready
    assert offer.reasons == {"it asked for a pause"}
    await wait_until(lambda: len(offer.ready) == 5)


async def test_the_plan_is_not_asked_for_again_while_it_is_fresh(farm: FakeFarm, stack: BrowserStack) -> None:
    _, capacity = await slots(stack)
    await capacity.ask()
    assert farm.count("GET", "plan.json") == 1


async def test_before_the_plan_is_known_one_slot_is_offered_and_held(stack: BrowserStack) -> None:
    offer: Any = Offer()
    Capacity(stack, offer).offer()
    assert len(offer.slots) == 1
    assert offer.reasons == {"BrowserStack has not said yet how many sessions the plan allows"}


# Sessions.


async def sessions(stack: BrowserStack, kept: Kept) -> OurSessions:
    ours = OurSessions(stack, kept, LOG)
    await ours.open()
    return ours


async def test_what_an_earlier_life_left_open_is_closed_and_nothing_else(farm: FakeFarm, stack: BrowserStack) -> None:
    kept = Kept()
    await (await sessions(stack, kept)).begin("a-1-1")
    for name in ("a-1-1", "a-1-1 logs in", "a-1-11", "a-2-1", ""):
        farm.open_session(name)
    await (await sessions(stack, kept)).close_left()
    assert sorted(session.name for session in farm.live) == ["", "a-1-11", "a-2-1"]


async def test_a_session_that_came_late_is_closed_at_the_second_look(farm: FakeFarm, stack: BrowserStack) -> None:
    kept = Kept()
    await (await sessions(stack, kept)).begin("a-1-1")
    after = await sessions(stack, kept)
    await after.close_left()
    farm.open_session("a-1-1")
    await after.close_left()
    assert not farm.live
    asked = len(farm.asked)
    await after.close_left()
    assert len(farm.asked) == asked, "and that was all"
    assert kept.values["sessions"] == []


async def test_a_farm_that_is_down_is_asked_again_later_even_after_a_restart(
    farm: FakeFarm, stack: BrowserStack
) -> None:
    kept = Kept()
    ours = await sessions(stack, kept)
    await ours.begin("a-1-1")
    farm.open_session("a-1-1")
    farm.answer("GET", "builds.json", 503, "oops")
    await ours.end("a-1-1", clean=False)
    assert farm.live
    await (await sessions(stack, kept)).close_left()
    assert not farm.live


async def test_a_clean_end_costs_no_call(farm: FakeFarm, stack: BrowserStack) -> None:
    ours = await sessions(stack, kept := Kept())
    await ours.begin("a-1-1")
    await ours.end("a-1-1", clean=True)
    await ours.close_left()
    assert not farm.asked
    assert kept.values["sessions"] == []


async def test_a_live_attempt_is_left_alone(farm: FakeFarm, stack: BrowserStack) -> None:
    ours = await sessions(stack, Kept())
    await ours.begin("a-1-1")
    await ours.begin("a-2-1")
    farm.open_session("a-1-1")
    farm.open_session("a-2-1")
    await asyncio.gather(ours.end("a-2-1", clean=False), ours.close_left())
    assert [session.name for session in farm.live] == ["a-1-1"]


async def test_a_session_that_cannot_be_closed_does_not_keep_the_others_open(
    farm: FakeFarm, stack: BrowserStack
) -> None:
    ours = await sessions(stack, Kept())
    await ours.begin("a-1-1")
    stuck, *_ = [farm.open_session("a-1-1") for _ in range(3)]
    farm.answer("DELETE", stuck, 503, "oops", times=3)
    await ours.end("a-1-1", clean=False)
    assert [session.id for session in farm.live] == [stuck]
    for _ in range(3):
        await ours.close_left()
    assert not farm.live, "and it is tried again until it is closed"


async def test_sessions_are_found_however_many_there_are(farm: FakeFarm, stack: BrowserStack) -> None:
    opened = {farm.open_session("x", build=f"build {number}") for number in range(103)}
    opened |= {farm.open_session("x", build="large") for _ in range(203)}
    assert {session.id for session in await stack.sessions()} == opened


# Verdicts.


def case(name: str, error: str | None) -> TestCase:
    return TestCase(name, name, "a.spec.js", 1, "failed" if error else "passed", 1.0, 0, error)


def failed(*errors: str | None) -> Outcome:
    tests = tuple(case(f"t{number}", error) for number, error in enumerate(errors))
    return Outcome({"failed": 1}, Failure("exit", "1 of 2 tests failed", exit_code=1), tests)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (f"Error: Failed to create session.\n{FULL}", "busy"),
        ("Failed to create session.\n[BROWSERSTACK_TIER_LIMIT_EXCEEDED] Tier limit reached", "busy"),
        ("Failed to create session.\nRequest failed with status 429", "busy"),
        (f"Error: Failed to create session.\n{NO_APP}", "gone"),
        ("Error: Failed to create session.\nInvalid username or password", "credentials"),
        ("session not created: Unauthorized", "credentials"),
        ('Failed to create session.\nUnable to connect to "https://hub.browserstack.com:443/wd/hub"', "broken"),
        ("Failed to create session.\n<h1>502 Bad Gateway</h1>", "broken"),
    ],
)
def test_what_the_farm_did_is_told_from_the_tests_own_failures(text: str, kind: str) -> None:
    trouble = verdict.trouble_in(failed(None, text), "BrowserStack")
    assert trouble is not None
    assert trouble.kind == kind
    outcome = verdict.outcome_of(trouble, failed(None, text))
    assert outcome.error is not None
    assert outcome.error.type == "infra"
    assert outcome.error.message.startswith("BrowserStack")


@pytest.mark.parametrize(
    "text",
    [
        "Error: Element was not found on the screen",
        "Error: expected 401 items",
        "Failed to create session.\n[BROWSERSTACK_INVALID_OS_VERSION] there is no such device",
        "expect(received): status 503 of our own backend",
    ],
)
def test_a_tests_own_failure_is_its_own(text: str) -> None:
    assert verdict.trouble_in(failed(text), "BrowserStack") is None


def test_a_refused_request_is_the_jobs_own_mistake() -> None:
    outcome = verdict.outcome_of(FarmError("refused", "no such device"))
    assert outcome.error == Failure("rejected", "no such device")


# What a job may ask for.


def places(params: dict[str, Any]) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        PARAMS.validate_python(params)
    return sorted(pointer(problem["loc"], params) for problem in caught.value.errors())


def test_both_kinds_are_told_by_their_kind() -> None:
    assert isinstance(PARAMS.validate_python({"test_path": "tests/a.spec.js"}), FarmTestParams)
    build = {"kind": "farm_build", "framework": "maestro", "app": "/a.apk", "test_suite": "/s.zip", "devices": ["P-1"]}
    assert isinstance(PARAMS.validate_python(build), FarmBuildParams)


@pytest.mark.parametrize("name", ["BROWSERSTACK_ACCESS_KEY", "LAMBDATEST_USERNAME", "LT_ACCESS_KEY"])
def test_a_job_holds_no_credentials(name: str) -> None:
    assert places({"test_path": "a.spec.js", "env": {name: "secret"}}) == [f"/env/{name}"]


def test_every_mistake_in_a_build_is_named() -> None:
    build = {
        "kind": "farm_build",
        "framework": "appium",
        "app": "relative.apk",
        "test_suite": {"blob": "short"},
        "devices": [],
        "options": {"devices": ["mine"]},
        "unknown": 1,
    }
    assert places(build) == ["/app", "/devices", "/framework", "/options", "/test_suite/blob", "/unknown"]
    assert "/test_suite" in places({**build, "test_suite": None}), "it is not to be left out"


@pytest.mark.parametrize("address", ["ftp://farm", "https://me:secret@farm", "https://farm/path", "farm"])
def test_an_address_is_a_place_and_nothing_more(address: str) -> None:
    with pytest.raises(ValidationError):
        DeviceFarmSettings.model_validate({"hub_url": address})


def test_the_redirect_is_beside_the_code() -> None:
    from hpcq_runners.device_farm.test_attempt import REDIRECT

    assert Path(REDIRECT).is_file()
