"""`hpcq run` on a server that takes the jobs and then has no time for questions."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from hpcq.cli.run import Run, run
from hpcq.client import Client
from tests.support.scripted import Scripted, answer, serving

QUEUE = {"name": "q", "slots": 1, "paused": False, "ready": True, "message": ""}


async def test_jobs_that_were_made_are_not_denied_because_of_a_later_refusal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = Scripted(
        answer(200, {"queues": [QUEUE]}),
        answer(200, {"last_seq": 1}),
        answer(201, {"ids": ["one", "two"]}),
        answer(503, {"title": "Busy", "detail": "no time"}),
    )
    options = dict(run.make_context("run", ["-f", "x", "--junit", str(tmp_path / "r.xml")]).params)
    specs: list[dict[str, Any]] = [{"queue": "q", "params": {"test_path": "tests", "split": "file"}}]
    async with serving(script) as url, Client(url) as client:
        assert await Run(client, specs, options).go() == 4
    err = capsys.readouterr().err
    assert "hpcq: the jobs may go on; once it answers: hpcq wait --tag run=" in err
    root = ElementTree.parse(tmp_path / "r.xml").getroot()
    assert "not run" not in {child.get("type") for case in root.iter("testcase") for child in case}
    assert root.get("tests") == "2"
