"""What of a project is uploaded: what git ignores stays here, and what the server would refuse is said before."""

import os
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest

from hpcq.cli.projectfiles import commit_of, kept_back
from hpcq.client.uploads import below


def git(folder: Path, *words: str) -> None:
    env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True, env=env)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a project in it, which we name as `shop`."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "shop"
    for name in ("tests/a.spec.js", "tests/local.spec.js", ".env", "dist/app.apk", "dist/b.js", "dist/kept.js"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / ".gitignore").write_text(".env\ndist/\ntests/local*\n")
    return folder


def sent(*tests: str, folder: str = "shop", include_ignored: bool = False, app: str | None = None) -> set[str]:
    options: dict[str, Any] = dict.fromkeys(("artifacts_dir", "report_dir", "out", "junit"))
    options |= {"project_dir": Path(folder), "include_ignored": include_ignored, "app": app}
    names = kept_back(options, tests)
    return {name for name in below(Path(folder), names) if not Path(folder, name).is_dir()}


def test_what_git_ignores_is_left_out_and_counted(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    git(shop.parent, "init")
    git(shop, "add", "-f", "dist/kept.js", "tests/a.spec.js")
    (shop / "tests" / "new.spec.js").touch()
    assert sent(app="shop/dist/app.apk") == {"dist/kept.js", "tests/a.spec.js", "tests/new.spec.js", ".gitignore"}
    assert capsys.readouterr().err == "left out 3 files that git ignores (--include-ignored sends them)\n"
    assert {".env", "dist/b.js"} <= sent(include_ignored=True)
    assert not capsys.readouterr().err
    (shop / "tests" / "a.spec.js").unlink()
    assert "tests/a.spec.js" not in sent()


def test_a_test_that_git_ignores_is_not_left_out_in_silence(shop: Path) -> None:
    git(shop, "init")
    with pytest.raises(click.UsageError, match="git ignores it"):
        sent("tests/local.spec.js")
    assert "tests/local.spec.js" in sent("tests/local.spec.js", include_ignored=True)


def test_where_git_ignores_the_whole_folder_or_sees_another_repository_all_is_sent(shop: Path) -> None:
    git(shop.parent, "init")
    (shop.parent / ".gitignore").write_text("/shop\n")
    assert "dist/b.js" in sent()
    (shop.parent / ".gitignore").write_text("")
    git(shop / "tests", "init")
    assert {"tests/a.spec.js", "tests/local.spec.js"} <= sent()


def test_in_a_checkout_without_git_nothing_is_sent_and_elsewhere_all(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert ".env" in sent()
    (shop.parent / ".git").mkdir()
    with pytest.raises(click.UsageError, match=r"git cannot be run: No such file .* --include-ignored"):
        sent()
    assert ".env" in sent(include_ignored=True)


def test_where_git_refuses_nothing_is_sent_and_its_own_words_are_said(shop: Path) -> None:
    (shop / ".git").write_text("gitdir: /nowhere/at/all\n")
    with pytest.raises(click.UsageError, match=r"not a git repository: .*/nowhere/at/all.* --include-ignored"):
        sent()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_somebody_else_s_checkout_is_looked_into_and_runs_nothing(shop: Path) -> None:
    git(shop, "init")
    git(shop, "config", "core.fsmonitor", f"touch {shop.parent}/ran; false")
    for path in (shop, *shop.rglob("*")):
        os.chown(path, 12345, 12345)
    assert ".env" not in sent()
    assert not (shop.parent / "ran").exists()


def test_the_repository_that_a_hook_runs_for_is_not_the_project_s(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(shop, "init")
    git(shop.parent, "init", "other")
    monkeypatch.setenv("GIT_DIR", str(shop.parent / "other" / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(shop.parent / "other"))
    assert ".env" not in sent()


def test_of_what_we_write_ourselves_only_that_very_file_is_no_change(shop: Path) -> None:
    (shop / "out1.js").touch()
    git(shop, "init")
    git(shop, "add", ".")
    git(shop, "-c", "user.name=n", "-c", "user.email=e@example.org", "commit", "-m", "m")
    (shop / "out[0-9].js").touch()
    assert commit_of(shop, ("/out[0-9].js",))
    (shop / "out1.js").write_text("changed")
    assert commit_of(shop, ("/out[0-9].js",)) is None


@pytest.mark.parametrize("target", ["/etc/hosts", "../../other.spec.js"])
def test_a_link_out_of_the_project_is_refused_by_the_name_we_know(shop: Path, target: str) -> None:
    (shop / "inside").symlink_to("tests/a.spec.js")
    assert "inside" in sent()
    (shop / "tests" / "data").symlink_to(target)
    with pytest.raises(click.UsageError, match=r"shop/tests/data is a link that leads out of the project"):
        sent()
    (shop / "tests" / "data").unlink()
    (shop / "node_modules").symlink_to("/usr/lib")
    sent()


@pytest.mark.parametrize(("name", "shown"), [(b"a\nb.js", "a\\nb.js"), (b"caf\xe9.js", "caf\\udce9.js")])
def test_a_file_whose_name_cannot_be_sent_is_named(shop: Path, name: bytes, shown: str) -> None:
    Path(os.fsdecode(os.fsencode(shop) + b"/" + name)).touch()
    with pytest.raises(click.UsageError) as caught:
        sent()
    assert f"shop/{shown}: a file's name must be UTF-8" in str(caught.value)
    assert (shop / "tests").is_dir()
