"""Keywords about the streams of events and output."""

import asyncio
import json
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import aiohttp
from robot.api.deco import keyword

from hpcq.client import Event

from .jobs import A_MINUTE
from .session import Session


class Streams(Session):
    """Server-sent events, WebSocket, output."""

    @keyword
    async def newest_event(self) -> int:
        """The ``seq`` of the newest event: from here on, all is new."""
        return int((await self.client.stats())["last_seq"])

    @keyword
    async def events_should_tell(
        self, job: str, *types: str, since: int = 0, timeout: timedelta = A_MINUTE
    ) -> list[Event]:
        """The stream of server-sent events tells exactly this of the job, in this order; returns the events.

        It reads up to the last of these types.
        """
        found: list[Event] = []
        try:
            async with asyncio.timeout(timeout.total_seconds()), aclosing(self.client.events(since)) as events:
                async for event in events:
                    if event.get("job") == job and "seq" in event:
                        found.append(event)
                    if len(found) == len(types):
                        break
        except TimeoutError:
            pass  # what has come is compared
        told = [event["type"] for event in found]
        assert told == list(types), f"the stream tells {told}, not {list(types)}\n{await self.explained(job)}"
        return found

    @keyword
    async def both_streams_should_tell_the_same(self, since: int, up_to: int) -> list[int]:
        """Server-sent events and WebSocket tell the same events after ``since``, without holes; returns their seqs."""
        async with asyncio.timeout(A_MINUTE.total_seconds()):
            first, second = await asyncio.gather(self._sse(since, up_to), self._web_socket(since, up_to))
        assert first == second, f"the streams differ:\n{first}\n{second}"
        seqs = [event["seq"] for event in first]
        assert seqs == list(range(since + 1, up_to + 1)), f"the stream has holes: {seqs}"
        return seqs

    async def _sse(self, since: int, up_to: int) -> list[Event]:
        found: list[Event] = []
        async with aclosing(self.client.events(since)) as events:
            async for event in events:
                if "seq" in event:
                    found.append(event)
                    if event["seq"] >= up_to:
                        break
        return found

    async def _web_socket(self, since: int, up_to: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        address = f"{self.client.url}/v1/stream"
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(address, params={"since": str(since)}) as socket,
        ):
            async for message in socket:
                event = json.loads(message.data)
                if "seq" in event:
                    found.append(event)
                    if event["seq"] >= up_to:
                        break
        return found

    @keyword
    async def followed_output_should_be(self, job: str, expected: str, timeout: timedelta = A_MINUTE) -> None:
        """What the job prints, read while it runs, up to its end."""
        async with asyncio.timeout(timeout.total_seconds()):
            printed = b"".join([chunk async for chunk in self.client.output(job, attempt=1, follow=True)]).decode()
        assert printed == expected, f"the job printed {printed!r}, not {expected!r}"
