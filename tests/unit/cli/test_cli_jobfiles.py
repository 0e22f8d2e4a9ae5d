"""Files of jobs, and grids whose rows become jobs."""

from pathlib import Path
from typing import Any

import click
import pytest

from hpcq.cli.jobfiles import expand, read_jobs, read_rows


def written(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_bytes(text.encode())
    return str(path)


def test_toml_json_and_ndjson_say_the_same(tmp_path: Path) -> None:
    jobs = [{"queue": "noop", "params": {"message": "a"}}, {"queue": "noop", "params": {}}]
    toml = '[[jobs]]\nqueue = "noop"\nparams = {message = "a"}\n[[jobs]]\nqueue = "noop"\nparams = {}\n'
    lines = '{"queue": "noop", "params": {"message": "a"}}\n\n{"queue": "noop", "params": {}}'
    assert read_jobs(written(tmp_path, "j.toml", toml)) == jobs
    assert read_jobs(written(tmp_path, "j.ndjson", lines)) == jobs
    assert read_jobs(written(tmp_path, "j.json", "[" + lines.replace("\n\n", ",") + "]")) == jobs


def test_one_object_is_one_job(tmp_path: Path) -> None:
    assert read_jobs(written(tmp_path, "j.json", '{"queue": "noop"}')) == [{"queue": "noop"}]


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    assert read_jobs(written(tmp_path, "j.json", "\ufeff[{}]")) == [{}]
    assert read_rows(written(tmp_path, "g.csv", "\ufeffa,b\n1,2\n")) == [{"a": "1", "b": "2"}]


def test_a_line_separator_inside_a_text_ends_no_line(tmp_path: Path) -> None:
    assert read_jobs(written(tmp_path, "j.ndjson", '{"name": "a\u2028b"}\n')) == [{"name": "a\u2028b"}]


def test_a_toml_time_becomes_text_with_an_offset(tmp_path: Path) -> None:
    (job,) = read_jobs(written(tmp_path, "j.toml", "[[jobs]]\nrun_at = 2026-12-01T08:00:00Z\n"))
    assert job["run_at"].startswith("2026-12-01T")
    assert job["run_at"][-6] in "+-"


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("j.toml", "[[jobs", "not TOML"),
        ("j.toml", "job = 1", "[[jobs]]"),
        ("j.toml", "[[jobs]]\n[other]\n", "other"),
        ("j.json", "[{]", "line 1, column 3"),
        ("j.json", "[1]", "job 1"),
        ("j.json", "[]", "no job"),
        ("j.json", '[{"a": NaN}]', "NaN"),
        ("j.json", "[" * 100_000, "recursion"),
        ("j.ndjson", "{}\n{", "line 2"),
        ("j.yaml", "", ".toml"),
    ],
)
def test_a_bad_file_is_refused_with_the_place(tmp_path: Path, name: str, text: str, named: str) -> None:
    with pytest.raises(click.UsageError) as caught:
        read_jobs(written(tmp_path, name, text))
    assert named in str(caught.value)


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(click.UsageError, match="No such file"):
        read_jobs(str(tmp_path / "none.json"))


def test_what_is_no_utf8_is_named_by_its_byte(tmp_path: Path) -> None:
    (tmp_path / "j.json").write_bytes(b'{"a": "\xff"}')
    with pytest.raises(click.UsageError, match="byte 7"):
        read_jobs(str(tmp_path / "j.json"))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a,a\n1,2\n", "each once"),
        ("a,\n1,2\n", "each once"),
        ("a,b\n1\n", "line 2"),
        ("a\n1,2\n", "line 2"),
        ("a,b\n", "no row"),
    ],
)
def test_a_bad_grid_is_refused_with_the_place(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(click.UsageError) as caught:
        read_rows(written(tmp_path, "g.csv", text))
    assert named in str(caught.value)


def grid(folder: Path, text: str, spec: dict[str, Any], name: str = "g.csv") -> list[dict[str, Any]]:
    return expand(spec, read_rows(written(folder, name, text)))


def test_each_row_is_a_job_with_its_values_filled_in(tmp_path: Path) -> None:
    spec = {"queue": "local", "params": {"command": ["sim.py", "--a", "{a}", "x{b}y"], "env": {"A": "{a}"}}}
    first, second = grid(tmp_path, "a,b\n1,p\n2,q\n", spec)
    assert first["params"] == {"command": ["sim.py", "--a", "1", "xpy"], "env": {"A": "1"}}
    assert second["params"]["command"] == ["sim.py", "--a", "2", "xqy"]


def test_a_row_s_values_are_tags_and_the_name(tmp_path: Path) -> None:
    (job,) = grid(tmp_path, "a,b c\n1,p\n", {"params": {}, "tags": {"night": "7"}})
    assert job["tags"] == {"a": "1", "b_c": "p", "row": "1", "night": "7"}
    assert job["name"] == "a=1 b_c=p"


def test_a_given_name_is_filled_in_too(tmp_path: Path) -> None:
    (job,) = grid(tmp_path, "a\n1\n", {"name": "run {a}", "params": {}})
    assert job["name"] == "run 1"


def test_a_parameter_that_is_one_column_keeps_its_kind(tmp_path: Path) -> None:
    spec = {"params": {"size": "{n}", "note": "n={n}", "data": ["{x}", "{s}"], "command": ["{n}"]}}
    (job,) = grid(tmp_path, "n,x,s\n512,1.5,007\n", spec)
    assert job["params"] == {"size": 512, "note": "n=512", "data": [1.5, "007"], "command": ["512"]}


def test_ndjson_rows_keep_their_kinds(tmp_path: Path) -> None:
    spec = {"params": {"data": "{d}", "flag": "{f}", "command": "run {d} {f}"}}
    (job,) = grid(tmp_path, '{"d": [1, 2], "f": true}\n', spec, "g.ndjson")
    assert job["params"] == {"data": [1, 2], "flag": True, "command": "run [1, 2] true"}


def test_an_unknown_column_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(click.UsageError, match="'alpah'; there are alpha"):
        grid(tmp_path, "alpha\n1\n", {"params": {"command": "run {alpah}"}})


def test_the_shell_s_braces_stay(tmp_path: Path) -> None:
    (job,) = grid(tmp_path, "a\n1\n", {"params": {"command": "echo ${HOME} {{a}} {a} { x; }"}})
    assert job["params"]["command"] == "echo ${HOME} {a} 1 { x; }"


def test_filling_in_leaves_the_pattern_alone(tmp_path: Path) -> None:
    spec = {"params": {"command": ["{a}"]}, "tags": {"t": "{a}"}}
    grid(tmp_path, "a\n1\n2\n", spec)
    assert spec == {"params": {"command": ["{a}"]}, "tags": {"t": "{a}"}}
