"""Uploading with the client and the command line: only what the server lacks, and over its restarts."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from hpcq.client import Client, ClientError, Problem
from tests.integration.conftest import MakeServer
from tests.support.cli import Cli, free_port
from tests.support.server import ServerProcess


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One for all tests that do not end it."""
    server = ServerProcess(tmp_path_factory.mktemp("shared"), "[limits]\nblob_bytes = 10000000\n")
    yield server.start()
    server.close()


@pytest.fixture
async def client(server: ServerProcess) -> AsyncIterator[Client]:
    async with Client(server.url) as opened:
        yield opened


@pytest.fixture
def cli(server: ServerProcess, tmp_path: Path) -> Cli:
    return Cli(server.url, tmp_path)


class Meter:
    """Counts what is sent."""

    def __init__(self) -> None:
        self.sent: list[int] = []

    def __call__(self, sent: int, _size: int) -> None:
        self.sent.append(sent)


async def test_a_file_is_sent_only_when_the_server_lacks_it(client: Client, tmp_path: Path) -> None:
    path, first, second = tmp_path / "app.apk", Meter(), Meter()
    path.write_bytes(data := os.urandom(3_000_000))
    sha256 = await client.upload(path, on_sent=first)
    assert sha256 == hashlib.sha256(data).hexdigest()
    assert first.sent == [1 << 20, 2 << 20, 3_000_000]
    assert await client.upload(path, on_sent=second) == sha256
    assert second.sent == []
    assert await client.has_blob(sha256)
    assert not await client.has_blob("0" * 64)
    assert b"".join([chunk async for chunk in client.blob(sha256)]) == data


async def test_what_the_server_refuses_is_not_sent_at_all(client: Client, tmp_path: Path) -> None:
    path, meter = tmp_path / "large", Meter()
    path.write_bytes(b"x" * 10_000_001)
    with pytest.raises(Problem) as caught:
        await client.upload(path, on_sent=meter)
    assert (caught.value.status, meter.sent) == (413, [])


async def test_a_folder_is_sent_as_a_tar_and_once(client: Client, tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "a.spec.js").write_text("test")
    first, second = Meter(), Meter()
    sha256 = await client.upload(tmp_path / "project", on_sent=first)
    assert first.sent
    (tmp_path / "project" / ".git").mkdir()
    assert await client.upload(str(tmp_path / "project"), on_sent=second) == sha256
    assert not second.sent


async def test_names_of_builds_are_given_and_listed(client: Client, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a build")
    sha256 = await client.upload(tmp_path / "a")
    named = await client.name_app("feature/x 1", sha256, org_id="red")
    assert (named["app_version_id"], named["org_id"], named["blob"]) == ("feature/x 1", "red", sha256)
    for number in range(3):
        await client.name_app(f"rc{number}", sha256)
    assert [app["app_version_id"] async for app in client.apps(limit=2)] == ["rc2", "rc1"]
    with pytest.raises(Problem, match="acceptable"):
        await client.name_app("rc", "0" * 64)


async def test_a_file_that_cannot_be_read_is_named(client: Client, tmp_path: Path) -> None:
    with pytest.raises(ClientError, match=r"nothing\.apk"):
        await client.upload(tmp_path / "nothing.apk")


# What aiohttp had of the broken connection is left to the collector, which may complain.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_an_upload_outlives_the_servers_restart(make_server: MakeServer, tmp_path: Path) -> None:
    port = free_port()
    server = make_server(arguments=["--port", str(port)])
    path = tmp_path / "app.apk"
    path.write_bytes(data := os.urandom(30_000_000))
    begun = asyncio.Event()
    async with Client(f"http://127.0.0.1:{port}") as client:
        upload = asyncio.create_task(client.upload(path, on_sent=lambda _sent, _size: begun.set()))
        await begun.wait()
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        sha256 = await asyncio.wait_for(upload, 60)
    assert sha256 == hashlib.sha256(data).hexdigest()
    kept = [found.name for found in (server.data_dir / "blobs").rglob("*") if found.is_file()]
    assert kept == [sha256]


def test_the_command_line_sends_a_file_and_names_it(cli: Cli) -> None:
    (cli.folder / "app.apk").write_bytes(b"the build")
    sha256 = hashlib.sha256(b"the build").hexdigest()
    done = cli("upload", "app.apk", "--app-version-id", "rc1", "--json")
    assert (done.code, done.json) == (0, {"sha256": sha256, "app_version_id": "rc1"})
    again = cli("upload", "app.apk")
    assert (again.code, again.out) == (0, f"{sha256}\n")
    params = f'{{"operation": "det", "a": {{"blob": "{"0" * 64}"}}}}'
    refused = cli("submit", "--queue", "compute", "--params", params)
    assert refused.code == 2
    assert "/params/a/blob" in refused.err


def test_the_command_line_says_what_it_cannot_send(cli: Cli) -> None:
    assert cli("upload", "nothing").code == 2
    os.mkfifo(cli.folder / "pipe")
    assert "neither a file nor a folder" in cli("upload", "pipe").err
    (cli.folder / "large").write_bytes(b"x" * 10_000_001)
    done = cli("upload", "large")
    assert done.code == 2
    assert "larger than 10000000 bytes" in done.err
    assert cli("upload", "large", "--org-id", "red").code == 2
