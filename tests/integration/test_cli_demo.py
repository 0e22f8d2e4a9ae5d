"""`hpcq demo` verifies what it shows, and leaves nothing unless asked to."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from tests.support.cli import HPCQ, Cli
from tests.support.wait import wait_until_blocking

NOWHERE = "http://127.0.0.1:9"  # the demo must not look for a server

# The demo with one scene whose verification cannot hold.
LYING = """
import sys
from hpcq.cli import demo
from hpcq.cli.demo_day import Scene, expect

async def check(client, jobs):
    expect(jobs[0]["state"] == "failed", "it did not fail")
    return "fine"

demo.day = lambda: (Scene("a lie", ({"queue": "noop", "params": {}},), check),)
sys.argv = ["hpcq", "--json"]
demo.demo()
"""


def demo_cli(folder: Path) -> Cli:
    return Cli(NOWHERE, folder, TMPDIR=str(folder))


def test_the_demo_verifies_a_whole_day_and_cleans_up(tmp_path: Path) -> None:
    done = demo_cli(tmp_path)("demo", timeout_s=90)
    assert done.code == 0, done.out + done.err
    assert "8 of 8 verifications hold" in done.out
    assert "WRONG" not in done.out
    assert "critical" in done.out
    assert "hpcq serve" in done.out
    assert list(tmp_path.iterdir()) == []


def test_the_demo_can_leave_its_server_up(tmp_path: Path) -> None:
    cli = demo_cli(tmp_path)
    kept = cli("demo", "--keep", "--json", timeout_s=90).json["server"]
    process = psutil.Process(kept["pid"])
    try:
        assert len(Cli(kept["url"], tmp_path)("list", "--json").json) == 22
    finally:
        os.kill(kept["pid"], signal.SIGTERM)
    wait_until_blocking(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, 20.0, "its end")
    assert (Path(kept["folder"]) / "data" / "hpcq.db").is_file()


def test_a_verification_that_fails_is_exit_code_1_and_named(tmp_path: Path) -> None:
    env = {**demo_cli(tmp_path).env}
    done = subprocess.run(
        [sys.executable, "-c", LYING], capture_output=True, text=True, env=env, timeout=60, check=False
    )
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    assert found["checks"] == [{"scene": "a lie", "ok": False, "saw": "it did not fail"}]


def test_stopping_the_demo_stops_its_server(tmp_path: Path) -> None:
    env = {**demo_cli(tmp_path).env}
    with subprocess.Popen([*HPCQ, "demo"], stdout=subprocess.PIPE, text=True, env=env) as run:
        assert run.stdout is not None
        heading = run.stdout.readline()
        assert re.search(r"on http://127\.0\.0\.1:\d+", heading)
        server = next(child for child in psutil.Process(run.pid).children() if "serve" in child.cmdline())
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=30)
    assert run.returncode == 130
    assert not server.is_running()
    assert list(tmp_path.iterdir()) == []
