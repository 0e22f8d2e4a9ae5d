"""Hands committed events to whoever listens. A listener that lags too far behind is cut off and told so."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence

from hpcq.store.rows import EventRow


class Subscription:
    """One listener's queue. Iterate it for lists of events; it ends when the hub closes or the listener lags."""

    def __init__(self, org: str | None, limit: int) -> None:
        self.org = org
        self.overflowed = False
        self._limit = limit
        self._pending: deque[EventRow] = deque()
        self._ready = asyncio.Event()
        self._closed = False

    def push(self, events: Sequence[EventRow]) -> None:
        """Queue what this listener may see."""
        if self.overflowed:
            return
        if self.org is None:
            self._pending.extend(events)
        else:
            self._pending.extend(event for event in events if event.org_id in (None, self.org))
        if len(self._pending) > self._limit:
            self.overflowed = True
            self._pending.clear()
        self._ready.set()

    def close(self) -> None:
        self._closed = True
        self._ready.set()

    def _taken(self) -> list[EventRow]:
        events = list(self._pending)
        self._pending.clear()
        return events

    async def __aiter__(self) -> AsyncIterator[list[EventRow]]:
        while True:
            await self._ready.wait()
            self._ready.clear()
            if self._pending:
                yield self._taken()
            if self.overflowed or self._closed:
                return


class EventHub:
    """All listeners."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()
        self.closed = False

    @property
    def listeners(self) -> int:
        return len(self._subscriptions)

    def subscribe(self, org: str | None, limit: int = 1000) -> Subscription:
        """Listen from now on; `org` None: to all orgs."""
        subscription = Subscription(org, limit)
        if self.closed:
            subscription.close()
        self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        self._subscriptions.discard(subscription)
        subscription.close()

    def publish(self, events: Sequence[EventRow]) -> None:
        """Hand out events that are on disk (or live progress, which never is)."""
        if events:
            for subscription in list(self._subscriptions):
                subscription.push(events)

    def close(self) -> None:
        """End all subscriptions."""
        self.closed = True
        for subscription in self._subscriptions:
            subscription.close()
