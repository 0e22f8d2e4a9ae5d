"""What `hpcq run` shows of many jobs."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hpcq.cli.display import Display
from hpcq.cli.queues import unserved
from hpcq.cli.refusal import notes_on
from hpcq.cli.watch import Change
from hpcq_runners.appwright.modules import uploads_lack
from tests.support.testruns import PlainContext

SERVED: dict[str, Any] = {"name": "q", "slots": 2, "paused": False, "ready": True, "message": ""}
AT = "2026-11-22T02:06:00+00:00"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"paused": True, "paused_reason": "401 from the farm"}, "paused (401 from the farm): its jobs wait until"),
        ({"slots": 0}, "no slots: its jobs wait until `hpcq queues scale q N`"),
        (
            {"slots": 0, "ready": False, "message": "no device"},
            "not ready: no device: its jobs wait until that is mended (`hpcq doctor`)",
        ),
    ],
)
def test_a_queue_that_nobody_serves_is_named_with_the_reason(change: dict[str, Any], words: str) -> None:
    assert unserved(SERVED) is None
    assert words in str(unserved({**SERVED, **change}))


def test_the_header_has_each_queue_and_its_slots(capsys: pytest.CaptureFixture[str]) -> None:
    Display(stderr=False).header(
        "http://x", {"q": SERVED, "r": {**SERVED, "name": "r", "slots": 0}}, {"q": 1, "r": 2, "s": 1}
    )
    out = capsys.readouterr().out.splitlines()[1:]
    assert out[:2] == ["  q: 1 job, 2 slots", "  r: 2 jobs, 0 slots"]
    assert out[2].startswith("  r: no slots")
    assert out[3] == "  s: 1 job; there is no such queue"


def test_of_a_folder_the_jobs_are_counted_once_they_are_known(capsys: pytest.CaptureFixture[str]) -> None:
    display = Display(stderr=False)
    lame = {**SERVED, "message": "commands run, but tests cannot: no node"}
    notes = notes_on({"q": lame}, {"tests": ("tests",), "project_dir": None})
    display.header("http://x", {"q": lame}, {"q": 1}, split=True, notes=notes)
    display.sent(["i", "j"], [{"name": "a"}, {"name": "b"}], split=True)
    out = capsys.readouterr().out.splitlines()
    assert out[0].endswith("a job for each file")
    assert out[1:4] == ["  q: 2 slots", "  q: commands run, but tests cannot: no node (`hpcq doctor`)", "  2 jobs"]


def test_what_a_ready_queue_lacks_is_said_where_it_concerns_the_run(tmp_path: Path) -> None:
    context: Any = PlainContext(tmp_path)  # what the runner itself says
    queues = {"q": {**SERVED, "message": uploads_lack(context)}}
    options: dict[str, Any] = {"tests": ("tests",), "project_dir": Path()}
    assert "uploaded tests would lack node_modules" in notes_on(queues, options)["q"]
    assert not notes_on(queues, {**options, "project_dir": None})
    assert not notes_on(queues, {**options, "tests": ()})


@pytest.mark.parametrize(("unread", "code"), [(True, 0), (False, 1)])
def test_a_job_s_reader_that_is_gone_ends_only_what_promises_nothing_more(unread: bool, code: int) -> None:
    words = (
        f"from hpcq.cli.follow import writer; write = writer(raw=True, unread={unread}); [write(b'x') for _ in '99']"
    )
    with subprocess.Popen([sys.executable, "-c", words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        process.stdout.close()
    assert (process.returncode != 0) == code


def test_a_terminal_that_is_gone_stops_nothing() -> None:
    words = "from hpcq.cli.display import Display; [Display(stderr=False).say('x') for _ in range(9)]"
    with subprocess.Popen([sys.executable, "-c", words], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
    assert process.returncode == 0


def test_the_sums_say_how_many_ended_how(capsys: pytest.CaptureFixture[str]) -> None:
    states = ("succeeded", "failed", "cancelled", "failed")
    jobs: list[Any] = [
        {"id": "i", "number": n, "queue": "q", "state": state, "run_s": float(n), "result": None, "error": None}
        for n, state in enumerate(states, 1)
    ]
    Display(stderr=False).results(jobs, 12.5)
    out = capsys.readouterr().out
    assert "total 10s, average 2.50s, fastest 1.00s, slowest 4.00s, elapsed 12s\n" in out
    assert out.endswith("1 of 4 succeeded, 2 failed, 1 cancelled\n")


def test_a_word_that_does_not_change_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    display = Display(stderr=False)
    display.sent(["i"], [{"name": "n"}])
    for state in ("blocked", "queued", "running", "succeeded"):
        display.change(Change("i", state, AT, 1))
    words = [line.split()[1] for line in capsys.readouterr().out.splitlines()]
    assert words == ["SENT", "PENDING", "RUNNING", "SUCCESS"]


def test_a_hostile_name_is_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    display = Display(stderr=False)
    display.sent(["i"], [{"name": "\x1b[2Jgone\n"}])
    display.queue({**SERVED, "name": "\x1b[2J"})
    assert "\x1b" not in capsys.readouterr().out
