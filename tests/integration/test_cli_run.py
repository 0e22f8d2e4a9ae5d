"""`hpcq run`: what it shows, how it ends, and what it leaves behind."""

import json
import os
import pty
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.support.cli import HPCQ, Cli, free_port, until_line
from tests.support.server import ServerProcess
from tests.support.sources import ROOT
from tests.support.wait import wait_until_blocking

MakeServer = Callable[..., ServerProcess]
LONG = '{"duration_s": 60}'
EXAMPLES = ROOT / "config" / "examples"


@pytest.fixture
def cli(server: ServerProcess, tmp_path: Path) -> Cli:
    folder = tmp_path / "here"
    folder.mkdir()
    return Cli(server.url, folder)


def jobs_of(server: ServerProcess) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = server.get("/v1/jobs?order=asc")["jobs"]
    return found


def until_running(server: ServerProcess, count: int = 1) -> None:
    def running() -> bool:
        return len([job for job in jobs_of(server) if job["state"] == "running"]) >= count

    wait_until_blocking(running, 20.0, f"{count} jobs to run")


def test_a_command_s_output_is_shown_and_its_end_is_ours(cli: Cli) -> None:
    done = cli("run", "--", "sh", "-c", "echo out; echo err >&2; pwd; exit 3")
    assert done.code == 1
    assert done.out == f"out\nerr\n{cli.folder}\n"
    assert "failed" in done.err
    assert "exit code 3" in done.err


def test_many_jobs_have_a_line_for_each_change_and_a_report(cli: Cli) -> None:
    (cli.folder / "jobs.toml").write_text(
        '[[jobs]]\nname = "A"\nqueue = "noop"\nparams = {message = "Hello from Task A", duration_s = 0.2}\n'
        '[[jobs]]\nname = "B"\nqueue = "local"\nparams = {command = "echo hello from b"}\n'
    )
    done = cli("run", "-f", "jobs.toml", "--out", "r.json", "--junit", "r.xml")
    assert done.code == 0
    for name in ("A", "B"):
        words = re.findall(rf"\d+\.\d\ds  (\w+) +{name}  ", done.out)
        assert words == ["SENT", "PENDING", "RUNNING", "SUCCESS"], done.out
    assert re.search(r"noop: 1 job, \d+ slots", done.out)
    assert re.search(r"total \S+, average \S+, fastest \S+, slowest \S+, elapsed \S+s\n", done.out)
    assert "Hello from Task A" in done.out
    assert "hello from b" in done.out
    assert "2 of 2 succeeded" in done.out
    report = json.loads((cli.folder / "r.json").read_text())
    assert [(job["name"], job["state"]) for job in report["jobs"]] == [("A", "succeeded"), ("B", "succeeded")]
    assert all(job["slot"] for job in report["jobs"])
    assert ElementTree.parse(cli.folder / "r.xml").getroot().get("tests") == "2"


def test_out_without_a_name_takes_the_default_one(cli: Cli) -> None:
    assert cli("run", "--queue", "noop", "--out").code == 0
    (path,) = cli.folder.iterdir()
    assert re.fullmatch(r"hpcq_results_\d{8}_\d{6}\.json", path.name)


def test_json_is_all_that_stdout_holds(cli: Cli) -> None:
    done = cli("run", "--json", "--", "echo hi; exit 1")
    assert done.code == 1
    assert done.json["counts"] == {"failed": 1}
    assert done.json["exit_code"] == 1


@pytest.mark.parametrize("words", [("--queue", "noop"), ("-f", "jobs.json")])
def test_the_same_key_again_reports_the_same_jobs(cli: Cli, server: ServerProcess, words: tuple[str, ...]) -> None:
    (cli.folder / "jobs.json").write_text('[{"queue": "noop", "params": {}}, {"queue": "noop", "params": {}}]')
    first, second = (cli("run", "--json", "--idempotency-key", "k", *words) for _ in range(2))
    assert (first.code, second.code) == (0, 0), second.err
    assert [job["id"] for job in first.json["jobs"]] == [job["id"] for job in second.json["jobs"]]


def test_a_queue_that_nobody_serves_is_named(cli: Cli) -> None:
    cli("queues", "scale", "noop", "0")
    (cli.folder / "jobs.json").write_text('[{"queue": "noop", "params": {}}]')
    with cli.start("run", "-f", "jobs.json") as run:
        assert run.stdout is not None
        until_line(run.stdout, "hpcq queues scale noop N")
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=30)


