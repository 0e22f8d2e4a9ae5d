"""Many jobs in one body: parsed piece by piece as it comes, so that no step holds up the loop."""

import asyncio
import codecs
import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any, NoReturn, Protocol

import orjson

from hpcq.api.json_body import MAX_DEPTH, check, check_depth
from hpcq.api.problem import Problem

SLICE_BYTES = 65536  # what is parsed before the loop gets its turn

_SPACE = re.compile(r"[ \t\n\r]*")
_MAY_GO_ON = re.compile(
    r"[0-9.eE+-]*[ \t\n\r]*\Z"
)  # behind a value at the end of a piece: half a number, or no comma yet


class Parser(Protocol):
    """Takes the body in pieces, gives the jobs in it."""

    def feed(self, piece: bytes) -> Iterator[Any]: ...
    def end(self) -> Iterator[Any]: ...


async def collect(body: AsyncIterator[bytes], parser: Parser, most: int) -> list[Any]:
    """All jobs of a body. Raises Problem: 400 with the index of the job that is no JSON, 413 for more than `most`."""
    jobs: list[Any] = []
    async for chunk in body:
        for start in range(0, len(chunk), SLICE_BYTES):
            jobs.extend(parser.feed(chunk[start : start + SLICE_BYTES]))
            if len(jobs) > most:
                raise Problem(413, f"more than {most} jobs in one request; send them in several", limit_jobs=most)
            await asyncio.sleep(0)
    jobs.extend(parser.end())
    if len(jobs) > most:
        raise Problem(413, f"more than {most} jobs in one request; send them in several", limit_jobs=most)
    if not jobs:
        raise Problem(422, "no job in the list", [{"pointer": "", "detail": "give at least one job"}])
    return jobs


def refuse(index: int, detail: str) -> NoReturn:
    """400 that names the job by its index."""
    raise Problem(400, f"job {index} is not JSON: {detail}", [{"pointer": f"/{index}", "detail": detail}])


class Lines:
    """NDJSON: a job a line; empty lines are skipped."""

    def __init__(self, longest: int) -> None:
        self._longest = longest  # bytes of one job
        self._rest = b""
        self._line = 0
        self._index = 0

    def feed(self, piece: bytes) -> Iterator[Any]:
        """The jobs whose lines have ended."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            self._line += 1
            if line and not line.isspace():
                yield self._job(line)
        self._fits(self._rest)

    def end(self) -> Iterator[Any]:
        """The job on a last line without an end."""
        self._line += 1
        if self._rest.strip():
            yield self._job(self._rest)
        self._rest = b""

    def _job(self, line: bytes) -> Any:
        self._fits(line)
        try:
            job = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            refuse(self._index, f"line {self._line} of the body, {error.msg}, character {error.pos}")
        check(job, line, f"/{self._index}")
        self._index += 1
        return job

    def _fits(self, line: bytes) -> None:
        if len(line) > self._longest:
            raise Problem(413, f"job {self._index} is larger than {self._longest} bytes", limit_bytes=self._longest)


class Elements:
    """A JSON array: its elements, one after the other."""

    def __init__(self, longest: int) -> None:
        self._longest = longest  # characters of one job
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._json = json.JSONDecoder(parse_constant=self._no_constant)
        self._text = ""
        self._index = 0
        self._before = "["  # what must come next: "[", then "," or "]"; "" once the array has ended

    def feed(self, piece: bytes) -> Iterator[Any]:
        """The elements that are complete: those with a comma or the end behind them."""
        try:
            text = self._decoder.decode(piece)
        except UnicodeDecodeError as error:
            yield from self._elements(self._text + str(error.object[: error.start], "utf-8"), final=False)
            refuse(self._index, f"not UTF-8: {error.reason}")
        yield from self._elements(self._text + text, final=False)
        if len(self._text) > self._longest:
            raise self._too_large()

    def end(self) -> Iterator[Any]:
        """What is left. Raises Problem when the array has no end."""
        yield from self._elements(self._text, final=True)
        if self._before or self._decoder.getstate()[0]:
            refuse(self._index, "the body ends in the middle of the array")

    def _elements(self, text: str, *, final: bool) -> Iterator[Any]:
        """Walk `text`; keep in `self._text` what begins with the first element that may still be incomplete."""
        here = 0
        while True:
            start = _skip(text, here)
            if start == len(text):
                break
            if not self._before:
                refuse(self._index, "something stands behind the end of the array")
            if self._before == "[":  # the caller has seen the bracket
                self._before, here = "first", start + 1
                continue
            if self._before == "first" and text[start] == "]":
                self._before, here = "", start + 1
                continue
            found = self._one(text, start, final=final)
            if found is None:
                break
            job, here = found
            yield job
        self._text = text[here:]

    def _one(self, text: str, start: int, *, final: bool) -> tuple[Any, int] | None:
        """The element at `start` and the place behind its comma or bracket; None: it may be incomplete."""
        try:
            job, end = self._json.raw_decode(text, start)
        except json.JSONDecodeError as error:
            if final:
                refuse(self._index, f"{error.msg}, character {error.pos - start} of the job")
            return None
        except RecursionError:
            refuse(self._index, f"nested deeper than {MAX_DEPTH} levels")
        except ValueError as error:  # an integer of thousands of digits
            refuse(self._index, str(error))
        after = _skip(text, end)
        if not final and _MAY_GO_ON.match(text, end):
            return None
        if after == len(text):
            refuse(self._index, "the body ends behind this job, in the middle of the array")
        if text[after] not in ",]":
            refuse(self._index, f"expected , or ] behind the job, found {text[after]!r}")
        self._check(job, text, start, end)
        self._before = "," if text[after] == "," else ""
        self._index += 1
        return job, after + 1

    def _too_large(self) -> Problem:
        detail = f"job {self._index} is larger than {self._longest} characters, or never ends"
        return Problem(413, detail, limit_bytes=self._longest)

    def _check(self, job: Any, text: str, start: int, end: int) -> None:
        """What the standard library's parser lets through: deep nesting, and halves of surrogate pairs."""
        if end - start > self._longest:
            raise self._too_large()
        if end - start > 2 * MAX_DEPTH and text.count("[", start, end) + text.count("{", start, end) > MAX_DEPTH:
            check_depth(job, f"/{self._index}")
        if text.find("\\u", start, end) >= 0:
            try:
                orjson.loads(text[start:end])
            except orjson.JSONDecodeError as error:
                refuse(self._index, f"{error.msg}, character {error.pos} of the job")

    def _no_constant(self, name: str) -> NoReturn:
        refuse(self._index, f"{name} is no JSON number")


def _skip(text: str, start: int) -> int:
    match = _SPACE.match(text, start)
    return match.end() if match else start
