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
LIMIT_S = 400.0
NPM = """#!/bin/sh
case $1 in
  init) echo '{"name": "shop"}' > package.json ;;
  install) ln -s "$MODULES" node_modules ;;
esac
"""


def follow(server: ServerProcess, modules: Path, folder: Path, script: str, **env: str) -> str:
    """Run the commands as a reader would, in a shell; what they print."""
    npm = folder / "bin" / "npm"
    npm.parent.mkdir(exist_ok=True)
    npm.write_text(NPM)
    npm.chmod(0o755)
    path = os.pathsep.join([str(npm.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    kept = {name: value for name, value in os.environ.items() if name != "CI"}
    given = {"PATH": path, "HPCQ_URL": server.url, "MODULES": str(modules), "ANDROID_HOME": str(folder), **env}
    words = ["bash", "-euo", "pipefail", "-c", script]
    here: dict[str, Any] = {"cwd": folder, "env": {**kept, **given}, "stdin": subprocess.DEVNULL, "timeout": LIMIT_S}
    out = subprocess.run(words, **here, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert out.returncode == 0, f"{script}\n--- said\n{out.stdout}"
    return str(out.stdout)


def config(modules: Path) -> str:
    """The server's."""
    return f'[queues.local]\nslots = 1\nnode_modules = "{modules}"\n'


def read_the_guide(server: ServerProcess, modules: Path, folder: Path) -> None:
    """From an empty project to green."""
    (folder / "shop").mkdir()
    (folder / "shop" / "app.apk").write_bytes(b"no build")
    blocks = BLOCK.findall((ROOT / "docs" / "appwright.md").read_text(encoding="utf-8"))
    assert len(blocks) == 4
    said = [follow(server, modules, folder, block) for block in blocks]
    assert "needs no device" in said[1], "one file shows what it prints"
    assert "1 of 1 succeeded" in said[2]
    assert "tests/sums.spec.ts" in said[2], "and its history"
    assert "shop: uploaded" in said[3]
    for name in ("junit.xml", "report/index.html"):
        assert (folder / "shop" / "out" / name).is_file()
