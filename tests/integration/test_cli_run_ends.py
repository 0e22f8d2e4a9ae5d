"""How `hpcq run` ends when something is wrong around the jobs: the disk, the server, a signal."""

import asyncio
import json
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from hpcq.cli.run import Run, run
from hpcq.cli.submit import prepared
from hpcq.client import Client
from tests.support.cli import Cli, until_line
from tests.support.server import ServerProcess
from tests.support.wait import wait_until_blocking

MakeServer = Callable[..., ServerProcess]
KEPT = ("--out", "r.json", "--junit", "r.xml")
DEAF = "trap '' TERM; touch deaf; until [ -e end ]; do sleep 0.1; done"
LONG = json.dumps([{"queue": "noop", "name": name, "params": {"duration_s": 60}} for name in "ab"])


@pytest.fixture
def cli(server: ServerProcess, tmp_path: Path) -> Cli:
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "long.json").write_text(LONG)
    return Cli(server.url, folder)


def until_running(server: ServerProcess, count: int) -> None:
    def running() -> bool:
        return len([job for job in server.get("/v1/jobs")["jobs"] if job["state"] == "running"]) >= count

    wait_until_blocking(running, 20.0, f"{count} jobs to run")


def report(folder: Path) -> Any:
    return json.loads((folder / "r.json").read_text())


def errors_in(folder: Path) -> str | None:
    return ElementTree.parse(folder / "r.xml").getroot().get("errors")


def test_an_output_that_cannot_be_written_is_74_and_stops_no_other(cli: Cli) -> None:
    done = cli("run", "--queue", "noop", "--out", "r.json", "--junit", "/dev/full", "--artifacts", "kept")
    assert done.code == 74, done.err
    assert "hpcq: --junit /dev/full: not written: No space left on device" in done.err
    assert "artifacts: 0 files in kept" in done.err
    assert report(cli.folder)["exit_code"] == 74
    failed = cli("run", "--junit", "/dev/full", "--", "false")
    assert failed.code == 1, "what the jobs say comes first"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--junit", "long.json/r.xml"), "long.json is no folder"),
        (("--out", "."), "a folder, not a file"),
        (("--artifacts", "long.json"), "is a file"),
        (("--report", "long.json/x/y"), "long.json is no folder"),
    ],
)
def test_an_output_that_could_never_be_written_is_refused_before(
    cli: Cli, server: ServerProcess, words: tuple[str, str], says: str
) -> None:
    done = cli("run", "--queue", "noop", *words)
    assert done.code == 2
    assert re.search(f"{words[0]}.*{says}", done.err)
    assert not server.get("/v1/jobs")["jobs"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_run_that_is_ended_cancels_its_jobs_and_writes_what_became_of_them(
    cli: Cli, server: ServerProcess, number: signal.Signals
) -> None:
    with cli.start("run", "-f", "long.json", "--cancel-on-exit", *KEPT) as process:
        until_running(server, 2)
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + number, err
    assert report(cli.folder)["counts"] == {"cancelled": 2}
    assert report(cli.folder)["exit_code"] == 128 + number
    assert errors_in(cli.folder) == "2"


@pytest.mark.parametrize("again", [False, True])
def test_jobs_that_do_not_end_are_not_waited_for_and_a_second_ctrl_c_waits_for_nothing(
    make_server: MakeServer, tmp_path: Path, again: bool
) -> None:
    server = make_server("[queues.local]\ngrace_s = 30")
    cli = Cli(server.url, tmp_path)
    (cli.folder / "jobs.json").write_text(
        json.dumps([{"queue": "local", "params": {"command": DEAF, "cwd": str(cli.folder)}}])
    )
    with cli.start("run", "-f", "jobs.json", "--cancel-on-exit", *KEPT) as process:
        wait_until_blocking((cli.folder / "deaf").exists, 20.0, "the job to be deaf")
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert process.stderr.readline() == "hpcq: cancelling\n"
        wait_until_blocking(lambda: server.get("/v1/jobs?state=cancelling")["jobs"], 20.0, "the cancel to arrive")
        if again:
            process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    (cli.folder / "end").touch()
    assert process.returncode == 130, err
    assert ("not all have ended after 5 s" in err) is not again
    assert (cli.folder / "r.json").exists() is not again


def test_a_server_that_goes_away_is_said_once_and_what_was_known_is_reported(cli: Cli, server: ServerProcess) -> None:
    with cli.start("run", "-f", "long.json", "--cancel-on-exit", *KEPT) as process:
        until_running(server, 2)
        server.kill()
        assert process.stderr is not None
        until_line(process.stderr, "hpcq: the server does not answer (connection refused)")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=40)
    assert process.returncode == 130, err
    assert "the server does not answer (connection refused)" not in err
    assert re.search(r"hpcq: could not cancel: .*; the jobs may go on; end: hpcq cancel --tag run=\S+", err)
    assert report(cli.folder)["counts"] == {"running": 2}
    assert [job["name"] for job in report(cli.folder)["jobs"]] == ["a", "b"]
    assert errors_in(cli.folder) == "2"


