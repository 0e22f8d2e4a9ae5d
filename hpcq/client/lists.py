"""What a server has many of: lists that are read page by page."""

from collections.abc import AsyncIterator
from typing import Any

from hpcq.client.transport import Query, Transport

PAGE = 1000


async def items(
    transport: Transport, path: str, name: str, query: Query, limit: int | None = None
) -> AsyncIterator[Any]:
    """All items of the list that an answer has as `name`, or the first `limit`."""
    cursor: str | None = None
    left = limit
    while left is None or left > 0:
        size = PAGE if left is None else min(PAGE, left)
        place = [("cursor", cursor)] if cursor else []
        page = (await transport.request("GET", path, query=[*query, ("limit", str(size)), *place])).json()
        for item in page[name]:
            yield item
        cursor = page.get("next_cursor")
        if not cursor:
            return
        left = None if left is None else left - len(page[name])
