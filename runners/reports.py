"""What a child says through files: its result, its progress, and the tail of its output.

A child may have put anything there: a pipe that nobody writes to, a link, a terabyte. Only regular files are read, and
only as much as is needed.
"""

import math
import os
import stat
from pathlib import Path
from typing import Any, TypeGuard

import orjson

RESULT_BYTES = 64 << 10
TAIL_BYTES = 2 << 10
PROGRESS_BYTES = 64 << 10  # of one look; what came before is old news
MESSAGE_CHARS = 1000


class BadResult(Exception):
    """The result file is there, and cannot be taken."""


class NotRegular(OSError):
    """There is something, and it is no regular file."""


def _read(path: Path, begin: int, limit: int) -> tuple[bytes, int] | None:
    """At most `limit` bytes from `begin` (from the end if negative), and the file's size; None: there is no file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise NotRegular(f"{path} is no regular file")
        return os.pread(descriptor, limit, begin if begin >= 0 else max(0, about.st_size + begin)), about.st_size
    finally:
        os.close(descriptor)


def read_tail(output: Path) -> str:
    """The last 2 KiB of an output, as text."""
    try:
        found = _read(output, -TAIL_BYTES, TAIL_BYTES)
    except OSError:
        found = None
    return found[0].decode(errors="replace") if found else ""


def read_result(path: Path) -> Any:
    """The JSON in a result file; None when there is no file, or an empty one. Raises BadResult."""
    try:
        found = _read(path, 0, RESULT_BYTES + 1)
    except OSError as error:
        raise BadResult(f"the result file $HPCQ_RESULT cannot be read: {error.strerror or error}") from None
    if found is None or not found[0].strip():
        return None
    text, size = found
    if len(text) > RESULT_BYTES:
        raise BadResult(
            f"the result file $HPCQ_RESULT has {size} bytes, at most {RESULT_BYTES} are kept; "
            "write what is large to $HPCQ_ARTIFACTS"
        )
    try:
        result = orjson.loads(text)
        orjson.dumps(result)  # it takes less than it reads: not so many levels
    except (orjson.JSONDecodeError, orjson.JSONEncodeError, RecursionError) as error:
        raise BadResult(f"the result file $HPCQ_RESULT is not JSON that can be kept: {error}") from None
    return result


class Progress:
    """The progress file of an attempt, read as it grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0

    def news(self) -> tuple[float, float | None, str] | None:
        """(done, total, message) of the last good line since the last look; None: nothing new, or nothing good."""
        try:
            found = _read(self._path, self._read, PROGRESS_BYTES)
            if found and found[1] - self._read > PROGRESS_BYTES:
                self._read = found[1] - PROGRESS_BYTES
                found = _read(self._path, self._read, PROGRESS_BYTES)
        except OSError:
            return None
        if not found:
            return None
        whole = found[0][: found[0].rfind(b"\n") + 1]
        self._read += len(whole)
        lines = (_progress(line) for line in reversed(whole.splitlines()))
        return next((line for line in lines if line is not None), None)


def _progress(line: bytes) -> tuple[float, float | None, str] | None:
    """What a line says, if it says it as it should."""
    try:
        said = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(said, dict):
        return None
    done, total, message = said.get("done"), said.get("total"), said.get("message", "")
    if _is_number(done) and (total is None or _is_number(total)) and isinstance(message, str):
        return done, total, message[:MESSAGE_CHARS]
    return None


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
