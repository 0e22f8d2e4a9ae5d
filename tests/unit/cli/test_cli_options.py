"""Durations, times and pairs as people write them."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import click
import pytest

from hpcq.cli.options import DURATION, PAIR, WHEN
from hpcq.cli.tests import _known


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("1.5", 1.5), ("90s", 90), ("5m", 300), ("1h30m", 5400), ("2D", 172800), ("0", 0)]
)
def test_a_duration_is_seconds(text: str, seconds: float) -> None:
    assert DURATION.convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "soon", "5 m", "-3", "1h30", "5w", "1e3"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="duration"):
        DURATION.convert(text, None, None)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(WHEN.convert(text, None, None))


def test_a_time_with_an_offset_is_kept() -> None:
    assert WHEN.convert("2026-12-01T08:00:00+02:00", None, None) == "2026-12-01T06:00:00Z"


def test_a_time_without_an_offset_is_local() -> None:
    assert moment("2026-12-01 08:00") == datetime(2026, 12, 1, 8).astimezone()


def test_a_time_of_day_is_the_next_one() -> None:
    left = moment("23:59") - datetime.now(UTC)
    assert timedelta(0) < left <= timedelta(days=1, hours=1)


def test_plus_counts_from_now() -> None:
    assert abs(moment("+10m") - datetime.now(UTC) - timedelta(minutes=10)) < timedelta(seconds=30)


@pytest.mark.parametrize("text", ["", "tomorrow", "25:00", "+x", "2026-13-01"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        WHEN.convert(text, None, None)


def test_a_pair_ends_at_the_first_equals_sign() -> None:
    assert PAIR.convert("a=b=c", None, None) == ("a", "b=c")


# In a process of its own: pytest-asyncio's loop does not outlive an asyncio.run beside it.
INVOKE = """
import json, sys
from click.testing import CliRunner
from hpcq.cli.main import program
for words in json.loads(sys.argv[1]):
    done = CliRunner().invoke(program, words, env={"HPCQ_URL": "http://127.0.0.1:9"})
    print(json.dumps([done.exit_code, done.stdout, done.stderr]))
"""


def invoked(*lines: list[str]) -> list[tuple[int, str, str]]:
    """Exit code, stdout and stderr of each command line, where no server is."""
    done = subprocess.run([sys.executable, "-c", INVOKE, json.dumps(lines)], capture_output=True, text=True, check=True)
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def test_a_wrong_command_line_is_exit_code_2_without_a_server() -> None:
    lines = [
        ["cancel"],
        ["cancel", "7", "--tag", "a=1"],
        ["retry"],
        ["wait"],
        ["wait", "7", "--tag", "a=1"],
        ["artifacts"],
        ["edit", "7"],
        ["logs"],
        ["submit"],
        ["queues", "scale", "local", "many"],
        ["lst"],
        ["list", "--state", "lost"],
        ["list", "--url", "foo:bar"],
    ]
    assert [code for code, _, _ in invoked(*lines)] == [2] * len(lines)


def test_no_server_is_one_line_on_stderr_and_exit_code_3() -> None:
    lines = [
        ["list"],
        ["queues"],
        ["queues", "--json"],
        ["schedules"],
        ["show", "7"],
        ["submit", "--", "true"],
        ["run", "--", "true"],
        ["wait", "7"],
        ["doctor"],
        ["stats"],
        ["explain"],
    ]
    for words, (code, out, err) in zip(lines, invoked(*lines), strict=True):
        assert (code, out, err.count("\n")) == (3, "", 1), (words, out, err)
        assert "http://127.0.0.1:9 (connection refused)" in err
        assert "hpcq serve" in err


@pytest.mark.parametrize(
    ("file", "known"), [("./tests", "tests"), ("tests/", "tests"), ("a/../tests/b.js", "tests/b.js"), (".", None)]
)
def test_a_folder_of_tests_may_be_written_as_a_shell_completes_it(file: str, known: str | None) -> None:
    assert _known(file) == known
