"""Waiting for a condition, with a deadline; never for a fixed time."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
POLL_S = 0.005


async def wait_until(condition: Callable[[], T], timeout_s: float = 10.0, what: str = "the condition") -> T:
    """The first true value of `condition`; AssertionError when there was none in `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not come true in {timeout_s} s; last value: {value!r}"
        await asyncio.sleep(POLL_S)
    return value


def wait_until_blocking(condition: Callable[[], T], timeout_s: float = 10.0, what: str = "the condition") -> T:
    """As `wait_until`, where there is no event loop."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not come true in {timeout_s} s; last value: {value!r}"
        time.sleep(POLL_S)
    return value
