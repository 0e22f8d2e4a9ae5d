"""What is installed: our packages, what Node is given, the migrations and the marker of types, and nothing else."""

import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from tests.support.sources import ROOT, sources

SOURCES = ("hpcq", "runners", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from a copy, so that what an earlier build has left is not in it."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    build = "from setuptools import build_meta; print(build_meta.build_wheel('.'))"
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:setuptools", "-c", build],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Deprecat" not in done.stderr, done.stderr
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_the_wheel_holds_exactly_our_packages(wheel: zipfile.ZipFile) -> None:
    python = {_installed(source.path) for source in sources("hpcq", "runners")}
    data = {"hpcq/py.typed"} | {_installed(path) for path in (ROOT / "hpcq/store/migrations").glob("*.sql")}
    data |= {
        _installed(path)
        for path in (ROOT / "runners").rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    found = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert found == python | data


def _installed(path: Path) -> str:
    name = path.relative_to(ROOT).as_posix()
    return name.replace("runners/", "hpcq_runners/", 1) if name.startswith("runners/") else name


def test_the_wheel_offers_the_command_and_the_runners(wheel: zipfile.ZipFile) -> None:
    name = next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    text = wheel.read(name).decode()
    assert "hpcq = hpcq.cli.main:main" in text
    for runner in ("shell", "matrix", "noop", "adb", "device_farm"):
        assert f"{runner} = hpcq_runners" in text


def test_the_wheel_says_what_it_is(wheel: zipfile.ZipFile) -> None:
    name = next(name for name in wheel.namelist() if name.endswith("METADATA"))
    about = Parser().parsestr(wheel.read(name).decode())
    assert about["License-Expression"] == "MIT"
    assert about["Requires-Python"] == ">=3.11"
    assert any(name.endswith("LICENSE") for name in wheel.namelist())
