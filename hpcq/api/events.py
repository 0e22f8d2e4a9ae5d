"""Every change as it is committed: server-sent events, and the same over a WebSocket."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import WSCloseCode, web

from hpcq.api import jobview, schema, stream
from hpcq.api.query import StreamQuery
from hpcq.api.table import Call, Route

if TYPE_CHECKING:
    from hpcq.store.rows import EventRow

LONGEST_MESSAGE = 4096  # bytes of what a WebSocket client may send; it is not read
HEARTBEAT_S = 15.0
FAREWELL_S = 5.0


async def sse(call: Call[StreamQuery, None]) -> web.StreamResponse:
    """Server-sent events, from `Last-Event-ID` or `since` on."""
    position = await stream.begin(call)
    request = call.request
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )
    await response.prepare(request)
    await response.write(b": hpcq events\nretry: 1000\n\n")
    try:
        async with aclosing(stream.follow(call, position)) as pages:
            async for events in pages:
                text = b"".join(map(_lines, events)) or b": still here\n\n"
                await stream.send(request, lambda text=text: response.write(text))  # type: ignore[misc]
    except stream.Slow:
        _cut_off(request, _too_slow(position))
    except ConnectionError:  # the reader has left
        pass
    return response


async def websocket(call: Call[StreamQuery, None]) -> web.StreamResponse:
    """One JSON text message for each event."""
    return await converse(call, lambda event: jobview.event(event).decode())


async def converse(call: Call[Any, None], words: Callable[["EventRow"], str | None]) -> web.StreamResponse:
    """A WebSocket with a text message for each event; none where `words` has none."""
    position = await stream.begin(call)
    socket = web.WebSocketResponse(heartbeat=HEARTBEAT_S, max_msg_size=LONGEST_MESSAGE, timeout=FAREWELL_S)
    await socket.prepare(call.request)
    sending = asyncio.ensure_future(_send_all(call, socket, position, words))
    listening = asyncio.ensure_future(_until_closed(socket))
    try:
        await asyncio.wait({sending, listening}, return_when=asyncio.FIRST_COMPLETED)
        if sending.done():
            await _farewell(socket, sending, position)
    finally:
        sending.cancel()
        listening.cancel()
        await asyncio.gather(sending, listening, return_exceptions=True)
    return socket


async def _send_all(
    call: Call[StreamQuery, None],
    socket: web.WebSocketResponse,
    position: stream.Position,
    words: Callable[["EventRow"], str | None],
) -> None:
    async def send(events: Sequence["EventRow"]) -> None:
        for event in events:
            if (text := words(event)) is not None:
                await socket.send_str(text)

    async with aclosing(stream.follow(call, position)) as pages:
        async for events in pages:
            await stream.send(call.request, lambda events=events: send(events))  # type: ignore[misc]


async def _until_closed(socket: web.WebSocketResponse) -> None:
    """What a client says is thrown away; its leaving ends this."""
    async for _ in socket:
        pass


async def _farewell(socket: web.WebSocketResponse, sending: "asyncio.Future[None]", position: stream.Position) -> None:
    """Say why the stream ends, if the reader still listens."""
    error = sending.exception()
    code, message = WSCloseCode.GOING_AWAY, b"the server stops"
    if isinstance(error, stream.Slow):
        code, message = WSCloseCode.TRY_AGAIN_LATER, f"too slow: resume with ?since={position.seq}".encode()
    elif error is not None and not isinstance(error, ConnectionError):
        raise error
    with suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(FAREWELL_S):
            await socket.close(code=code, message=message)


def _lines(event: "EventRow") -> bytes:
    number = b"id: %d\n" % event.seq if event.seq else b""
    return b"%sevent: %s\ndata: %s\n\n" % (number, event.type.encode(), jobview.event(event))


def _too_slow(position: stream.Position) -> bytes:
    detail = orjson.dumps({"detail": "too slow: resume behind this event", "since": position.seq})
    return b"event: stream.overflow\ndata: " + detail + b"\n\n"


def _abort(transport: asyncio.Transport) -> None:
    with contextlib.suppress(AttributeError):  # asyncio's own, where it was closed meanwhile
        transport.abort()


def _cut_off(request: web.Request, last_words: bytes) -> None:
    """Put the last words behind what the reader has not taken yet; if it does not, the connection ends all the same."""
    transport = request.transport
    if transport is not None:
        transport.write(b"%x\r\n%s\r\n" % (len(last_words), last_words))
        asyncio.get_running_loop().call_later(FAREWELL_S, _abort, transport)
        transport.close()


ROUTES = (
    Route(
        "GET",
        "/v1/events",
        sse,
        "Every change, as server-sent events",
        returns=schema.Event,
        query=StreamQuery,
        media="text/event-stream",
        errors=(400, 410, 422),
    ),
    Route(
        "GET",
        "/v1/stream",
        websocket,
        "Every change, over a WebSocket: one JSON text message for each",
        returns=schema.Event,
        query=StreamQuery,
        status=101,
        errors=(400, 410, 422),
    ),
)
