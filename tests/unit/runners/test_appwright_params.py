"""What a test job may ask for, and how a bad wish is named."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from hpcq.engine.intake import field_errors
from hpcq_runners.appwright.params import AppwrightParams
from hpcq_runners.appwright.settings import AppwrightSettings
from hpcq_runners.fields import Blob
from hpcq_runners.shell import ShellRunner

PARAMS: TypeAdapter[Any] = TypeAdapter(ShellRunner.params)
SHA256 = "0123456789abcdef" * 4
SPEC = "tests/onboarding.spec.js"


def places(params: Any, settings: AppwrightSettings | None = None) -> dict[str, str]:
    """Where it is wrong, as pointers into the body, and what is wrong there."""
    with pytest.raises(ValidationError) as caught:
        PARAMS.validate_python(params, context={"settings": settings})
    return {error.pointer: error.detail for error in field_errors(caught.value, params)}


def test_the_smallest_test_job_is_a_path() -> None:
    taken = PARAMS.validate_python({"test_path": SPEC, "app_version_id": "xyz123"})
    assert isinstance(taken, AppwrightParams)
    assert (taken.test_path, taken.app_version_id, taken.split) == (SPEC, "xyz123", None)


@pytest.mark.parametrize(
    "path", ["tests", ".", "a b/ä.spec.ts", "a+b(1).spec.ts", "./tests/x..y.spec.ts", "[id].spec.ts"]
)
def test_a_path_inside_the_project_is_taken(path: str) -> None:
    assert PARAMS.validate_python({"test_path": path}).test_path == path


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("", "blank"),
        ("  ", "blank"),
        ("-x", "never an option"),
        ("--config=/tmp/evil.ts", "never an option"),
        ("../other/a.spec.ts", "inside the project"),
        ("tests/../../a.spec.ts", "inside the project"),
        ("/etc/passwd", "relative to the project"),
        ("tests/*.spec.ts", "no pattern"),
        ("tests/.*", "no pattern"),
        ("a|b", "no pattern"),
        ("tests/{a,b}.spec.ts", "no pattern"),
        ("a\0b", "NUL"),
        (7, "must be text"),
        (["a"], "must be text"),
    ],
)
def test_a_path_that_is_not_one_file_or_folder_inside_is_refused(path: Any, why: str) -> None:
    found = places({"test_path": path})
    assert set(found) == {"/test_path"}
    assert why in found["/test_path"]


def test_every_bad_field_is_named() -> None:
    bad = {
        "test_path": "-x",
        "cwd": {"blob": "x"},
        "app": 7,
        "env": {"A": 1, "1B": "x"},
        "args": ["--reporter=json"],
        "split": "test",
        "project": "",
        "command": "both",
    }
    assert set(places(bad)) == {
        "/test_path", "/cwd/blob", "/app", "/env/A", "/env/1B", "/args", "/split", "/project", "/command",
    }  # fmt: skip


@pytest.mark.parametrize(
    "word", ["--config", "-c", "--reporter=list", "--output", "--ui", "--list", "--last-failed", "-g"]
)
def test_options_that_are_the_runners_own_are_refused(word: str) -> None:
    assert (
        f"{word.partition('=')[0]} (argument 1) cannot be given"
        in places({"test_path": "a", "args": ["-x", word]})["/args"]
    )


@pytest.mark.parametrize(
    "args", [["tests/more.spec.ts"], ["--retries"], ["--retries=1", "more"], ["--no-such"], ["--headed=1"]]
)
def test_what_is_no_option_of_playwright_is_refused(args: list[str]) -> None:
    assert set(places({"test_path": "a", "args": args})) == {"/args"}


def test_options_of_playwright_are_taken() -> None:
    args = [
        "--retries=2",
        "--workers",
        "1",
        "-x",
        "--shard",
        "1/2",
        "-j4",
        "-j50%",
        "--trace=on",
        "--fail-on-flaky-tests",
    ]
    assert PARAMS.validate_python({"test_path": "a", "args": args}).args == args


def test_uploads_are_named_by_their_sum() -> None:
    taken = PARAMS.validate_python({"test_path": "a", "cwd": {"blob": SHA256}, "app": {"blob": SHA256}})
    assert taken.cwd == taken.app == Blob(blob=SHA256)
    assert PARAMS.dump_python(taken, mode="json", exclude_unset=True) == {
        "test_path": "a", "cwd": {"blob": SHA256}, "app": {"blob": SHA256},
    }  # fmt: skip


@pytest.mark.parametrize("folder", [None, Path("/shop")])
def test_a_job_need_not_name_a_project_even_where_the_queue_has_none(folder: Path | None) -> None:
    """Earlier clients know no projects: the runner fails such a job with a sentence, and a rehearsal plays it."""
    usual = AppwrightSettings(project_dir=folder)
    assert PARAMS.validate_python({"test_path": "a"}, context={"settings": usual}).cwd is None


def test_a_project_that_the_config_does_not_name_is_refused() -> None:
    settings = AppwrightSettings(projects={"shop": Path("/shop"), "bank": Path("/bank")})
    assert places({"test_path": "a", "cwd": "mine"}, settings)["/cwd"].endswith("its projects: bank, shop")
    for cwd in ("shop", "/anywhere"):
        assert PARAMS.validate_python({"test_path": "a", "cwd": cwd}, context={"settings": settings}).cwd == cwd


def test_what_names_no_tests_is_a_command() -> None:
    assert set(places({"app_version_id": "1"})) == {"/command", "/app_version_id"}


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"project_dir": "relative"}, "absolute path"),
        ({"projects": {"a": "relative"}}, "absolute path"),
        ({"default_project": "a"}, "is not one of projects"),
        ({"projects": {"a": "/a"}, "default_project": "a", "project_dir": "/b"}, "not both"),
    ],
)
def test_settings_that_name_no_folder_are_refused(settings: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        AppwrightSettings(**settings)


def test_the_usual_project_is_the_folder_or_the_one_that_is_named() -> None:
    assert AppwrightSettings(project_dir=Path("/b")).usual_folder() == Path("/b")
    named = AppwrightSettings(projects={"a": Path("/a")}, default_project="a")
    assert (named.usual_folder(), named.shared_modules) == (Path("/a"), Path("/a/node_modules"))


def test_the_schema_shows_both_forms_of_a_job() -> None:
    forms = PARAMS.json_schema()["oneOf"]
    assert [form["$ref"].rpartition("/")[2] for form in forms] == ["CommandParams", "AppwrightParams"]
