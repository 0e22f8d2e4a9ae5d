"""What the event streams share: where to begin, the splice of kept and live events, and the end of a slow reader."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from aiohttp import web

from hpcq.api.problem import Problem, at_parameter
from hpcq.api.query import StreamQuery
from hpcq.api.table import Call
from hpcq.engine.hub import Subscription
from hpcq.engine.spec import MAX_INT

if TYPE_CHECKING:
    from hpcq.store.rows import EventRow

PAGE = 500  # kept events read at a time
QUIET_S = 15.0  # a stream says at least so often that it is there
STUCK_S = 30.0  # a reader that takes nothing for so long is cut off
SUBSCRIPTION = web.RequestKey("subscription", Subscription)


class Slow(Exception):
    """The reader lags too far behind, or takes nothing at all."""


class Position:
    """The seq of the last event that was sent: the next connection resumes behind it."""

    def __init__(self, seq: int) -> None:
        self.seq = seq


async def begin(call: Call[StreamQuery, None]) -> Position:
    """Behind which event to begin. Raises Problem 410 with the oldest seq when what follows it is no longer kept."""
    since = _since(call.request, call.query.since)
    reader = call.engine.reader
    last = await reader.last_seq()
    if since is None:
        return Position(last)
    if since > last:
        raise at_parameter("since", f"{since} is ahead of the newest event, {last}")
    oldest = await reader.oldest_seq()
    if 0 < since < (oldest or 0) - 1:
        raise Problem(410, f"the events behind {since} are no longer kept; the oldest is {oldest}", oldest=oldest)
    return Position(since)


async def follow(call: Call[StreamQuery, None], position: Position) -> AsyncGenerator[Sequence["EventRow"], None]:
    """Lists of events, without gap or repetition; an empty one every QUIET_S. Ends with the server. Raises Slow."""
    async for page in _kept(call, position):
        yield page
    hub, org = call.engine.hub, call.caller.org
    subscription = hub.subscribe(org, call.settings.limits.events_per_client)
    call.request[SUBSCRIPTION] = subscription
    try:
        async for page in _kept(call, position):
            yield page
        async for events in _live(subscription):
            fresh = [event for event in events if not event.seq or event.seq > position.seq]
            yield fresh
            position.seq = max([position.seq, *(event.seq for event in fresh)])
        if subscription.overflowed:
            raise Slow
    finally:
        hub.unsubscribe(subscription)


async def send(request: web.Request, sending: Callable[[], Awaitable[Any]]) -> None:
    """Await `sending`, but no longer than its reader deserves. Raises Slow."""
    task = asyncio.ensure_future(sending())
    for _ in range(round(STUCK_S)):
        await asyncio.wait({task}, timeout=1.0)
        if task.done():
            return task.result()  # type: ignore[no-any-return]
        subscription = request.get(SUBSCRIPTION)
        if subscription is not None and subscription.overflowed:
            break
    task.cancel()
    raise Slow


async def _kept(call: Call[StreamQuery, None], position: Position) -> AsyncIterator[Sequence["EventRow"]]:
    while page := await call.engine.reader.events_after(call.caller.org, position.seq, PAGE):
        yield page
        position.seq = page[-1].seq
        if len(page) < PAGE:
            return


async def _live(subscription: Subscription) -> AsyncIterator[Sequence["EventRow"]]:
    events = aiter(subscription)
    coming = asyncio.ensure_future(anext(events, None))
    try:
        while True:
            await asyncio.wait({coming}, timeout=QUIET_S)
            if not coming.done():
                yield []
                continue
            if (batch := coming.result()) is None:
                return
            yield batch
            coming = asyncio.ensure_future(anext(events, None))
    finally:
        coming.cancel()


def _since(request: web.Request, query: int | None) -> int | None:
    header = request.headers.get("Last-Event-ID")
    if header is None:
        return query
    if not (header.isascii() and header.isdigit() and int(header[:20]) <= MAX_INT):
        raise Problem(400, f"Last-Event-ID must be the seq of an event; found {header[:100]!r}")
    return int(header)
