"""What AppWright needs of Appium and the SDK on this machine: found before a test needs it, and known by its errors."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from hpcq.plugin import Failure, Outcome, TestCase
from hpcq_runners.adb.settings import AdbSettings
from hpcq_runners.appwright.reading import PACKAGE, PACKAGE_BYTES, read_json

DRIVER = "appium-uiautomator2-driver"
INSTALL = f"npx appium driver install --source=npm {DRIVER}@3.10.0"
NO_DRIVER = (
    "Appium has no driver for Android{where}, and AppWright is kept from installing one before each test: run "
    f"`{INSTALL}` once in the project's folder, as the user that runs the server and with its APPIUM_HOME"
)
NO_TOOLS = (
    "AppWright and Appium need the SDK's build tools{where}: "
    "`sdkmanager 'build-tools;34.0.0'`, and ANDROID_HOME=/path/to/sdk or `android_home` in the queue's config"
)
NO_JAVA = (
    "AppWright wants JAVA_HOME for emulators: set it for the server, or in `env` of the queue's config, to a "
    "Java such as /usr/lib/jvm/default-java"
)
TROUBLES = (
    (re.compile(r"Could not find a driver for automationName"), NO_DRIVER.format(where="")),
    (re.compile(r"Error reading \S*build-tools|Could not find '(aapt2?|apksigner)\b"), NO_TOOLS.format(where="")),
)
TOOLS_VERSION = re.compile(r"\d+\.\d+\.\d+(-rc\d+)?")  # the folders that AppWright looks at


def lacking(settings: AdbSettings) -> str:
    """Why the AppWright tests of a queue's own projects cannot run, and what mends it; empty when they can, or there
    are none."""
    named = [settings.usual_folder(), *settings.projects.values()]
    projects = [folder for folder in named if folder is not None and any(folder.glob("appwright.config.*"))]
    if not projects:
        return ""
    variables = {**os.environ, **settings.env}  # as tests have them
    for project in projects:
        home = appium_home(project, variables)
        if not (home / "node_modules" / DRIVER).is_dir():
            return NO_DRIVER.format(where=f" in {home}")
    said = variables.get("ANDROID_HOME") or variables.get("ANDROID_SDK_ROOT")
    sdk = settings.home or (Path(said) if said else None)
    if not any(_build_tools(sdk)):
        return NO_TOOLS.format(where=f" in {sdk / 'build-tools'}" if sdk else "")
    return NO_JAVA if settings.avds and not variables.get("JAVA_HOME") else ""


def appium_home(project: Path, variables: Mapping[str, str]) -> Path:
    """Where Appium looks for its drivers: what the variable says, else a project that depends on Appium itself."""
    said = variables.get("APPIUM_HOME")
    if said:
        return project / said
    return next((folder for folder in (project, *project.parents) if _wants_appium(folder)), Path.home() / ".appium")


def blamed(outcome: Outcome) -> Outcome:
    """What failed only for want of something on this machine is not the tests' fault."""
    found = {test.id: why for test in outcome.tests if (why := _trouble(test))}
    if not found:
        return outcome
    kept = tuple(test for test in outcome.tests if test.id not in found)
    return replace(outcome, error=Failure("infra", next(iter(found.values()))), tests=kept)


def _trouble(test: TestCase) -> str | None:
    if test.status != "failed":
        return None
    return next((why for pattern, why in TROUBLES if pattern.search(test.error or "")), None)


def _build_tools(home: Path | None) -> Iterator[Path]:
    folders = (home / "build-tools").glob("*/aapt") if home else ()
    return (tool for tool in folders if TOOLS_VERSION.fullmatch(tool.parent.name))


def _wants_appium(folder: Path) -> bool:
    said = read_json(folder / PACKAGE, PACKAGE_BYTES)
    kinds = ("dependencies", "devDependencies", "peerDependencies")
    try:
        return any("appium" in (said.get(kind) or {}) for kind in kinds)
    except (AttributeError, TypeError):
        return False
