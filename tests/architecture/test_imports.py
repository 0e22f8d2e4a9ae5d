"""Who may import what. The contracts in setup.cfg say it for our own parts; here is what they cannot say."""

import configparser
import subprocess
import sys

import pytest

from tests.support.sources import ROOT, Source, sources

CORE = sources("hpcq/core")
LAUNCHER = [Source(ROOT / "hpcq" / "engine" / f"{name}.py") for name in ("launcher_main", "launcher_protocol")]
OUTSIDE_WORLD = {"asyncio", "datetime", "io", "logging", "os", "pathlib", "random", "socket", "subprocess", "time"}


def strangers(source: Source) -> list[str]:
    """Imports of what is neither ours nor in the standard library."""
    return [
        f"{source.at(line)} imports {module}"
        for module, line in source.imports()
        if module.split(".")[0] not in {*sys.stdlib_module_names, "hpcq"}
    ]


def test_imports_run_one_way() -> None:
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_part_of_the_house_is_under_a_contract() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    contracts = [config[section] for section in config.sections() if section.startswith("importlinter:")]
    named = "\n".join(text for contract in contracts for text in contract.values()).split()
    parts = {".".join(source.module.split(".")[:2]) for source in sources("hpcq")} - {"hpcq", "hpcq.__main__"}
    assert parts <= set(named), f"in no contract of setup.cfg: {parts - set(named)}"


@pytest.mark.parametrize("source", CORE, ids=str)
def test_the_core_uses_the_standard_library_only(source: Source) -> None:
    assert not strangers(source)


@pytest.mark.parametrize("source", CORE, ids=str)
def test_the_core_has_no_clock_no_dice_and_no_outside_world(source: Source) -> None:
    assert not [source.at(line) for module, line in source.imports() if module.split(".")[0] in OUTSIDE_WORLD]


@pytest.mark.parametrize("source", LAUNCHER, ids=str)
def test_the_launcher_starts_with_the_standard_library_only(source: Source) -> None:
    assert not strangers(source)


def test_the_command_line_starts_without_the_heavy_libraries() -> None:
    code = "import sys, hpcq.cli.main; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"aiohttp", "numpy", "pydantic", "rich", "sqlite3"} & set(done.stdout.split())
