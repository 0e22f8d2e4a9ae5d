"""What a command job may ask for, and how a bad wish is named."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from hpcq_runners.shell import ShellRunner

PARAMS: TypeAdapter[Any] = TypeAdapter(ShellRunner.params)


def places(params: Any) -> dict[tuple[int | str, ...], str]:
    """Where it is wrong, and what is wrong there."""
    with pytest.raises(ValidationError) as caught:
        PARAMS.validate_python(params)
    return {problem["loc"][1:]: problem["msg"] for problem in caught.value.errors()}  # behind the form that it is


@pytest.mark.parametrize("command", ["make -j2 test", ["make", "-j2", "test"], ["echo", ""], ["x"] * 10_000])
def test_a_command_is_a_line_or_a_list(command: Any) -> None:
    assert PARAMS.validate_python({"command": command}).command == command


@pytest.mark.parametrize(
    ("command", "place"),
    [
        ([], ("command",)),
        ("", ("command",)),
        (" \n", ("command",)),
        (["", "a"], ("command",)),
        ({"a": 1}, ("command",)),
        (7, ("command",)),
        (None, ("command",)),
        (["a", 1], ("command", 1)),
        (["a", "b", None], ("command", 2)),
        (["a", "b\0"], ("command", 1)),
        ("a\0", ("command",)),
        ("a" * 200_000, ("command",)),
        (["a", "ä" * 100_000], ("command", 1)),
        (["x"] * 10_001, ("command",)),
    ],
)
def test_a_bad_command_is_named_by_its_place_in_the_body(command: Any, place: tuple[int | str, ...]) -> None:
    assert set(places({"command": command})) == {place}


def test_every_bad_field_is_named() -> None:
    bad = {"command": [1, "ok", 2], "cwd": "relative", "env": {"A": 1, "1B": "x"}, "artifacts": ["ok", "../x"], "x": 1}
    assert set(places(bad)) == {
        ("command", 0),
        ("command", 2),
        ("cwd",),
        ("env", "A"),
        ("env", "1B", "[key]"),
        ("artifacts", 1),
        ("x",),
    }


def test_a_command_is_needed() -> None:
    assert set(places({})) == {("command",)}


@pytest.mark.parametrize("glob", ["", "/etc/*", "../*", "a/../../b", "a/..", ".", "x\0"])
def test_an_artifact_pattern_cannot_lead_out(glob: str) -> None:
    assert set(places({"command": "x", "artifacts": [glob]})) == {("artifacts", 0)}


@pytest.mark.parametrize("glob", ["*", "**/*.png", "out/report.xml", "a..b", "./x"])
def test_a_relative_artifact_pattern_is_taken(glob: str) -> None:
    assert PARAMS.validate_python({"command": "x", "artifacts": [glob]}).artifacts == [glob]


@pytest.mark.parametrize("name", ["", "A=B", "1A", "A-B", "Ä", "A B", "A\0"])
def test_a_name_that_no_shell_could_use_is_refused(name: str) -> None:
    assert set(places({"command": "x", "env": {name: "v"}})) == {("env", name, "[key]")}


def test_a_value_with_a_nul_byte_is_refused() -> None:
    assert "NUL" in places({"command": "x", "env": {"A": "\0"}})[("env", "A")]


def test_the_schema_shows_both_forms_of_a_command() -> None:
    form = PARAMS.json_schema()["$defs"]["CommandParams"]["properties"]["command"]
    assert {branch["type"] for branch in form["anyOf"]} == {"array", "string"}
