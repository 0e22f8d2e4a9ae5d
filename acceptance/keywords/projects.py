"""Keywords that make small projects of tests, with the real Playwright in them.

Only for suites of this repository: they make them as its tests do (tests.support), so it must be on the path.
"""

import asyncio
from pathlib import Path

from robot.api.deco import keyword, library

from tests.support import playwright


@library(scope="SUITE", auto_keywords=False)
class Projects:
    """Folders with a config, specs, and node_modules. Playwright comes from npm, once per machine."""

    @keyword
    async def make_project(self, folder: str, config: str = playwright.CONFIG, **specs: str) -> str:
        """A project with these spec files, `NAME=text` for `tests/NAME.spec.js`; returns its folder."""
        return str(await asyncio.to_thread(playwright.project, Path(folder), config, **specs))

    @keyword
    def write_spec(self, folder: str, name: str, text: str) -> None:
        """Write one spec file of the project anew."""
        playwright.write_spec(Path(folder), name, text)
