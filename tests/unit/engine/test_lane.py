"""A queue's runner, opened and asked for health, whatever it does."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, field_validator

from hpcq.config import ConfigError, Queue
from hpcq.engine import lane as lanes
from hpcq.engine.floor import QueueContext
from hpcq.engine.host import Overrun
from hpcq.engine.lane import Lane
from hpcq.engine.registry import Found
from hpcq.plugin import Health, Part, Runner
from tests.support.wait import wait_until

MakeLane = Callable[..., Lane]


@pytest.fixture
async def make_lane() -> AsyncIterator[MakeLane]:
    made: list[Lane] = []

    def make(runner: type[Runner], **settings: Any) -> Lane:
        config = Queue(runner="theirs", **settings)
        made.append(Lane("q", config, Found("theirs", "theirs", "1.0", runner)))
        return made[-1]

    yield make
    for lane in made:
        await lane.close()


def _context(tmp_path: Path, heard: list[Any] | None = None) -> QueueContext:
    hear = [].append if heard is None else heard.append
    nothing: Any = None  # neither state nor processes are asked for
    return QueueContext("q", None, tmp_path, nothing, nothing, logging.getLogger("test"), hear, hear, hear)


class FirstTimeUnlucky(Runner):
    """Its first instance cannot be opened."""

    made: ClassVar[list["FirstTimeUnlucky"]] = []

    def __init__(self) -> None:
        self.opened = self.closed = 0
        self.thread = threading.get_ident()
        self.made.append(self)

    async def open(self, context: Any) -> None:
        self.context = context
        self.opened += 1
        if len(self.made) == 1:
            raise ConnectionError("the device farm is down")

    async def close(self) -> None:
        self.closed += 1


async def test_a_runner_that_did_not_open_is_opened_again_when_health_is_asked(
    make_lane: MakeLane, tmp_path: Path
) -> None:
    FirstTimeUnlucky.made.clear()
    lane = make_lane(FirstTimeUnlucky)
    context = _context(tmp_path)
    await lane.open(context)
    assert lane.runner is None
    assert not lane.health.ready
    assert "the device farm is down" in lane.health.message
    assert await lane.ask_health() == Health(True)
    first, second = FirstTimeUnlucky.made
    assert lane.runner is second
    assert second.context is context
    assert (first.opened, first.closed) == (1, 1)
    await lane.ask_health()
    assert len(FirstTimeUnlucky.made) == 2
    assert (second.opened, second.closed) == (1, 0)


async def test_a_third_partys_constructor_runs_on_its_own_thread(make_lane: MakeLane, tmp_path: Path) -> None:
    FirstTimeUnlucky.made.clear()
    lane = make_lane(FirstTimeUnlucky)
    await lane.open(_context(tmp_path))
    assert FirstTimeUnlucky.made[0].thread != threading.get_ident()


class HandsOver(Runner):
    wrong: ClassVar[Callable[[Any], None]]

    async def open(self, context: Any) -> None:
        type(self).wrong(context)


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (lambda context: context.pause(ValueError("hot")), "pause: the reason is"),
        (lambda context: context.set_slots(["x"]), "is not a Slot"),
    ],
)
async def test_what_a_runner_hands_over_is_checked_where_it_does_so(
    make_lane: MakeLane, tmp_path: Path, wrong: Callable[[Any], None], word: str
) -> None:
    runner = type("HandsOverWrong", (HandsOver,), {"wrong": staticmethod(wrong)})
    lane = make_lane(runner)
    heard: list[Any] = []
    await lane.open(_context(tmp_path, heard))
    assert word in lane.health.message
    assert heard == []


@pytest.mark.parametrize(
    "health",
    ["fine", None, Health("yes"), Health(True, None), Health(False, ValueError("no device"))],  # type: ignore[arg-type]
)
async def test_a_health_that_cannot_be_shown_is_not_ready(make_lane: MakeLane, tmp_path: Path, health: Any) -> None:
    class Odd(Runner):
        async def health(self) -> Any:
            return health

    lane = make_lane(Odd)
    await lane.open(_context(tmp_path))
    assert lane.health.ready is False
    assert "health answered" in lane.health.message


class Exits(BaseModel):
    port: int = 0

    @field_validator("port")
    @classmethod
    def exits(cls, value: int) -> int:
        raise SystemExit(f"no licence for {value}")


async def test_settings_that_raise_break_their_queue_and_wrong_ones_are_refused(
    make_lane: MakeLane, tmp_path: Path
) -> None:
    class Theirs(Runner):
        settings = Exits

    lane = make_lane(Theirs, port=1)
    assert "SystemExit: no licence for 1" in str(lane.broken)
    await lane.open(_context(tmp_path))
    assert not lane.health.ready
    assert "no licence" in lane.health.message
    with pytest.raises(ConfigError, match=r"queues\.q\.port"):
        make_lane(Theirs, port="x")


class Lists(Runner):
    """Lists files for as long as it is told to."""

    at_once: ClassVar[list[asyncio.Event]] = []

    async def split(self, params: Any, blob: Any) -> list[Part]:
        go = asyncio.Event()
        self.at_once.append(go)
        await go.wait()
        return [Part("a.js", {})]


async def test_a_split_that_takes_too_long_fails_alone_and_leaves_its_queue_as_it_is(
    make_lane: MakeLane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane = make_lane(Lists)
    await lane.open(_context(tmp_path))
    monkeypatch.setattr(lanes, "SPLIT_S", 0.01)
    with pytest.raises(Overrun, match="split took longer"):
        await lane.split({}, Path)
    assert lane.health == Health(True)


async def test_a_queue_splits_few_jobs_at_once(make_lane: MakeLane, tmp_path: Path) -> None:
    lane = make_lane(Lists)
    await lane.open(_context(tmp_path))
    Lists.at_once.clear()
    many = [asyncio.create_task(lane.split({}, Path)) for _ in range(lanes.SPLITS_AT_ONCE + 3)]
    most = 0
    while not all(task.done() for task in many):
        await wait_until(lambda: bool(Lists.at_once) or all(task.done() for task in many), 20, "a split, or the end")
        await lane.ask_health()  # on the runner's thread: all that could begin has begun
        most = max(most, len(Lists.at_once))
        if Lists.at_once:
            go = Lists.at_once.pop()
            lane._host._loop.call_soon_threadsafe(go.set)  # type: ignore[attr-defined]
    assert most <= lanes.SPLITS_AT_ONCE
    assert [await task for task in many] == [[Part("a.js", {})]] * len(many)
