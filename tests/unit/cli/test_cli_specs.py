"""Command lines become JobSpecs."""

import json
from pathlib import Path
from typing import Any

import click
import pytest

from hpcq.cli.specs import build, job_options

HERE = "http://127.0.0.1:8000"
ELSEWHERE = "https://queue.example:8000"


def specs(*words: str, url: str = HERE) -> list[dict[str, Any]]:
    """What `hpcq submit` with these words would send."""
    found: dict[str, Any] = {}

    @click.command()
    @job_options("--timeout")
    def command(**options: Any) -> None:
        found.update(options)

    command.main(list(words), standalone_mode=False)
    return build(found, url)


def spec(*words: str, url: str = HERE) -> dict[str, Any]:
    (only,) = specs(*words, url=url)
    return only


def refusal(*words: str) -> str:
    with pytest.raises(click.UsageError) as caught:
        specs(*words)
    return caught.value.format_message()


def test_words_after_two_dashes_are_an_argument_list() -> None:
    assert spec("--", "make", "test", "-j4")["params"]["command"] == ["make", "test", "-j4"]


def test_a_single_plain_word_is_an_argument_list() -> None:
    assert spec("--", "true")["params"]["command"] == ["true"]


@pytest.mark.parametrize("line", ["echo a | wc", "a && b", "make test", "echo $HOME", "ls >out"])
def test_a_single_word_that_is_a_line_goes_to_the_shell(line: str) -> None:
    assert spec("--", line)["params"]["command"] == line


def test_the_queue_is_local_unless_named() -> None:
    assert spec("--", "true")["queue"] == "local"
    assert spec("--queue", "noop")["queue"] == "noop"


def test_a_command_runs_here_when_the_server_is_on_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert spec("--", "make")["params"]["cwd"] == str(tmp_path)
    assert spec("--cwd", "sub", "--", "make")["params"]["cwd"] == str(tmp_path / "sub")


def test_an_empty_cwd_asks_for_a_private_folder() -> None:
    assert "cwd" not in spec("--cwd", "", "--", "make")["params"]


def test_a_server_elsewhere_is_not_told_our_folder() -> None:
    assert "cwd" not in spec("--", "make", url=ELSEWHERE)["params"]
    assert spec("--cwd", "/srv/x", "--", "make", url=ELSEWHERE)["params"]["cwd"] == "/srv/x"


def test_params_alone_carry_no_cwd() -> None:
    assert spec("--queue", "compute", "--params", '{"operation": "det"}')["params"] == {"operation": "det"}


def test_params_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text('{"size": 3}')
    assert spec("--queue", "compute", "--params", f"@{tmp_path / 'p.json'}")["params"] == {"size": 3}


@pytest.mark.parametrize("text", ['{"a": NaN}', "{", "[1]", '{"a": Infinity}'])
def test_params_that_are_no_json_object_are_refused(text: str) -> None:
    assert "--params" in refusal("--queue", "compute", "--params", text)


def test_all_that_can_be_said_of_a_job_arrives() -> None:
    found = spec(
        *("--name", "n", "--priority", "high", "--tag", "a=1", "--tag", "b=2=3", "--timeout", "5m", "--retries", "2"),
        *("--resource", "cpus=2", "--require", "os=14", "--delay", "90", "--batch-key", "k", "--org-id", "o"),
        *("--depends-on", "7", "--depends-on", "8:any", "--env", "X=1", "--artifact", "*.png", "--", "true"),
    )
    params = found.pop("params")
    assert found == {
        "queue": "local",
        "name": "n",
        "priority": "high",
        "tags": {"a": "1", "b": "2=3"},
        "timeout_s": 300.0,
        "retries": {"max": 2},
        "resources": {"cpus": 2.0},
        "requires": {"os": "14"},
        "delay_s": 90.0,
        "batch_key": "k",
        "org_id": "o",
        "depends_on": [{"job": "7", "on": "success"}, {"job": "8", "on": "any"}],
    }
    assert params["env"] == {"X": "1"}
    assert params["artifacts"] == ["*.png"]


def test_nothing_that_was_not_said_is_sent() -> None:
    assert set(spec("--", "true")) == {"queue", "params"}


def test_an_env_without_a_value_is_copied_from_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLOUR", "red")
    monkeypatch.delenv("SHAPE", raising=False)
    assert spec("--env", "COLOUR", "--", "true")["params"]["env"] == {"COLOUR": "red"}
    assert "SHAPE" in refusal("--env", "SHAPE", "--", "true")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ((), "nothing to submit"),
        (("--priority", "urgent", "--", "true"), "urgent"),
        (("--resource", "cpus=two", "--", "true"), "cpus=two"),
        (("--depends-on", "7:maybe", "--", "true"), "7:maybe"),
        (("--tag", "novalue", "--", "true"), "novalue"),
        (("-f", "jobs.toml", "--", "true"), "-f"),
        (("--timeout", "soon", "--", "true"), "soon"),
    ],
)
def test_a_wrong_word_is_refused_by_name(words: tuple[str, ...], named: str) -> None:
    assert named in refusal(*words)


def test_a_file_s_jobs_take_what_the_command_line_says_and_keep_their_tags(tmp_path: Path) -> None:
    file = tmp_path / "jobs.json"
    file.write_text(json.dumps([{"queue": "noop", "params": {}, "priority": 1, "tags": {"a": "1"}}]))
    assert specs("-f", str(file), "--priority", "5", "--tag", "b=2") == [
        {"queue": "noop", "params": {}, "priority": 5, "tags": {"a": "1", "b": "2"}}
    ]


def test_a_file_s_jobs_are_sent_as_they_stand(tmp_path: Path) -> None:
    jobs = [{"queue": "noop", "params": {"message": "{a}"}}, {"queue": "noop", "params": {}, "name": "x"}]
    file = tmp_path / "jobs.json"
    file.write_text(json.dumps(jobs))
    assert specs("-f", str(file)) == jobs
