"""What a launcher cannot start comes back as an error that names the bad part, and harms nothing else."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hpcq.engine.launcher import Launcher
from hpcq.plugin import Infra

PATH = os.environ["PATH"]


@pytest.fixture
async def launcher() -> AsyncIterator[Launcher]:
    launcher = await Launcher.open()
    yield launcher
    await launcher.close()


async def refused(launcher: Launcher, folder: Path, argv: list[str], **other: object) -> BaseException:
    order = {"env": {"PATH": PATH}, "cwd": folder, "output": folder / "output", **other}
    with pytest.raises((OSError, ValueError, Infra)) as caught:
        await launcher.spawn(argv, **order)  # type: ignore[arg-type]
    child = await launcher.spawn(["true"], env={}, cwd="/", output=folder / "ok")
    assert (await child.wait()).code == 0  # it took no harm
    return caught.value


@pytest.mark.parametrize("program", ["no-such-program", "/no/such/program", "./no-such-program"])
async def test_a_missing_program_is_named(launcher: Launcher, tmp_path: Path, program: str) -> None:
    error = await refused(launcher, tmp_path, [program])
    assert isinstance(error, FileNotFoundError)
    assert error.filename == program


@pytest.mark.parametrize("program", ["tool", "./tool"])
async def test_a_program_that_is_not_executable_is_named(launcher: Launcher, tmp_path: Path, program: str) -> None:
    (tmp_path / "tool").write_text("#!/bin/sh\n")
    error = await refused(launcher, tmp_path, [program], env={"PATH": str(tmp_path)})
    assert isinstance(error, PermissionError)
    assert error.filename == program


async def test_a_folder_is_no_program(launcher: Launcher, tmp_path: Path) -> None:
    assert isinstance(await refused(launcher, tmp_path, [str(tmp_path)]), PermissionError)


async def test_a_file_that_is_no_program_is_named(launcher: Launcher, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("just text\n")
    (tmp_path / "text").chmod(0o700)
    error = await refused(launcher, tmp_path, ["./text"])
    assert isinstance(error, OSError)
    assert "Exec format error" in str(error)


@pytest.mark.parametrize("cwd", ["missing", "file"])
async def test_a_bad_folder_is_told_from_a_bad_program(launcher: Launcher, tmp_path: Path, cwd: str) -> None:
    (tmp_path / "file").touch()
    error = await refused(launcher, tmp_path, ["true"], cwd=tmp_path / cwd)
    assert isinstance(error, NotADirectoryError)
    assert error.filename == str(tmp_path / cwd)


async def test_an_output_that_cannot_be_opened_is_not_the_jobs_fault(launcher: Launcher, tmp_path: Path) -> None:
    error = await refused(launcher, tmp_path, ["true"], output=tmp_path / "missing" / "output")
    assert isinstance(error, Infra)
    assert "missing/output: No such file" in str(error)


async def test_an_output_is_never_written_through_a_link(launcher: Launcher, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    assert isinstance(await refused(launcher, tmp_path, ["true"], output=tmp_path / "link"), Infra)
    assert not (tmp_path / "elsewhere").exists()


async def test_too_long_arguments_are_refused(launcher: Launcher, tmp_path: Path) -> None:
    error = await refused(launcher, tmp_path, ["true", "x" * 5_000_000])
    assert isinstance(error, OSError)
    assert "Argument list too long" in str(error)


@pytest.mark.parametrize(
    "other", [{"env": {"A": "\0"}}, {"env": {"A=B": "1"}}, {"env": {"": "1"}}, {"env": {"A": 1}}, {"cwd": "/\0"}]
)
async def test_what_no_process_can_be_given_is_refused(
    launcher: Launcher, tmp_path: Path, other: dict[str, object]
) -> None:
    assert isinstance(await refused(launcher, tmp_path, ["true"], **other), ValueError)


@pytest.mark.parametrize("argv", [[], ["a\0b"], ["true", "\0"], [""], ["true", "\ud800"]])
async def test_arguments_that_no_process_can_be_given_are_refused(
    launcher: Launcher, tmp_path: Path, argv: list[str]
) -> None:
    assert isinstance(await refused(launcher, tmp_path, argv), (ValueError, OSError))
