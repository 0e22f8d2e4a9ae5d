"""`hpcq schedules`, against a real server."""

from pathlib import Path

import pytest

from tests.support.cli import Cli
from tests.support.server import ServerProcess


@pytest.fixture
def cli(server: ServerProcess, tmp_path: Path) -> Cli:
    return Cli(server.url, tmp_path)


def test_a_schedule_is_added_changed_run_and_removed_by_its_name(cli: Cli, server: ServerProcess) -> None:
    words = ["--cron", "0 2 * * *", "--timezone", "Europe/Berlin", "--tag", "a=1", "--json"]
    added = cli("schedules", "add", "nightly", *words, "--", "echo", "hi").json
    assert (added["cron"], added["timezone"], added["paused"]) == ("0 2 * * *", "Europe/Berlin", False)
    assert "nightly" in cli("schedules").out
    assert cli("schedules", "edit", "nightly", "--cron", "@daily", "--json").json["cron"] == "@daily"
    assert cli("schedules", "pause", "nightly", "--json").json["paused"] is True
    assert cli("schedules", "resume", "nightly", "--json").json["paused"] is False
    job_id = cli("schedules", "run", "nightly").out.strip()
    assert server.job(job_id, 20)["state"] == "succeeded"
    assert server.job(job_id)["tags"]["a"] == "1"
    assert job_id in cli("schedules", "show", "nightly").out
    assert cli("schedules", "remove", added["id"][:20]).code == 0
    assert cli("schedules", "--json").json == []


def test_a_schedule_that_is_not_there_is_refused_with_those_that_are(cli: Cli) -> None:
    cli("schedules", "add", "nightly", "--cron", "@daily", "--queue", "noop")
    done = cli("schedules", "pause", "nihgtly")
    assert done.code == 2
    assert "nightly" in done.err


def test_a_wrong_cron_line_is_refused_by_name(cli: Cli) -> None:
    done = cli("schedules", "add", "x", "--cron", "61 * * * *", "--queue", "noop")
    assert done.code == 2
    assert "/cron" in done.err
