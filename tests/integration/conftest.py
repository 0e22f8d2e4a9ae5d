"""Fixtures of the tests that run against a real server."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import ServerProcess

MakeServer = Callable[..., ServerProcess]


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[MakeServer]:
    """Starts servers, each with a folder of its own; at the end nothing of them may live."""
    made: list[ServerProcess] = []

    def make(config: str = "", **settings: Any) -> ServerProcess:
        folder = tmp_path / f"server-{len(made)}"
        folder.mkdir()
        made.append(ServerProcess(folder, config, **settings))
        return made[-1].start()

    yield make
    for server in made:
        server.close()


@pytest.fixture
def server(make_server: MakeServer) -> ServerProcess:
    """A server with the default settings."""
    return make_server()
