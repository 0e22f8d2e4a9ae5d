"""Wait until something is true, or say what it was instead."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
POLL_S = 0.02


async def until(
    look: Callable[[], Awaitable[T]],
    good: Callable[[T], bool],
    *,
    timeout_s: float,
    what: str,
    explain: Callable[[], Awaitable[str]] | None = None,
) -> T:
    """The first value that is good. AssertionError after `timeout_s`, with the last value and what `explain` says."""
    ends = time.monotonic() + timeout_s
    while not good(value := await look()):
        if time.monotonic() > ends:
            why = f"\n{await explain()}" if explain else ""
            raise AssertionError(f"{what}: not within {timeout_s:g} s; the last value was {value!r}{why}")
        await asyncio.sleep(POLL_S)
    return value
