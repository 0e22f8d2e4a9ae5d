"""The command line starts fast: what a command does not need is not imported. Modules are counted, not milliseconds."""

import json
import os
import subprocess
import sys

import pytest

HEAVY = {
    "aiohttp",
    "rich",
    "numpy",
    "pydantic",
    "asyncio",
    "orjson",
    "psutil",
    "hpcq.client",
    "hpcq.config",
    "hpcq.server",
}
REPORT = """
import json, sys
from hpcq.cli.main import main
sys.argv = ["hpcq", *sys.argv[1:]]
try:
    main()
except SystemExit:
    pass
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def modules(*words: str, **env: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", REPORT, *words], capture_output=True, text=True, check=True, env={**os.environ, **env}
    )
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize("words", [("--version",), ("--help",), ("completion", "fish")])
def test_a_command_that_asks_nobody_imports_nothing_heavy(words: tuple[str, ...]) -> None:
    found = modules(*words)
    assert not found & HEAVY
    assert len(found) < 180


@pytest.mark.parametrize("command", ["submit", "list", "logs", "queues", "schedules", "doctor", "artifacts"])
def test_the_help_of_a_command_imports_no_client_and_no_server(command: str) -> None:
    assert not modules(command, "--help") & HEAVY


def test_completing_a_command_s_name_imports_no_command() -> None:
    words = {"_HPCQ_COMPLETE": "fish_complete", "COMP_WORDS": "hpcq sub", "COMP_CWORD": "sub"}
    found = modules(**words)
    assert not found & HEAVY
    assert "hpcq.cli.submit" not in found
    assert "hpcq.cli.serve" not in found


def test_every_command_in_the_list_can_be_loaded() -> None:
    from hpcq.cli.main import PLACES

    for name, place in PLACES.items():
        assert place.load().name == name
