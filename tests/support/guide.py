"""docs/appwright.md, followed to the letter: only npm is a stand-in, which links what is installed already."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.server import ServerProcess
from tests.support.sources import ROOT

BLOCK = re.compile(r"<!-- run -->\n```sh\n(.*?)```", re.DOTALL)
CONFIG = re.compile(r"```toml\n(.*?)```", re.DOTALL)
NEXT = "--- the next block"
LIMIT_S = 400.0
NPM = """#!/bin/sh
case $1 in
  init) echo '{"name": "shop"}' > package.json ;;
  install) ln -s "$MODULES" node_modules; echo '{"lockfileVersion": 3}' > package-lock.json ;;
  ci) ln -s "$MODULES" node_modules ;;
esac
"""


def stand_in(folder: Path, modules: Path) -> dict[str, str]:
    """Variables with which `npm` installs what is in `modules`."""
    npm = folder / "bin" / "npm"
    npm.parent.mkdir(exist_ok=True)
    npm.write_text(NPM)
    npm.chmod(0o755)
    path = os.pathsep.join([str(npm.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    return {"PATH": path, "MODULES": str(modules)}


def follow(server: ServerProcess, modules: Path, folder: Path, script: str, **env: str) -> str:
    """Run the commands as a reader would, in a shell; what they print."""
    kept = {name: value for name, value in os.environ.items() if name not in ("CI", "ANDROID_HOME")}
    given = {**stand_in(folder, modules), "HPCQ_URL": server.url, **env}
    words = ["bash", "-euo", "pipefail", "-c", script]
    here: dict[str, Any] = {"cwd": folder, "env": {**kept, **given}, "stdin": subprocess.DEVNULL, "timeout": LIMIT_S}
    out = subprocess.run(words, **here, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert out.returncode == 0, f"{script}\n--- said\n{out.stdout}"
    return str(out.stdout)


def _guide() -> str:
    return (ROOT / "docs" / "appwright.md").read_text(encoding="utf-8")


def config() -> str:
    """The server's, as the guide has it."""
    return str(CONFIG.findall(_guide())[0])


def read_the_guide(server: ServerProcess, modules: Path, folder: Path) -> None:
    """From an empty folder to green, all in one shell."""
    blocks = BLOCK.findall(_guide())
    assert len(blocks) == 4
    said = follow(server, modules, folder, f"echo {NEXT}\n".join(blocks)).split(NEXT)
    assert "needs no device" in said[1], "one file shows what it prints"
    assert "1 of 1 succeeded" in said[2]
    assert "tests/sums.spec.ts" in said[2], "and its history"
    assert "shop: uploaded" in said[3]
    for name in ("junit.xml", "report/index.html"):
        assert (folder / "shop" / "out" / name).is_file()