async def test_a_server_that_stays_away_is_given_up_with_the_way_to_go_on(
    server: ServerProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "long.json").write_text(LONG)
    words = ["-f", "long.json", *KEPT]
    options = dict(run.make_context("run", words).params)
    async with Client(server.url, patience_s=0.3) as client:
        specs = await prepared(client, options)
        running = asyncio.create_task(Run(client, specs, options).go())
        await asyncio.to_thread(until_running, server, 2)
        server.kill()
        assert await asyncio.wait_for(running, 30) == 3
    err = capsys.readouterr().err
    assert re.search(r"the jobs may go on; once it answers: hpcq wait --tag run=\S+; see: hpcq list --tag run=", err)
    assert report(tmp_path)["exit_code"] == 3


async def test_the_time_limit_holds_while_the_server_is_away(
    server: ServerProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "long.json").write_text(LONG)
    options = dict(run.make_context("run", ["-f", "long.json", "--timeout", "0.5", *KEPT]).params)
    async with Client(server.url) as client:
        await client.health()
        specs = await prepared(client, options)
        server.kill()
        assert await asyncio.wait_for(Run(client, specs, options).go(), 30) == 124
    assert "hpcq: gave up watching after 0.5 s" in capsys.readouterr().err
    assert report(tmp_path)["exit_code"] == 124


@pytest.mark.parametrize(("fail", "code"), [(False, 4), (True, 1)])
async def test_jobs_without_our_tag_are_read_by_their_ids_and_one_that_is_gone_is_no_success(
    server: ServerProcess, capsys: pytest.CaptureFixture[str], fail: bool, code: int
) -> None:
    jobs = [{"queue": "noop", "params": {"fail": lame}} for lame in (False, fail)]
    specs: list[dict[str, Any]] = [*jobs, {"queue": "noop"}]
    options = dict(run.make_context("run", ["-f", "jobs.json"]).params)
    gone = "01900000-0000-7000-8000-000000000007"
    async with Client(server.url) as client:
        ours = Run(client, specs, options)  # marks them
        one, two = await client.submit_many([specs[0], {**specs[1], "tags": {}}])
        await client.wait([one, two], 30)
        ours._sent.ids = [one, two, gone]
        found = await ours._sent.last(hurry=False)
        assert [job["id"] for job in found] == [one, two, gone]
        assert [job["state"] for job in found] == ["succeeded", "failed" if fail else "succeeded", "sent"]
        assert ours._verdict(found) == code
    assert "the server has 1 job no more: reported is what was last known" in capsys.readouterr().err


def test_what_is_left_is_counted_without_what_has_ended(cli: Cli, server: ServerProcess) -> None:
    jobs = [{"queue": "noop", "params": {"duration_s": seconds}} for seconds in (0, 60)]
    (cli.folder / "jobs.json").write_text(json.dumps(jobs))
    with cli.start("run", "-f", "jobs.json") as process:
        assert process.stdout is not None
        wait_until_blocking(lambda: "SUCCESS" in str(process.stdout and process.stdout.readline()), 20.0, "an end")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert "1 of the 2 jobs goes on without us" in err


def test_a_single_job_s_queue_that_runs_nothing_is_named_at_once(cli: Cli) -> None:
    cli("queues", "pause", "noop")
    with cli.start("run", "--queue", "noop") as process:
        assert process.stderr is not None
        until_line(process.stderr, "hpcq: queue noop: paused")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
