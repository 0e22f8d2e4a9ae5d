"""The real Appium, its real driver for Android, and a project of AppWright that uses a device: for the fake one."""

import os
import subprocess
from functools import cache
from pathlib import Path

from tests.support import playwright
from tests.support.fake_device.lab import Lab
from tests.support.fake_device.signed_apk import build_tools, java_home

APPWRIGHT = "0.1.1"
DRIVER = "appium-uiautomator2-driver"
DRIVER_VERSION = "3.10.0"
ANOTHER = "ANOTHER_APPWRIGHT"  # a node_modules with another version of AppWright, to be tested too
INSTALL_S = 600.0
CONFIG = """\
import { defineConfig, Platform } from "appwright";
export default defineConfig({
  projects: [{ name: "android", use: {
    platform: Platform.ANDROID, device: { provider: "emulator" }, buildPath: "nothing.apk" } }],
});
"""


def versions() -> list[str]:
    """Of AppWright: that of npm, and what the user has besides."""
    return [APPWRIGHT, *filter(None, [os.environ.get(ANOTHER)])]


def modules(version: str = APPWRIGHT) -> Path:
    """A node_modules with this AppWright."""
    if version != APPWRIGHT:
        return Path(version)
    return playwright.installed(
        f"appwright-{version}", f"appwright@{version}", f"@playwright/test@{playwright.VERSION}"
    )


@cache
def appium_home() -> Path:
    """$APPIUM_HOME with the driver in it."""
    return playwright.cached(f"appium-uiautomator2-{DRIVER_VERSION}", _install_driver)


def _install_driver(place: Path) -> None:
    words = [str(modules() / "appium"), "driver", "install", "--source=npm", f"{DRIVER}@{DRIVER_VERSION}"]
    env = {**playwright.npm_env(), "APPIUM_HOME": str(place)}
    done = subprocess.run(
        [str(playwright.node()), *words],
        cwd=place,
        env=env,
        capture_output=True,
        text=True,
        timeout=INSTALL_S,
        check=False,
    )
    assert done.returncode == 0, f"Appium could not install {DRIVER}: {done.stdout}{done.stderr}"
    notes = place / "node_modules" / ".cache" / "appium" / "extensions.yaml"
    final = str(place.parent.parent / f"appium-uiautomator2-{DRIVER_VERSION}")
    notes.write_text(notes.read_text().replace(str(place), final))  # it moves there when it is whole


def appium_env(lab: Lab) -> dict[str, str]:
    """Variables for a server whose jobs use Appium. The SDK of the lab gets build tools."""
    tools = lab.sdk.home / "build-tools" / "34.0.0"
    tools.parent.mkdir(exist_ok=True)
    tools.symlink_to(build_tools())
    return {"APPIUM_HOME": str(appium_home()), "JAVA_HOME": str(java_home())}


def project(folder: Path, version: str, /, **specs: str) -> Path:
    """A project of AppWright in `folder`: `tests/<name>.spec.ts` of these texts."""
    (folder / "tests").mkdir(parents=True)
    (folder / "node_modules").symlink_to(modules(version))
    (folder / "appwright.config.ts").write_text(CONFIG)
    for name, text in specs.items():
        (folder / "tests" / f"{name}.spec.ts").write_text(f'import {{ test, expect }} from "appwright";\n{text}')
    return folder
