"""`--test`: which words become which jobs, and which are refused before anything is sent."""

from pathlib import Path
from typing import Any

import click
import pytest

from hpcq.cli.projectfiles import MADE_ANEW, left_out
from hpcq.cli.testjobs import paths_of, project_of, refuse_alone, specs_of
from hpcq.client.uploads import LEFT_OUT, pack

ELSEWHERE = "http://queue.example:8000"
HERE = "http://127.0.0.1:8000"


OPTIONS = dict.fromkeys((
    "file", "each", "stdin", "params", "cwd", "project_dir", "project", "grep", "app", "app_version_id", "org_id",
    "idempotency_key", "artifacts_dir", "report_dir", "out", "junit", "include_ignored",
))  # fmt: skip


def options(*tests: str, **given: Any) -> dict[str, Any]:
    return {**OPTIONS, "tests": tests, "command": (), "env": (), "artifacts": (), **given}


def specs(*tests: str, url: str = HERE, build: dict[str, Any] | None = None, **given: Any) -> list[dict[str, Any]]:
    said = options(*tests, **given)
    project = project_of(said, url)
    return specs_of(said, url, project, paths_of(said, project), build or {})


def params(*tests: str, **given: Any) -> list[dict[str, Any]]:
    return [spec["params"] for spec in specs(*tests, **given)]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "shop"
    (folder / "tests" / "inner").mkdir(parents=True)
    (folder / "playwright.config.js").touch()
    for name in ("tests/a.spec.js", "tests/inner/b.spec.js", "app.apk"):
        (folder / name).touch()
    (tmp_path / "other.spec.js").touch()
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.mark.parametrize("word", ["tests/a.spec.js", "shop/tests/a.spec.js", "./tests/../tests/a.spec.js"])
def test_a_path_may_be_written_from_the_project_or_from_here(shop: Path, word: str) -> None:
    (job,) = params(word, cwd="shop")
    assert job == {"test_path": "tests/a.spec.js", "cwd": str(shop)}


def test_a_folder_is_left_to_the_server_to_split(shop: Path) -> None:
    jobs = params("tests", "tests/a.spec.js", cwd="shop")
    assert [(job["test_path"], job.get("split")) for job in jobs] == [("tests", "file"), ("tests/a.spec.js", None)]
    jobs = params("tests", "tests/a.spec.ts", url=ELSEWHERE)
    assert [(job["test_path"], job.get("split"), job.get("cwd")) for job in jobs] == [
        ("tests", "file", None),
        ("tests/a.spec.ts", None, None),
    ]


def test_what_a_shell_makes_of_a_pattern_are_tests_too(shop: Path) -> None:
    jobs = params("tests/a.spec.js", cwd="shop", command=("tests/inner/b.spec.js",))
    assert [job["test_path"] for job in jobs] == ["tests/a.spec.js", "tests/inner/b.spec.js"]


def test_the_folder_we_stand_in_is_the_project_if_it_is_one(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "cwd" not in params("tests/onboarding.spec.js")[0], "the queue's own project"
    monkeypatch.chdir(shop)
    assert params("tests")[0]["cwd"] == str(shop)
    assert "cwd" not in params("tests", cwd="")[0]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (options("tests/zzz.spec.js", cwd="shop"), "no such file or folder in"),
        (options("other.spec.js", cwd="shop"), "not inside the project's folder"),
        (options("", cwd="shop"), "name a spec file, or a folder"),
        (options("tests", cwd="shop", include_ignored=True), "--include-ignored goes with --project-dir"),
        (options("tests", cwd="shop", file="jobs.toml"), "-f goes with commands"),
        (options("tests", cwd="shop", artifacts=("*.log",)), "--artifact goes with commands"),
        (options("tests", cwd="shop", project_dir=Path("shop")), "not both"),
    ],
)
def test_what_cannot_be_meant_is_refused(shop: Path, given: dict[str, Any], says: str) -> None:
    with pytest.raises(click.UsageError, match=says):
        paths_of(given, project_of(given, HERE))


@pytest.mark.parametrize(
    "given", [{"grep": "x"}, {"project_dir": Path()}, {"include_ignored": True}, {"file": "f", "app": "a.apk"}]
)
def test_options_that_say_nothing_without_tests_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(click.UsageError):
        refuse_alone(given)


