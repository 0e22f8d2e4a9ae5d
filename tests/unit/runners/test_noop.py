"""The noop runner does nothing, in the way it is asked to."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hpcq.plugin.testing_stage import Stage
from hpcq_runners.noop import NoopRunner


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    stage = Stage(tmp_path, NoopRunner, {})
    await stage.open()
    yield stage
    await stage.close()


async def test_it_answers_its_message(stage: Stage) -> None:
    _, outcome = await stage.run({"message": "hello"}, 5)
    assert outcome.result == {"message": "hello"}


async def test_it_fails_as_asked(stage: Stage) -> None:
    _, plain = await stage.run({"fail": True}, 5)
    _, told = await stage.run({"fail": True, "message": "because"}, 5)
    assert plain.error is not None
    assert told.error is not None
    assert (plain.error.type, plain.error.exit_code, plain.error.message) == ("exit", 1, "asked to fail")
    assert told.error.message == "because"


async def test_it_lasts_and_reports_seconds(stage: Stage) -> None:
    request, outcome = await stage.run({"duration_s": 0.05}, 5)
    assert outcome.error is None
    assert request.reports[0][1] == 0.05
    assert request.reports[-1][:2] == (0.05, 0.05)


async def test_it_does_not_fail_before_its_time(stage: Stage) -> None:
    request = stage.request({"duration_s": 60, "fail": True})
    handle = await stage.start(request)
    waiting = asyncio.ensure_future(stage.wait(request, handle, 30))
    await asyncio.wait([waiting], timeout=0.05)
    assert not waiting.done()
    await stage.stop(request, handle, 1)
    assert (await waiting).error is not None


async def test_the_params_of_other_runners_count_as_the_defaults(stage: Stage) -> None:
    request = stage.request({})
    request.params = object()
    handle = await stage.start(request)
    assert (await stage.wait(request, handle, 5)).result == {"message": ""}
