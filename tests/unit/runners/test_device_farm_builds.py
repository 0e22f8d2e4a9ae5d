"""Farm builds: which may be at the farm is noted, what nobody wants is stopped, and every test has an id of its own."""

import logging

import pytest

from hpcq.plugin import TestCase
from hpcq_runners.device_farm import build_notes
from hpcq_runners.device_farm.browserstack import BrowserStack
from hpcq_runners.device_farm.build_attempt import distinct
from hpcq_runners.device_farm.build_notes import Notes
from tests.support.fake_farm.farm import Build, FakeFarm
from tests.support.fake_farm.kept import Kept

LOG = logging.getLogger("test")


async def notes(stack: BrowserStack, kept: Kept) -> Notes:
    found = Notes(stack, kept, LOG)
    await found.open()
    return found


def submitted(farm: FakeFarm, key: str) -> Build:
    build = Build(f"build-of-{key}", "maestro", {"devices": ["Lasts-1"], "customBuildName": key})
    farm.builds[build.id] = build
    return build


async def test_a_build_whose_answer_was_never_read_is_found_by_its_name(farm: FakeFarm, stack: BrowserStack) -> None:
    kept, builds = Kept(), stack.builds
    assert builds is not None
    await (await notes(stack, kept)).note("a-1-1", "maestro", None)
    submitted(farm, "a-2-1")
    build = submitted(farm, "a-1-1")
    assert await (await notes(stack, kept)).find("a-1-1", builds) == build.id
    assert await (await notes(stack, kept)).find("a-2-1", builds) is None, "that is not ours"


async def test_a_build_that_cannot_be_looked_for_now_is_stopped_later(farm: FakeFarm, stack: BrowserStack) -> None:
    kept, builds = Kept(), stack.builds
    assert builds is not None
    await (await notes(stack, kept)).note("a-1-1", "maestro", None)
    build, after = submitted(farm, "a-1-1"), await notes(stack, kept)
    farm.answer("GET", "/maestro/v2/builds", 503, "oops", times=2)
    assert await after.find("a-1-1", builds) is None
    await after.stop_strays()
    assert not build.stopped
    await after.stop_strays()
    assert build.stopped
    assert kept.values["builds"] == {}


async def test_a_build_that_turns_up_late_is_stopped(farm: FakeFarm, stack: BrowserStack) -> None:
    kept = Kept()
    before = await notes(stack, kept)
    await before.note("a-1-1", "maestro", None)
    await before.give_up("a-1-1")
    await before.stop_strays()  # it is not there yet
    build = submitted(farm, "a-1-1")
    await (await notes(stack, kept)).stop_strays()  # also by the next life
    assert build.stopped
    assert kept.values["builds"] == {}


async def test_a_build_that_an_earlier_life_may_have_begun_is_stopped_when_it_turns_up(
    farm: FakeFarm, stack: BrowserStack
) -> None:
    kept, builds = Kept(), stack.builds
    assert builds is not None
    await (await notes(stack, kept)).note("a-1-1", "maestro", None)
    after = await notes(stack, kept)
    assert await after.find("a-1-1", builds) is None
    build = submitted(farm, "a-1-1")
    await after.stop_strays()
    assert build.stopped


async def test_a_build_that_never_turns_up_is_forgotten(
    stack: BrowserStack, farm: FakeFarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = await notes(stack, kept := Kept())
    await mine.note("a-1-1", "maestro", None)
    await mine.give_up("a-1-1")
    monkeypatch.setattr(build_notes, "LATE_S", -1.0)
    await mine.stop_strays()
    assert kept.values["builds"] == {}
    asked = len(farm.asked)
    await mine.stop_strays()
    assert len(farm.asked) == asked


def test_a_test_that_is_told_twice_has_two_ids_that_are_not_too_long() -> None:
    told = ["t#a", "t#b", "t#a", "t#a", "x" * 600, "x" * 700]
    cases = distinct(TestCase(name, name, "t", 0, "passed", 1.0) for name in told)
    assert [case.id for case in cases] == ["t#a", "t#b", "t#a (2)", "t#a (3)", "x" * 500, "x" * 496 + " (2)"]
