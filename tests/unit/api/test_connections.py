"""Connections that say nothing, or never finish what they say, are closed; too many are refused at once."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import closing

import pytest
from aiohttp import web

from hpcq.api import app as app_module
from hpcq.api import guard, json_body
from hpcq.config import Settings
from tests.support.rawhttp import RawAnswer, connect, read_all

GRACE_S = 0.3
HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


async def echo(request: web.Request) -> web.Response:
    return web.json_response(json_body.parse(await json_body.read(request, 1000)))


@pytest.fixture
async def url(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """A server that is in a hurry, with three connections at most."""
    monkeypatch.setattr(app_module, "IDLE_S", GRACE_S)
    monkeypatch.setattr(app_module, "LINGER_S", GRACE_S)
    monkeypatch.setattr(json_body, "BODY_GRACE_S", GRACE_S)
    app = web.Application(middlewares=[guard.middleware(guard.Door((), same_user=True))])
    app.router.add_post("/", echo)
    settings = Settings.model_validate({"server": {"port": 0}, "limits": {"connections": 3}})
    runner = await app_module.start_site(app, settings)
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


def spoken(url: str, text: bytes) -> bytes:
    """What the server says to `text` until it closes the connection."""
    with closing(connect(url)) as sock:
        sock.sendall(text)
        return read_all(sock)


@pytest.mark.parametrize(
    "text", [b"", b"POST / HTT", HEAD, HEAD + b"X-Half: "], ids=["nothing", "line", "head", "field"]
)
async def test_half_a_head_is_closed(url: str, text: bytes) -> None:
    assert await asyncio.to_thread(spoken, url, text) == b""


async def test_half_a_body_is_answered_408_and_closed(url: str) -> None:
    answer = RawAnswer(await asyncio.to_thread(spoken, url, HEAD + b'Content-Length: 100\r\n\r\n{"half": '))
    assert answer.status == 408
    assert "9 bytes" in str(answer.json["detail"])


async def test_a_body_that_drips_is_closed_too(url: str) -> None:
    def drip() -> bytes:
        with closing(connect(url)) as sock:
            sock.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
            start = time.monotonic()
            try:
                while time.monotonic() - start < 20:
                    sock.sendall(b"1\r\n \r\n")
                    time.sleep(0.02)
            except OSError:
                pass
            assert time.monotonic() - start < 20, "it was let drip"
            return read_all(sock)

    await asyncio.to_thread(drip)


async def test_a_refused_body_is_not_read_for_ever(url: str) -> None:
    text = HEAD.replace(b"localhost", b"evil.example") + b"Content-Length: 100\r\n\r\n{"
    assert RawAnswer(await asyncio.to_thread(spoken, url, text)).status == 421


async def test_a_connection_that_keeps_quiet_after_its_answer_is_closed(url: str) -> None:
    answer = RawAnswer(await asyncio.to_thread(spoken, url, HEAD + b"Content-Length: 2\r\n\r\n[]"))
    assert (answer.status, answer.body) == (200, b"[]")


async def test_connections_beyond_the_limit_are_refused_and_room_is_used_again(url: str) -> None:
    held = [await asyncio.to_thread(connect, url) for _ in range(3)]
    good = HEAD + b"Content-Length: 2\r\nConnection: close\r\n\r\n[]"
    refused = RawAnswer(await asyncio.to_thread(spoken, url, b""))
    assert refused.status == 503
    assert refused.headers["retry-after"] == "1"
    for sock in held:
        sock.close()
    deadline = time.monotonic() + 10
    while (answer := RawAnswer(await asyncio.to_thread(spoken, url, good))).status == 503:
        assert time.monotonic() < deadline
    assert answer.status == 200