def test_what_was_uploaded_is_named_beside_what_else_was_said(shop: Path) -> None:
    given = {"project": "android", "grep": "login", "params": '{"args": ["--retries=1"]}', "env": ("A=b",)}
    build = {"app": {"blob": "b" * 64}, "app_version_id": "1.2.3"}
    (job,) = params("tests/a.spec.js", project_dir=Path("shop"), build=build, **given)
    assert job == {
        "test_path": "tests/a.spec.js", **build, "args": ["--retries=1"], "env": {"A": "b"}, "project": "android",
        "grep": "login",
    }  # fmt: skip


def test_what_a_run_writes_and_the_build_do_not_change_the_project_s_sum(shop: Path, tmp_path: Path) -> None:
    given: dict[str, Any] = {
        "app": "shop/app.apk",
        "artifacts_dir": Path("shop/out/a"),
        "report_dir": Path("elsewhere"),
    }
    names = left_out(options("tests", project_dir=Path("shop"), **given, junit=Path("shop/r.xml")))
    assert set(names) - {*LEFT_OUT, *MADE_ANEW} == {"/app.apk", "/out/a", "/r.xml"}

    pack(shop, tmp_path / "before.tar", names)
    for name in ("out/a/log.txt", "r.xml", "node_modules/x/index.js", "tests/node_modules/y.js", "test-results/t.png"):
        (shop / name).parent.mkdir(parents=True, exist_ok=True)
        (shop / name).write_text("new")
    (shop / "out").touch()
    pack(shop, tmp_path / "after.tar", {*names, "/out"})
    assert (tmp_path / "before.tar").read_bytes() == (tmp_path / "after.tar").read_bytes()


def test_an_equal_name_elsewhere_in_the_project_is_kept(shop: Path, tmp_path: Path) -> None:
    before, after = tmp_path / "before.tar", tmp_path / "after.tar"
    pack(shop, before, {"/a.spec.js"})
    pack(shop, after, {"/tests/a.spec.js"})
    assert b"tests/a.spec.js" in before.read_bytes()
    assert b"tests/a.spec.js" not in after.read_bytes()


def test_several_paths_without_a_build_share_one_batch_key(shop: Path) -> None:
    def keys(**given: Any) -> list[str | None]:
        return [spec.get("batch_key") for spec in specs("tests", "tests/a.spec.js", cwd="shop", **given)]

    first, second = keys()
    assert first
    assert first == second
    assert first != keys()[0]
    assert keys(build={"app_version_id": "1"}) == [None, None], "the runner's own key is by the build"
    assert keys(batch_key="mine") == ["mine", "mine"]
    assert keys(idempotency_key="k") == keys(idempotency_key="k")


@pytest.mark.parametrize(("status", "commit"), [("", "a" * 40), (" M tests/a.spec.js", None)])
def test_an_upload_has_a_commit_only_if_it_is_what_was_committed(
    shop: Path, monkeypatch: pytest.MonkeyPatch, status: str, commit: str | None
) -> None:
    git = shop.parent / "bin" / "git"
    git.parent.mkdir()
    says = f"{git.parent}/args"
    git.write_text(f'#!/bin/sh\n[ "$3" = status ] && {{ echo "$@" >{says}; echo "{status}"; }} || echo {"a" * 40}\n')
    git.chmod(0o755)
    monkeypatch.setenv("PATH", f"{git.parent}:/usr/bin:/bin")
    assert project_of(options("tests", project_dir=shop, app="shop/app.apk"), HERE).commit == commit
    asked = Path(says).read_text().split()
    assert {":(exclude,literal)app.apk", ":(exclude,glob)**/node_modules/**"} <= set(asked), (
        "what is not uploaded is no change"
    )


def test_what_continuous_integration_says_of_itself_the_tests_are_told(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    assert "env" not in params("tests", cwd="shop")[0]
    monkeypatch.setenv("CI", "true")
    assert params("tests", cwd="shop")[0]["env"] == {"CI": "true"}
    assert params("tests", cwd="shop", env=("CI=", "A=b"))[0]["env"] == {"CI": "", "A": "b"}
    assert params("tests", cwd="shop", params='{"env": {"CI": "0"}}')[0]["env"] == {"CI": "0"}
