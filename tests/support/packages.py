"""Small npm packages, and projects that depend on them, made without a registry by the real npm."""

import io
import json
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support import playwright

NPM_S = 60.0
CONFIG = "module.exports = {};\n"
SPEC = """const { test, expect } = require("@playwright/test");
test("says", async () => { console.log("WORD", require("word")); });
"""


def package(path: Path, name: str, version: str, files: Mapping[str, str], **more: Any) -> Path:
    """A package as `npm pack` makes it."""
    about = json.dumps({"name": name, "version": version, "main": "index.js", **more})
    with tarfile.open(path, "w:gz") as tar:
        for inside, text in {"package.json": about, **files}.items():
            member, data = tarfile.TarInfo(f"package/{inside}"), text.encode()
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def shop(folder: Path, word: str = "1.0.0", spec: str = SPEC, **more: Any) -> Path:
    """A project whose package-lock.json names two packages that it brings as files: Playwright, and `word`, which is
    its own version."""
    (folder / "tests").mkdir(parents=True)
    real = json.dumps(str(playwright.playwright() / "@playwright" / "test"))[1:-1]
    ours = {"cli.js": f'require("{real}/cli.js");', "index.js": f'module.exports = require("{real}");'}
    package(folder / "playwright.tgz", "@playwright/test", playwright.VERSION, ours)
    package(folder / "word.tgz", "word", word, {"index.js": f'module.exports = "{word}";'}, **more)
    needs = {"@playwright/test": "file:playwright.tgz", "word": "file:word.tgz"}
    (folder / "package.json").write_text(json.dumps({"name": "shop", "devDependencies": needs}))
    (folder / "playwright.config.js").write_text(CONFIG)
    (folder / "tests" / "one.spec.js").write_text(spec)
    npm(folder, "install", "--package-lock-only")
    return folder


def npm(folder: Path, *words: str) -> None:
    """Run it there, without a registry."""
    quiet = ("--no-audit", "--no-fund", "--offline", "--ignore-scripts", "--loglevel=error")
    whole = [*playwright.npm_words(), *words, *quiet]
    env = playwright.npm_env()
    done = subprocess.run(whole, cwd=folder, env=env, capture_output=True, text=True, timeout=NPM_S, check=False)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"


def packed(folder: Path, path: Path) -> Path:
    """The tar of a project, as it would be uploaded."""
    path.write_bytes(playwright.packed(folder))
    return path
