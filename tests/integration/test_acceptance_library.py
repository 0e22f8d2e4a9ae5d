"""The keyword library: documented, used as it is, and a check that would see what it is there to see."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from acceptance.keywords.fronts import Fronts
from acceptance.keywords.hpcq_acceptance import HpcqAcceptance
from tests.support.keyword_page import library
from tests.support.sources import ROOT

SOON = timedelta(seconds=0.3)


@pytest.fixture
async def suite() -> AsyncIterator[HpcqAcceptance]:
    keywords = HpcqAcceptance()
    await keywords.start_server()
    yield keywords
    await keywords.stop_server_and_see_that_nothing_is_left()


def test_every_keyword_says_what_it_does() -> None:
    keywords = library().keywords
    assert len(keywords) > 30
    assert not [keyword.name for keyword in keywords if not keyword.doc]
    arguments = [(keyword.name, each) for keyword in keywords for each in keyword.args if each.name]
    assert not [f"{name}: {each.name}" for name, each in arguments if not each.type]


def test_the_suites_use_keywords_as_they_are(tmp_path: Path) -> None:
    words = ["--dryrun", "--pythonpath", "acceptance/keywords:.", "--outputdir", str(tmp_path), "acceptance/suites"]
    done = subprocess.run(
        [sys.executable, "-m", "robot", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


async def test_a_wait_that_takes_too_long_tells_the_last_value_and_why(suite: HpcqAcceptance) -> None:
    await suite.pause_queue("noop")
    job = await suite.submit_job("noop")
    with pytest.raises(AssertionError, match=r"(?s)is running: not within 0.3 s.*'state': 'queued'.*explain: paused"):
        await suite.job_should_be(job, "running", SOON)


async def test_a_job_that_ends_otherwise_is_not_waited_for(suite: HpcqAcceptance) -> None:
    job = await suite.submit_job("local", command="echo wrong; exit 3")
    with pytest.raises(AssertionError, match=r"(?s)is failed, not succeeded: .*exit code 3.*output: wrong"):
        await suite.job_should_succeed(job)


async def test_a_job_that_has_run_twice_in_one_try_is_seen(suite: HpcqAcceptance, tmp_path: Path) -> None:
    runs = tmp_path / "runs.txt"
    job = await suite.submit_job("local", command=f"echo $HPCQ_JOB_ID >> '{runs}'")
    await suite.job_should_succeed(job)
    await suite.every_job_should_have_run_once_a_try(str(runs), job)
    with runs.open("a") as file:
        file.write(f"{job}\n")
    with pytest.raises(AssertionError, match="has run 2 times, and was tried 1 times"):
        await suite.every_job_should_have_run_once_a_try(str(runs), job)


async def test_a_header_and_its_status_are_of_the_same_answer() -> None:
    statuses = iter([400, 200])

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({}, status=next(statuses), headers={"Retry-After": "1"})

    app = web.Application()
    app.router.add_get("/result", answer)
    async with TestServer(app, host="127.0.0.1") as server:
        client = Fronts()
        client.talk_to(f"http://127.0.0.1:{server.port}")
        assert await client.answer_should_have_header("/result", 400, "Retry-After") == "1"
        with pytest.raises(AssertionError, match="with 200, not 400"):
            await client.answer_should_have_header("/result", 400, "Retry-After")


async def test_a_wrong_product_would_be_seen(suite: HpcqAcceptance) -> None:
    job = await suite.submit_job("compute", operation="matmul", size=16, seed=1)
    await suite.job_should_succeed(job)
    await suite.product_should_be_what_numpy_computes(job)
    found = await suite.client.job(job)
    found["params"]["seed"] = 2
    with pytest.raises(AssertionError, match="Not equal"):
        await suite.should_equal_product_of_operands(found)


async def test_a_process_that_survives_is_seen(suite: HpcqAcceptance) -> None:
    await suite.stop_server()
    marked = {**os.environ, **suite.house.mark}
    with subprocess.Popen(["sleep", "600"], env=marked) as left:  # noqa: ASYNC220 it does not wait
        with pytest.raises(AssertionError, match=f"still alive.*{left.pid}: sleep 600"):
            await suite.nothing_should_be_left()
        left.kill()


async def test_a_file_that_survives_is_seen(suite: HpcqAcceptance) -> None:
    await suite.stop_server()
    left = suite.house.temporary / "left"
    left.touch()
    with pytest.raises(AssertionError, match="tmp/left"):
        await suite.nothing_should_be_left()
    left.unlink()


async def test_a_server_that_runs_still_is_seen(suite: HpcqAcceptance) -> None:
    with pytest.raises(AssertionError, match="still runs"):
        await suite.nothing_should_be_left()
    assert suite.house.open_port()
    assert "data/lock, held" in suite.house.left_files()
