"""What the adb runner claims it gives back, what it remembers has an end, and one adb server is started at a time."""

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hpcq.plugin import Infra, Rejected
from hpcq_runners.adb import builds, ports
from hpcq_runners.adb.client import Adb
from hpcq_runners.adb.device import Device
from hpcq_runners.adb.emulator import Emulators
from hpcq_runners.adb.params import DeviceCommand
from hpcq_runners.adb.server import AdbServer
from hpcq_runners.adb.settings import AdbSettings
from tests.support.wait import wait_until

# Ports of Appium.


@pytest.fixture
def no_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_claimed", set())


@pytest.mark.usefixtures("no_claims")
def test_an_attempts_port_is_none_that_the_kernel_gives_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = tmp_path / "ip_local_port_range"
    monkeypatch.setattr(ports, "KERNELS", kernels)
    for text, fine in (
        ("32768\t60999\n", range(14723, 32768)),
        ("15000\t40000\n", range(40001, 65536)),
        ("1024\t65535\n", range(14723, 65536)),
    ):
        kernels.write_text(text)
        assert ports.candidates() == fine
        assert ports.claim() in fine
    kernels.unlink()
    assert ports.claim() in range(14723, 32768)


@pytest.mark.usefixtures("no_claims")
def test_a_port_is_claimed_once_until_it_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        used = taken.getsockname()[1]
        monkeypatch.setattr(ports, "candidates", lambda: range(used, used + 1))
        with pytest.raises(Infra, match="no free port"):
            ports.claim()
    assert ports.claim() == used
    with pytest.raises(Infra, match="no free port"):
        ports.claim()
    ports.leave(used)
    assert ports.claim() == used


# Emulators and builds.


async def test_an_emulator_that_cannot_be_started_gives_its_port_back(tmp_path: Path) -> None:
    async def spawn(*_: Any, **__: Any) -> None:
        raise Infra("the launcher is gone")

    held: list[str] = []

    def take(serial: str) -> bool:
        held.append(serial)
        return True

    context: Any = SimpleNamespace(settings=AdbSettings.model_validate({}), spawn=spawn, data_dir=tmp_path)
    adb: Any = None
    emulators = Emulators(adb, Path("emulator"), context, take, held.remove)
    for name in ("one", "two"):
        with pytest.raises(Infra, match="the launcher is gone"):
            await emulators.boot(Device(name, avd=name))
        assert held == []


async def test_builds_that_were_read_long_ago_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builds, "REMEMBERED", 3, raising=False)
    known = builds.Builds()
    for number in range(5):
        path = tmp_path / f"{number}.apk"
        path.write_text("no build")
        request: Any = SimpleNamespace(params=DeviceCommand.model_validate({"command": "true", "app": str(path)}))
        build = await known.of(request, AdbSettings.model_validate({}))
        assert build is not None
        assert build.path == path
    assert len(known._read) == 3


async def test_a_build_that_was_uploaded_and_is_gone_is_no_label() -> None:
    params = DeviceCommand.model_validate({"command": "true", "app_version_id": "xyz123"})

    def never(name: str) -> Path:
        raise FileNotFoundError(f"nothing that the job names was uploaded as {name!r}")

    def gone(name: str) -> Path:
        raise FileNotFoundError(errno.ENOENT, "it is gone from the server's data folder", f"/data/blobs/{name}")

    label: Any = SimpleNamespace(params=params, blob=never)
    pinned: Any = SimpleNamespace(params=params, blob=gone)
    settings = AdbSettings.model_validate({})
    assert await builds.Builds().of(label, settings) is None
    with pytest.raises(Rejected, match="xyz123 is not there any more; upload it again"):
        await builds.Builds().of(pinned, settings)


# The adb server.


class TalkingServer:
    """Says its version and follows, as adb's server does, until it is told to be silent."""

    def __init__(self) -> None:
        self.silent = False
        self.open: dict[str, list[asyncio.StreamWriter]] = {}
        self.port = 0
        self._server: asyncio.Server | None = None

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = int(await reader.readexactly(4), 16)
        service = (await reader.readexactly(size)).decode()
        self.open.setdefault(service, []).append(writer)
        if not self.silent:
            writer.write(b"OKAY0000" if service == "host:track-devices" else b"OKAY00040029")
            await writer.drain()
        with contextlib.suppress(OSError):
            await reader.read()
        writer.close()

    async def close(self) -> None:
        """No connection is left."""
        self.stop_listening()
        for service in list(self.open):
            self.hang_up(service)
        assert self._server is not None
        await self._server.wait_closed()
        mine = [task for task in asyncio.all_tasks() if "TalkingServer" in repr(task)]
        if mine:
            await asyncio.wait(mine, timeout=5)

    def stop_listening(self) -> None:
        assert self._server is not None
        self._server.close()

    def hang_up(self, service: str) -> None:
        for writer in self.open.pop(service, []):
            writer.close()


@contextlib.asynccontextmanager
async def followed(server: TalkingServer, tmp_path: Path, begun: list[Any]) -> AsyncIterator[AdbServer]:
    """An AdbServer that follows it; those that it starts never come up."""

    async def spawn(argv: Any, **_: Any) -> Any:
        begun.append(argv)
        await asyncio.Event().wait()

    context: Any = SimpleNamespace(spawn=spawn, queue="lab", log=logging.getLogger("test"), data_dir=tmp_path)
    following = AdbServer(Adb(Path("adb"), server.port, spawn, tmp_path), context, lambda: None)
    await following.open()
    try:
        yield following
    finally:
        await following.close()
        await server.close()


async def test_a_late_check_does_not_disturb_the_start_of_another_adb_server(tmp_path: Path) -> None:
    server, begun = TalkingServer(), list[Any]()
    await server.listen()
    async with followed(server, tmp_path, begun) as following:
        assert not following.down
        server.hang_up("host:version")
        server.silent = True
        check = asyncio.create_task(following.check())
        await wait_until(lambda: "host:version" in server.open, 5)
        server.stop_listening()
        server.hang_up("host:track-devices")
        await wait_until(lambda: begun, 10, "another server to be started")
        (starting,) = followers()
        server.hang_up("host:version")
        await check
        assert followers() == [starting]
        assert not starting.cancelling()
        assert following.down


def followers() -> "list[asyncio.Task[Any]]":
    return [task for task in asyncio.all_tasks() if task.get_name().startswith("adb server")]
