"""The event streams: in order, without gap, resumable, and rid of readers that do not read."""

import asyncio
import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.integration.conftest import MakeServer
from tests.support.rawhttp import connect, read_all, request
from tests.support.server import ServerProcess
from tests.support.wait import wait_until_blocking

CONFIG = """
[queues.idle]
runner = "noop"
slots = 0
[retention]
events = 1000
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    served = ServerProcess(tmp_path_factory.mktemp("events"), CONFIG).start()
    served.submit("idle", {})
    yield served
    served.close()


class Sse:
    """A reader of server-sent events."""

    def __init__(self, server: ServerProcess, query: str = "", headers: dict[str, str] | None = None) -> None:
        place = urlsplit(server.url)
        self.connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=30)
        self.connection.request("GET", f"/v1/events{query}", headers=headers or {})
        self.response = self.connection.getresponse()
        self.status = self.response.status

    def __enter__(self) -> "Sse":
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def next(self) -> dict[str, Any]:
        """The next event; its id and event lines must agree with its data."""
        fields: dict[str, str] = {}
        while True:
            line = self.response.readline().decode()
            assert line, "the stream has ended"
            name, _, value = line.rstrip("\n").partition(": ")
            if name and value:
                fields[name] = value
            elif "data" in fields:
                break
        event: dict[str, Any] = json.loads(fields["data"])
        assert fields["event"] == event["type"]
        assert fields.get("id") == (None if event["seq"] is None else str(event["seq"]))
        return event


def last_seq(server: ServerProcess) -> int:
    seq: int = server.get("/v1/stats")["last_seq"]
    return seq


def test_a_reader_that_says_nothing_gets_what_is_new(server: ServerProcess) -> None:
    before = last_seq(server)
    with Sse(server) as stream:
        assert stream.response.headers["Content-Type"] == "text/event-stream"
        job = server.submit("idle", {})
        event = stream.next()
    assert (event["type"], event["job"], event["seq"], event["state"]) == (
        "job.submitted",
        job["id"],
        before + 1,
        "queued",
    )
    assert (event["queue"], event["org_id"], event["number"]) == ("idle", "default", job["number"])


def test_a_stream_resumes_without_gap_or_repetition(server: ServerProcess) -> None:
    start = last_seq(server)
    job = server.submit("noop", {}, wait_s=20)
    for _ in range(20):
        server.submit("idle", {})
    seen: list[int] = []
    position = start
    while position < start + 23:
        with Sse(server, headers={"Last-Event-ID": str(position)}) as stream:
            for _ in range(min(5, start + 23 - position)):
                event = stream.next()
                seen.append(event["seq"])
                position = event["seq"]
    assert seen == list(range(start + 1, start + 24))
    with Sse(server, f"?since={start}") as stream:
        kinds = [stream.next() for _ in range(3)]
    assert [(event["type"], event["job"]) for event in kinds] == [
        ("job.submitted", job["id"]),
        ("job.started", job["id"]),
        ("job.succeeded", job["id"]),
    ]


def test_kept_and_live_events_are_joined_seamlessly(server: ServerProcess) -> None:
    with Sse(server, "?since=0") as stream:
        first = stream.next()["seq"]
        for n in range(5):
            server.request("POST", "/v1/jobs", [{"queue": "idle", "params": {}}] * (100 + n))
        end = last_seq(server)
        assert [stream.next()["seq"] for _ in range(first, end)] == list(range(first + 1, end + 1))


def test_the_header_of_a_reconnecting_reader_goes_before_its_address(server: ServerProcess) -> None:
    server.submit("idle", {})
    with Sse(server, "?since=0", {"Last-Event-ID": str(last_seq(server) - 1)}) as stream:
        assert stream.next()["seq"] == last_seq(server)


@pytest.mark.parametrize("path", ["/v1/events", "/v1/stream"])
def test_a_position_that_cannot_be_is_refused(server: ServerProcess, path: str) -> None:
    ahead = server.request("GET", f"{path}?since={last_seq(server) + 1000}")
    assert (ahead.status, ahead.json["errors"][0]["parameter"]) == (422, "since")
    assert server.request("GET", f"{path}?since=-1").status == 422
    for bad in ("x", "-1", "1.5", "9" * 5000, "\xb2"):
        assert server.request("GET", path, headers={"Last-Event-ID": bad}).status == 400


def test_progress_is_live_and_has_no_number(server: ServerProcess) -> None:
    with Sse(server) as stream:
        job = server.submit("noop", {"duration_s": 0.5})
        events = [stream.next()]
        while events[-1]["type"] != "job.succeeded":
            events.append(stream.next())
    progress = [event for event in events if event["type"] == "job.progress"]
    assert progress
    assert progress[0]["seq"] is None
    assert progress[0]["job"] == job["id"]
    assert set(progress[0]["progress"]) == {"done", "total", "message"}
    numbered = [event["seq"] for event in events if event["seq"]]
    assert numbered == list(range(numbered[0], numbered[0] + len(numbered)))


async def test_a_websocket_gets_the_same_one_message_for_each(server: ServerProcess) -> None:
    start = last_seq(server)
    job = server.submit("noop", {}, wait_s=20)
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{server.url}/v1/stream?since={start}") as ws:
        await ws.send_str("what a client says is not read")
        events = [json.loads((await ws.receive(20)).data) for _ in range(3)]
        live = await asyncio.to_thread(server.submit, "idle", {})
        events.append(json.loads((await ws.receive(20)).data))
    assert [event["seq"] for event in events] == list(range(start + 1, start + 5))
    assert [event["job"] for event in events] == [job["id"]] * 3 + [live["id"]]


def deaf(server: ServerProcess, path: str, headers: list[tuple[str, str]]) -> socket.socket:
    """A reader that has asked for a stream and does not read it."""
    place = urlsplit(server.url)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(60)
    sock.connect((place.hostname, place.port))
    sock.sendall(request("GET", path, [("Host", place.netloc), *headers]))
    assert b" 101 " in (head := sock.recv(4096)) or b" 200 " in head
    return sock


UPGRADE = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
]


@pytest.mark.parametrize(("path", "headers"), [("/v1/events", []), ("/v1/stream", UPGRADE)])
def test_a_reader_that_does_not_read_is_cut_off_and_the_others_are_not(
    make_server: MakeServer, path: str, headers: list[tuple[str, str]]
) -> None:
    server = make_server(CONFIG)
    with Sse(server) as good, closing(deaf(server, path, headers)) as sock:
        both = 3  # and the metrics
        wait_until_blocking(lambda: server.get("/v1/stats")["listeners"] == both, what="the two to listen")
        listeners = both
        for _ in range(60):  # the kernel takes some megabytes for it before the server notices
            server.request("POST", "/v1/jobs", [{"queue": "idle", "params": {}}] * 900)
            end = last_seq(server)
            while good.next()["seq"] < end:
                pass
            if (listeners := server.get("/v1/stats")["listeners"]) < both:
                break
        assert listeners == both - 1
        data = read_all(sock)  # it ends
        assert b"too slow" in data[-200:]


@pytest.mark.parametrize("path", ["/v1/events", "/v1/stream"])
def test_a_position_whose_events_are_gone_is_410_and_says_what_is_left(server: ServerProcess, path: str) -> None:
    server.request("POST", "/v1/jobs", [{"queue": "idle", "params": {}}] * 1100)
    assert server.request("POST", "/v1/prune").status == 200
    answer = server.request("GET", f"{path}?since=1")
    assert answer.status == 410
    oldest = answer.json["oldest"]
    assert 1 < oldest <= last_seq(server)
    with Sse(server, f"?since={oldest - 1}") as stream:
        assert stream.next()["seq"] == oldest
    with Sse(server, "?since=0") as stream:
        assert stream.next()["seq"] == oldest


def test_what_is_no_websocket_is_refused(server: ServerProcess) -> None:
    assert server.request("GET", "/v1/stream").status in (400, 426)


def test_streams_end_when_the_server_stops(tmp_path_factory: pytest.TempPathFactory) -> None:
    served = ServerProcess(tmp_path_factory.mktemp("stop")).start()
    with Sse(served) as stream, closing(connect(served.url)) as idle:
        assert served.stop() == 0
        assert b"event:" not in stream.response.read()
        assert idle.recv(1) == b""
