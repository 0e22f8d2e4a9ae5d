"""The one inbox of the engine: what has happened, in order, until the consumer takes all of it for a round."""

import asyncio
from collections import deque
from collections.abc import Iterable

from hpcq.core.events import Started
from hpcq.engine.messages import Message

PATIENCE_S = 0.004  # so long the start of an attempt may wait for company: a short job's end, and one commit for both


class Inbox:
    """Filled from the loop's own thread, emptied by one consumer."""

    def __init__(self) -> None:
        self._messages: deque[Message] = deque()
        self._ready = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._bell: asyncio.TimerHandle | None = None

    def put(self, message: Message) -> None:
        """Behind all others. That an attempt has begun is in no hurry: it is on disk as `starting`."""
        self._messages.append(message)
        if type(message) is not Started:
            self._ready.set()
        elif self._bell is None:
            self._bell = self._loop.call_later(PATIENCE_S, self._ring)

    def _ring(self) -> None:
        self._bell = None
        if self._messages:
            self._ready.set()

    def put_back(self, messages: Iterable[Message]) -> None:
        """In front of all others, in their order; the consumer takes them when something wakes it."""
        self._messages.extendleft(reversed(list(messages)))

    def wake(self) -> None:
        """Let the consumer look."""
        self._ready.set()

    async def take(self) -> list[Message]:
        """Wait until there is something, then take all of it."""
        while True:
            await self._ready.wait()
            self._ready.clear()
            if self._messages:
                taken = list(self._messages)
                self._messages.clear()
                return taken
