"""Request bodies: read within a deadline and a size, parsed strictly, refused by naming the place."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import orjson
from aiohttp import web
from aiohttp.web_protocol import RequestPayloadError

from hpcq.api.problem import Problem, at
from hpcq.engine.spec import MAX_INT

MAX_DEPTH = 100  # of nested arrays and objects; the writer of the store's JSON gives up at 254
BODY_GRACE_S = 15.0  # a body may take this long,
BODY_BYTES_PER_S = 65536.0  # and a second more for each so many bytes that have come,
BODY_IDLE_S = 20.0  # but no pause may be longer

_DIGITS = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBER = b"0" * 19  # shorter ones fit 63 bits
_TOO_BIG = object()


async def read(request: web.Request, limit: int) -> bytes:
    """The whole body, at most `limit` bytes. Raises Problem: 400, 408, 413."""
    return b"".join([chunk async for chunk in chunks(request, limit)])


def at_hand(request: web.Request, limit: int) -> bytes | None:
    """The whole body where it came with the head and is small, as almost every one; else None, and nothing is read."""
    content = request.content
    if not content.is_eof() or content.exception() is not None or content.total_bytes > limit:
        return None
    return content.read_nowait()


async def chunks(request: web.Request, limit: int) -> AsyncIterator[bytes]:
    """The body as it comes. Raises Problem: 400 for a broken encoding, 408 for one that dawdles, 413."""
    if (request.content_length or 0) > limit:
        raise too_large(limit)
    content, received = request.content, 0
    if content.is_eof() and content.exception() is None:  # it came with the head: no clock needed
        yield content.read_nowait()
        return
    loop = asyncio.get_running_loop()
    start = loop.time() + BODY_GRACE_S
    while not content.at_eof():
        try:
            async with asyncio.timeout_at(min(start + received / BODY_BYTES_PER_S, loop.time() + BODY_IDLE_S)):
                chunk = await content.readany()
        except TimeoutError:
            raise Problem(408, f"the body did not come in time: {received} bytes so far") from None
        except (RequestPayloadError, web.HTTPException, ValueError) as error:
            raise Problem(400, f"the body cannot be read: {error}") from None
        received += len(chunk)
        if received > limit:
            raise too_large(limit)
        yield chunk


def too_large(limit: int) -> Problem:
    """413 with the limit."""
    return Problem(413, f"the body is larger than {limit} bytes", limit_bytes=limit)


def parse(text: bytes) -> Any:
    """Strict JSON. Raises Problem: 400 where it is none, 422 for numbers and nesting that cannot be kept."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Problem(400, f"the body is not JSON: {error}") from None
    check(value, text)
    return value


def check(value: Any, text: bytes, prefix: str = "") -> None:
    """Refuse what the parser lets through: integers beyond 63 bits, which it rounds, and deep nesting."""
    if len(text) > 2 * MAX_DEPTH and text.count(b"[") + text.count(b"{") > MAX_DEPTH:
        check_depth(value, prefix)
    if len(text) >= len(_LONG_NUMBER) and _LONG_NUMBER in text.translate(_DIGITS):
        check_numbers(text, prefix)


def check_depth(value: Any, prefix: str = "") -> None:
    """Raises Problem 422 when arrays and objects are nested deeper than MAX_DEPTH."""
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise at(prefix + _deepest(value), f"nested deeper than {MAX_DEPTH} levels")


def check_numbers(text: bytes, prefix: str = "") -> None:
    """Raises Problem 422 that names every integer outside of -2^63 … 2^63-1."""
    exact = json.loads(text, parse_int=_exact)
    places = [prefix + place for place, leaf in _leaves(exact) if leaf is _TOO_BIG]
    if places:
        detail = "an integer must lie between -2^63 and 2^63-1"
        raise Problem(422, detail, [{"pointer": place, "detail": detail} for place in places])


def _exact(digits: str) -> Any:
    return int(digits) if len(digits) <= 20 and -MAX_INT - 1 <= int(digits) <= MAX_INT else _TOO_BIG


def _leaves(value: Any) -> list[tuple[str, Any]]:
    """Every number, string, … with its JSON pointer."""
    found: list[tuple[str, Any]] = []
    todo: list[tuple[str, Any]] = [("", value)]
    while todo:
        place, here = todo.pop()
        if isinstance(here, dict | list):
            pairs = here.items() if isinstance(here, dict) else enumerate(here)
            todo.extend((f"{place}/{escaped(key)}", inner) for key, inner in pairs)
        else:
            found.append((place, here))
    return found


def _deepest(value: Any) -> str:
    """The pointer to a place that is MAX_DEPTH deep, cut after its third part: enough to find it."""
    todo: list[tuple[tuple[Any, ...], int, Any]] = [((), 1, value)]
    while todo:
        place, depth, here = todo.pop()
        if depth > MAX_DEPTH:
            return "".join(f"/{escaped(key)}" for key in place)
        pairs = here.items() if isinstance(here, dict) else enumerate(here)
        todo.extend(
            (place if len(place) == 3 else (*place, key), depth + 1, inner)
            for key, inner in pairs
            if isinstance(inner, dict | list)
        )
    return ""


def escaped(part: object) -> str:
    """One part of a JSON pointer."""
    return str(part).replace("~", "~0").replace("/", "~1")
