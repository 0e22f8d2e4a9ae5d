"""Fixtures of the tests that run against a real server."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_device.lab import FakePhone, Lab, lab
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


@pytest.fixture
def small(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server whose data folder has 8 MB, in a mount namespace of its own."""
    data = tmp_path / "data"
    data.mkdir()
    flags = "-m" if os.geteuid() == 0 else "-rm"
    mount = f'mount -t tmpfs -o size=8m tmpfs {data} && exec "$@"'
    server = ServerProcess(tmp_path, prefix=["unshare", flags, "sh", "-c", mount, "sh"])
    yield server.start()
    server.close()


@pytest.fixture
def devices(tmp_path: Path) -> Iterator[Lab]:
    """The real adb, and a place for fake devices."""
    with lab(tmp_path) as built:
        yield built


@pytest.fixture
def phone(devices: Lab) -> FakePhone:
    """A phone that is on."""
    return devices.phone()
