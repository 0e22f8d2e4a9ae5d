"""docs/appwright.md with AppWright itself."""

from pathlib import Path

import pytest

from tests.support import playwright
from tests.support.guide import config, read_the_guide, stand_in
from tests.support.server import ServerProcess


@pytest.mark.appwright
def test_the_guide_holds_for_appwright_itself(tmp_path: Path) -> None:
    modules = playwright.installed("appwright-0.1.1", "appwright@0.1.1", f"@playwright/test@{playwright.VERSION}")
    server = ServerProcess(tmp_path, config(), env=stand_in(tmp_path, modules)).start()
    try:
        read_the_guide(server, modules, tmp_path)
    finally:
        server.close()
