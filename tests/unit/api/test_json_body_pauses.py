"""A body may be long, and may be slow, but may not stand still."""

import asyncio

import pytest
from aiohttp import StreamReader, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.test_utils import make_mocked_request

from hpcq.api.json_body import BODY_IDLE_S, chunks
from hpcq.api.problem import Problem

MOST = 1 << 40
pytestmark = pytest.mark.looptime


def arriving() -> tuple[StreamReader, web.Request]:
    """A request, and what feeds its body."""
    loop = asyncio.get_running_loop()
    protocol = BaseProtocol(loop)
    protocol.connection_made(asyncio.Transport())
    stream = StreamReader(protocol, MOST, loop=loop)
    return stream, make_mocked_request("PUT", "/", payload=stream)


async def read(request: web.Request) -> int:
    return sum([len(chunk) async for chunk in chunks(request, MOST)])


async def test_a_pause_ends_it_however_much_has_come_before() -> None:
    stream, request = arriving()
    stream.feed_data(b"x" * (100 << 20))
    began = asyncio.get_running_loop().time()
    with pytest.raises(Problem) as caught:
        await read(request)
    assert caught.value.status == 408
    assert asyncio.get_running_loop().time() - began == pytest.approx(BODY_IDLE_S, abs=1)


async def test_one_that_keeps_coming_may_take_hours() -> None:
    stream, request = arriving()
    reading = asyncio.ensure_future(read(request))
    for _ in range(1000):
        await asyncio.sleep(10)
        stream.feed_data(b"x" * (1 << 20))
    stream.feed_eof()
    assert await reading == 1000 << 20
