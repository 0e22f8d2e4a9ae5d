"""The keyword library: documented, used as it is, and a check that would see what it is there to see."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

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