def test_the_two_example_files_say_hello_from_both_queues(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server((EXAMPLES / "two-queues.toml").read_text())
    done = Cli(server.url, tmp_path)("run", "-f", str(EXAMPLES / "two-queues-jobs.toml"), "--out", "results.json")
    assert done.code == 0, done.err
    assert re.search(r"queue_a: 1 job, 1 slot\n +queue_b: 1 job, 1 slot\n", done.out)
    report = json.loads((tmp_path / "results.json").read_text())
    assert [(job["queue"], job["slot"], job["result"]) for job in report["jobs"]] == [
        ("queue_a", "queue_a-1", "Hello from Task A"),
        ("queue_b", "queue_b-1", "Hello from Task B"),
    ]
    assert report["counts"] == {"succeeded": 2}
    assert report["fastest_s"] <= report["average_s"] <= report["slowest_s"] <= report["total_s"]


def test_the_example_files_on_a_server_without_their_config_say_what_is_missing(cli: Cli) -> None:
    done = cli("run", "-f", str(EXAMPLES / "two-queues-jobs.toml"))
    assert done.code == 2
    assert "/0/queue: there is no queue 'queue_a'; there are compute" in done.err
    assert "hpcq serve --config FILE" in done.err
    assert "hpcq serve --config config/examples/two-queues.toml" in (EXAMPLES / "two-queues-jobs.toml").read_text()


def test_a_queue_that_is_closed_and_opened_meanwhile_is_named(cli: Cli) -> None:
    cli("queues", "pause", "noop")
    (cli.folder / "jobs.json").write_text('[{"queue": "noop", "params": {}}]')
    with cli.start("run", "-f", "jobs.json") as run:
        assert run.stdout is not None
        before = until_line(run.stdout, "PENDING")
        cli("queues", "resume", "noop")
        out, err = run.communicate(timeout=30)
    assert run.returncode == 0, err
    assert "  noop: paused" in before
    assert re.search(r"^  noop: open, \d+ slots$", out, re.MULTILINE)


@pytest.mark.parametrize(("word", "colour"), [("SENT", 36), ("PENDING", 36), ("SUCCESS", 32), ("FAILED", 31)])
def test_a_terminal_shows_the_words_in_colours(cli: Cli, word: str, colour: int) -> None:
    jobs = [{"queue": "noop", "params": {"fail": fail}} for fail in (False, True)]
    (cli.folder / "jobs.json").write_text(json.dumps(jobs))
    ours, theirs = pty.openpty()
    subprocess.run([*HPCQ, "run", "-f", "jobs.json"], stdout=theirs, env=cli.env, cwd=cli.folder, check=False)
    os.close(theirs)
    assert f"\x1b[{colour}m{word}" in os.read(ours, 1 << 16).decode()
    os.close(ours)


def test_what_is_no_terminal_gets_no_colours(cli: Cli) -> None:
    assert "\x1b" not in cli("run", "-f", "-", stdin='[{"queue": "noop", "params": {}}]').out


def test_without_a_server_there_is_one_line_and_exit_code_3(tmp_path: Path) -> None:
    nobody = Cli(f"http://127.0.0.1:{free_port()}", tmp_path)
    done = nobody("run", "-f", str(EXAMPLES / "two-queues-jobs.toml"))
    assert (done.code, done.out) == (3, "")
    assert re.fullmatch(r"hpcq: no server answers at \S+ .*`hpcq serve`.*\n", done.err)


def test_too_many_failures_cancel_the_rest(cli: Cli, server: ServerProcess) -> None:
    bad = {"queue": "local", "params": {"command": "false"}}
    long = {"queue": "noop", "params": {"duration_s": 60}}
    done = cli("run", "-f", "-", "--max-failures", "1", stdin=json.dumps([long, bad]))
    assert done.code == 1
    assert sorted(job["state"] for job in jobs_of(server)) == ["cancelled", "failed"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stopping_it_leaves_the_job_running_and_says_how_to_follow(
    cli: Cli, server: ServerProcess, number: signal.Signals
) -> None:
    with cli.start("run", "--queue", "noop", "--params", LONG) as run:
        until_running(server)
        run.send_signal(number)
        _, err = run.communicate(timeout=20)
    assert run.returncode == 128 + number
    (job,) = jobs_of(server)
    assert job["state"] == "running"
    assert f"hpcq logs -f {job['id']}" in err


def test_stopping_a_run_of_many_names_their_tag(cli: Cli, server: ServerProcess) -> None:
    (cli.folder / "jobs.json").write_text(json.dumps([{"queue": "noop", "params": {"duration_s": 60}}] * 2))
    with cli.start("run", "-f", "jobs.json") as run:
        until_running(server, 2)
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=20)
    tag = re.search(r"hpcq cancel (--tag run=\S+)", err)
    assert tag, err
    assert cli("cancel", *tag[1].split()).out == "2 jobs\n"


def test_in_ci_the_jobs_end_with_the_run(cli: Cli, server: ServerProcess) -> None:
    in_ci = Cli(server.url, cli.folder, CI="true")
    with in_ci.start("run", "--", "sleep", "60") as run:
        until_running(server)
        run.send_signal(signal.SIGTERM)
        run.communicate(timeout=20)
    assert run.returncode == 143
    assert [job["state"] for job in jobs_of(server)] == ["cancelled"]


def test_giving_up_leaves_the_job_running(cli: Cli, server: ServerProcess) -> None:
    done = cli("run", "--timeout", "3", "--queue", "noop", "--params", LONG)
    assert done.code == 124
    assert "hpcq logs -f" in done.err
    assert [job["state"] for job in jobs_of(server)] == ["running"]


def test_a_run_outlives_a_crash_of_the_server(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server(arguments=["--port", str(free_port())])
    cli = Cli(server.url, tmp_path)
    gate = tmp_path / "open"
    jobs = [
        {"queue": "local", "name": n, "params": {"command": f"until [ -e {gate} ]; do sleep 0.05; done"}} for n in "ab"
    ]
    (tmp_path / "jobs.json").write_text(json.dumps(jobs))
    with cli.start("run", "-f", "jobs.json") as run:
        until_running(server)
        server.kill()
        server.start()
        gate.touch()
        out, err = run.communicate(timeout=60)
    assert run.returncode == 0, err
    assert "2 of 2 succeeded" in out
    assert re.findall(r"hpcq: the server (does not answer|answers again)", err) == ["does not answer", "answers again"]


def test_a_followed_output_outlives_a_restart_of_the_server(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server(arguments=["--port", str(free_port())])
    cli = Cli(server.url, tmp_path)
    command = 'echo "try $HPCQ_ATTEMPT"; [ "$HPCQ_ATTEMPT" -gt 1 ] || sleep 60'
    with cli.start("run", "--", command) as run:
        until_running(server)
        server.stop()
        server.start()
        out, err = run.communicate(timeout=60)
    assert run.returncode == 0, err
    assert out == "try 1\ntry 2\n"
