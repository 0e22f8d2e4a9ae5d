"""The files that a command's patterns name are kept, and no others."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from hpcq.engine.launcher import Launcher
from hpcq.plugin import Outcome
from hpcq_runners import artifacts
from hpcq_runners.shell import ShellRunner
from tests.support.requests import PlainRequest

PARAMS: TypeAdapter[Any] = TypeAdapter(ShellRunner.params)


@pytest.fixture
async def launcher() -> AsyncIterator[Launcher]:
    launcher = await Launcher.open()
    yield launcher
    await launcher.close()


async def run(launcher: Launcher, root: Path, script: str, **more: Any) -> tuple[PlainRequest, Outcome]:
    request = PlainRequest(launcher, root, PARAMS.validate_python({"command": script, **more}))
    runner = ShellRunner()
    return request, await runner.wait(request, await runner.start(request))


def tree(root: Path, names: list[str]) -> Path:
    """A folder with files that hold their own names."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


async def test_matches_are_moved_out_of_the_private_folder(launcher: Launcher, tmp_path: Path) -> None:
    script = (
        "mkdir -p out/deep; echo a > out/a.txt; echo b > out/deep/b.txt; echo c > c.log; echo own > $HPCQ_ARTIFACTS/o"
    )
    request, outcome = await run(launcher, tmp_path, script, artifacts=["out/*.txt", "**/b.*", "no-match-*"])
    assert outcome.error is None
    assert request.kept() == {"out/a.txt": "a\n", "out/deep/b.txt": "b\n", "o": "own\n"}
    assert not (request.work_dir / "out" / "a.txt").exists()


async def test_matches_are_copied_from_a_folder_of_the_users(launcher: Launcher, tmp_path: Path) -> None:
    project = tree(tmp_path / "project", ["report.xml"])
    request, _ = await run(launcher, tmp_path, "true", cwd=str(project), artifacts=["*.xml"])
    assert request.kept() == {"report.xml": "report.xml"}
    assert (project / "report.xml").exists()


async def test_the_artifacts_of_a_failed_command_are_kept(launcher: Launcher, tmp_path: Path) -> None:
    request, outcome = await run(launcher, tmp_path, "echo why > screen; exit 1", artifacts=["screen"])
    assert request.kept() == {"screen": "why\n"}
    assert outcome.error is not None
    assert outcome.error.exit_code == 1


async def test_an_obstacle_fails_the_job_with_the_name(launcher: Launcher, tmp_path: Path) -> None:
    script = "mkdir $HPCQ_ARTIFACTS/a; touch $HPCQ_ARTIFACTS/a/x; echo new > a"
    _, outcome = await run(launcher, tmp_path, script, artifacts=["a"])
    assert outcome.error is not None
    assert outcome.error.type == "exception"
    assert outcome.error.message.startswith("artifact a cannot be kept: Is a directory")


def kept(target: Path) -> list[str]:
    return sorted(str(path.relative_to(target)) for path in target.rglob("*") if not path.is_dir())


@pytest.mark.parametrize("move", [True, False])
def test_a_folder_that_matches_is_kept_whole(tmp_path: Path, move: bool) -> None:
    source = tree(tmp_path / "s", ["out/a", "out/deep/.b", "other"])
    artifacts.keep(source, ["out", "out/**"], tmp_path / "t", move=move)
    assert kept(tmp_path / "t") == ["out/a", "out/deep/.b"]


@pytest.mark.parametrize("move", [True, False])
def test_a_link_is_kept_as_what_it_leads_to_if_that_is_inside(tmp_path: Path, move: bool) -> None:
    source = tree(tmp_path / "s", ["data-1"])
    (source / "latest").symlink_to("data-1")
    artifacts.keep(source, ["latest"], tmp_path / "t", move=move)
    assert not (tmp_path / "t" / "latest").is_symlink()
    assert (tmp_path / "t" / "latest").read_text() == "data-1"


@pytest.mark.parametrize("move", [True, False])
def test_what_a_link_leads_to_outside_is_passed_over(tmp_path: Path, move: bool) -> None:
    source = tree(tmp_path / "s", ["a"])
    tree(tmp_path / "private", ["secret"])
    (source / "file").symlink_to(tmp_path / "private" / "secret")
    (source / "folder").symlink_to(tmp_path / "private")
    (source / "broken").symlink_to("nowhere")
    artifacts.keep(source, ["*", "folder/*", "**/*"], tmp_path / "t", move=move)
    assert kept(tmp_path / "t") == ["a"]
    assert (tmp_path / "private" / "secret").exists()


def test_pipes_and_sockets_are_passed_over(tmp_path: Path) -> None:
    source = tree(tmp_path / "s", ["a"])
    os.mkfifo(source / "pipe")
    artifacts.keep(source, ["*"], tmp_path / "t", move=False)
    assert kept(tmp_path / "t") == ["a"]


def test_nothing_is_written_through_a_link_among_the_artifacts(tmp_path: Path) -> None:
    source = tree(tmp_path / "s", ["logs/a", "b"])
    target = tree(tmp_path / "t", ["x"])
    elsewhere = tree(tmp_path / "elsewhere", ["b"])
    (target / "logs").symlink_to(elsewhere)
    (target / "b").symlink_to(elsewhere / "b")
    with pytest.raises(artifacts.NotKept, match="leads out"):
        artifacts.keep(source, ["b", "logs/a"], target, move=False)
    assert kept(elsewhere) == ["b"]
    assert (elsewhere / "b").read_text() == "b"
    assert not (target / "b").is_symlink()


def test_a_folder_that_holds_the_artifacts_is_not_kept_in_itself(tmp_path: Path) -> None:
    source = tree(tmp_path / "s", ["a", "kept/b"])
    artifacts.keep(source, ["**/*"], source / "kept", move=False)
    assert kept(source / "kept") == ["a", "b"]


def test_a_file_of_an_earlier_attempt_is_replaced(tmp_path: Path) -> None:
    source, target = tree(tmp_path / "s", ["a"]), tree(tmp_path / "t", ["a"])
    (source / "a").write_text("new")
    artifacts.keep(source, ["a"], target, move=True)
    assert (target / "a").read_text() == "new"


def test_a_full_disk_is_not_the_jobs_fault(tmp_path: Path) -> None:
    source = tree(tmp_path / "s", ["full"])
    (tmp_path / "t").mkdir()
    with pytest.raises(artifacts.NotKept, match="No space left") as caught:
        artifacts._keep_one(source / "full", Path("/dev/full"), Path("/dev"), move=False)
    assert caught.value.infra


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    source = tree(tmp_path / "s", [f"{number % 100}/{number}" for number in range(artifacts.MAX_FILES + 1)])
    with pytest.raises(artifacts.NotKept, match="more than 10000 files"):
        artifacts.keep(source, ["**/*"], tmp_path / "t", move=True)
