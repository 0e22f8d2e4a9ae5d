"""The commands in README and docs work as they stand there."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import ServerProcess
from tests.support.sources import ROOT

BLOCK = re.compile(r"<!-- run -->\n```(sh|python)\n(.*?)```", re.DOTALL)
LIMIT_S = 60.0


def environment(url: str = "") -> dict[str, str]:
    """What a reader has: the installed command first in the path, and a server."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {name: value for name, value in os.environ.items() if name != "CI"}
    return {**env, "PATH": path, **({"HPCQ_URL": url} if url else {})}


def run(argv: list[str], folder: Path, env: dict[str, str]) -> str:
    given: dict[str, Any] = {"cwd": folder, "env": env, "stdin": subprocess.DEVNULL, "timeout": LIMIT_S}
    done: subprocess.CompletedProcess[str] = subprocess.run(argv, **given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv[-1]}\n--- said\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("document", ["README.md", "docs/jobs.md", "docs/http.md", "docs/fronts.md"])
def test_the_examples_work_as_they_stand(document: str, server: ServerProcess, tmp_path: Path) -> None:
    blocks = BLOCK.findall((ROOT / document).read_text(encoding="utf-8"))
    assert blocks
    for language, code in blocks:
        program = [sys.executable, "-c"] if language == "python" else ["bash", "-euo", "pipefail", "-c"]
        run([*program, code.replace("http://127.0.0.1:8000", server.url)], tmp_path, environment(server.url))


def test_the_quick_start_shows_a_day_that_ends_well(tmp_path: Path) -> None:
    line = re.search(r"## Quick start.*?```sh\n(.+?)\n```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert line
    install, _, demo = line[1].partition(" && ")
    assert install == "pip install ."
    said = run(demo.split(), tmp_path, environment())
    assert "verifications hold" in said
    assert "WRONG" not in said
    for command in re.findall(r"^  (hpcq .+)$", said, re.MULTILINE):
        assert command.split()[1] in ("serve", "run", "submit", "list"), "the next commands to paste are commands"
