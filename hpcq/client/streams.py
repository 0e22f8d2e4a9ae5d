"""What a server sends as it happens: events (SSE) and a job's output. Both go on where they broke off."""

import json
from collections.abc import AsyncIterator, Callable

import aiohttp

from hpcq.client.errors import NoServer, Problem
from hpcq.client.shapes import Event
from hpcq.client.transport import BROKEN, Patience, Transport, reason


async def events(
    transport: Transport, since: int | None, on_open: Callable[[bool], None] | None
) -> AsyncIterator[Event]:
    """Every change, in order, for ever. `on_open(gap)` is called at each (re)connection; `gap`: some may be missing."""
    seen = since
    patience = Patience(transport.patience_s)
    first = True
    while True:
        query = [("since", str(seen))] if seen is not None else []
        headers = {"Accept": "text/event-stream"}
        try:
            async with transport.stream("/v1/events", query=query, headers=headers) as response:
                patience.answered()
                if on_open is not None:
                    on_open(not first and seen is None)
                first = False
                async for event in parse(response):
                    patience.renew()
                    seen = event.get("seq") or seen  # progress has none
                    yield event
            error: BaseException = ConnectionResetError("the stream ended")
        except BROKEN as broken:
            error = broken
        except Problem as refusal:
            if refusal.status in (410, 422) and not first:  # away for too long, or another store: what is new, then
                seen, error = None, refusal
            elif refusal.status == 503:
                error = refusal
            else:
                raise
        await transport.reconnect(patience, error)


async def parse(response: aiohttp.ClientResponse) -> AsyncIterator[Event]:
    """The events of one SSE answer. Comments (heart-beats) and unknown fields pass unseen."""
    data: list[str] = []
    async for raw in lines(response):
        line = raw.decode("utf-8", "replace")
        if line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line and data:
            event: Event = json.loads("\n".join(data))
            data = []
            if "type" in event:  # else a last word of the stream itself
                yield event


async def lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Lines of any length, without their ends (aiohttp's own iteration refuses long ones)."""
    rest = b""
    async for chunk in response.content.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.removesuffix(b"\r")


async def output(transport: Transport, path: str, query: list[tuple[str, str]], offset: int) -> AsyncIterator[bytes]:
    """The bytes of an attempt's output from `offset` on, as they come; a broken stream goes on at its place."""
    patience = Patience(transport.patience_s)
    while True:
        try:
            place = [*query, ("offset", str(offset))]
            async with transport.stream(path, query=place, headers={"Accept": "*/*"}) as response:
                patience.answered()
                async for chunk in response.content.iter_any():
                    patience.renew()
                    offset += len(chunk)
                    yield chunk
                return
        except BROKEN as broken:
            error: BaseException = broken
        except Problem as refusal:
            if refusal.status != 503:  # it is about to stop, or has just started
                raise
            error = refusal
        await transport.reconnect(patience, error)


async def file(transport: Transport, path: str) -> AsyncIterator[bytes]:
    """A whole file. Raises NoServer when the connection breaks: what came is then not all of it."""
    try:
        async with transport.stream(path, headers={"Accept": "*/*"}) as response:
            async for chunk in response.content.iter_chunked(1 << 18):
                yield chunk
    except BROKEN as error:
        raise NoServer(transport.url, reason(error)) from error
