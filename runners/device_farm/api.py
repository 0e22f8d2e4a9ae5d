"""Calls to a farm's API: one account, one pace, and errors that say what kind they are."""

import email.utils
import json
import random
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

import aiohttp

from hpcq_runners.device_farm.credentials import Credentials

T = TypeVar("T")
Kind = Literal["credentials", "busy", "broken", "gone", "refused"]
CALL_S, UPLOAD_S = 8.0, 1200.0
BACKOFF_S, BACKOFF_MAX_S = 10.0, 300.0  # where the farm does not say how long
LONGEST_WAIT_S = 3600.0
SHOWN_CHARS = 300


class FarmError(Exception):
    """A call that failed.

    credentials: refused, somebody has to act · busy: asked for a pause, or full · broken: no sound answer ·
    gone: what was asked for is not there · refused: the request itself is wrong, and would be again.
    """

    def __init__(self, kind: Kind, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.retry_after_s = retry_after_s


class Api:
    """Asks a farm. After a 429 nothing is asked until the pause is over: the account is shared by all attempts."""

    def __init__(self, title: str, credentials: Callable[[], Credentials]) -> None:
        """`credentials` may raise NoCredentials."""
        self._title = title
        self._credentials = credentials
        self._quiet_until = 0.0  # monotonic
        self._failures = 0  # in a row

    async def call(
        self,
        method: str,
        url: str,
        read: Callable[[Any], T],
        *,
        body: Any = None,
        form: aiohttp.FormData | None = None,
        query: Mapping[str, str] | None = None,
        timeout_s: float = CALL_S,
    ) -> T:
        """What `read` makes of the JSON that it answers. Raises FarmError and NoCredentials."""
        quiet_s = self._quiet_until - time.monotonic()
        if quiet_s > 0:
            raise FarmError("busy", f"{self._title} asked for a pause; it lasts another {quiet_s:.0f} s", quiet_s)
        credentials = self._credentials()
        session = aiohttp.ClientSession(  # calls are few: nothing is kept open between them
            headers={"Authorization": credentials.header},
            timeout=aiohttp.ClientTimeout(total=timeout_s),
            trust_env=True,  # proxies
        )
        try:
            async with (
                session,
                session.request(method, url, json=body, data=form, params=query, allow_redirects=False) as answer,
            ):
                text = await answer.text(errors="replace")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            why = f"no answer within {timeout_s:g} s" if isinstance(error, TimeoutError) else _reason(error)
            message = credentials.hide(f"{self._title} cannot be reached: {why}")
            raise FarmError("broken", message, self._backoff_s()) from None
        said = f"{answer.status}: {credentials.hide(_shown(text))}"
        self._check(answer.status, answer.headers.get("Retry-After"), text, said)
        try:
            found = read(json.loads(text) if text.strip() else None)
        except (ValueError, LookupError, TypeError, AttributeError):
            message = f"{self._title} answered something unexpected ({said})"
            raise FarmError("broken", message, self._backoff_s()) from None
        self._failures = 0
        return found

    def _check(self, status: int, retry_after: str | None, text: str, said: str) -> None:
        """Raises FarmError for an answer that is none."""
        if status == 401:
            raise FarmError("credentials", f"{self._title} refused the credentials (401)")
        if status == 429 or (status >= 400 and "QUEUE_SIZE_EXCEEDED" in text):
            wait_s = retry_after_s(retry_after) or self._backoff_s()
            if status == 429:
                self._quiet_until = time.monotonic() + wait_s
            raise FarmError("busy", f"{self._title} asked for a pause ({said})", wait_s)
        if status == 404:
            raise FarmError("gone", f"{self._title} does not know it ({said})")
        if status == 403 or status >= 500 or 300 <= status < 400:
            raise FarmError("broken", f"{self._title} failed ({said})", self._backoff_s())
        if status >= 400:
            raise FarmError("refused", f"{self._title} refused the request ({said})")

    def _backoff_s(self) -> float:
        """Longer with each failure in a row; never the same for two servers of one account."""
        wait_s = min(BACKOFF_MAX_S, BACKOFF_S * 2.0 ** min(self._failures, 10))
        self._failures += 1
        return wait_s * random.uniform(0.5, 1.0)


def retry_after_s(value: str | None) -> float | None:
    """Seconds, from either form of the header; None: it says nothing of use."""
    if not value:
        return None
    try:
        wait_s = float(value)
    except ValueError:
        try:
            wait_s = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return None
    return min(wait_s, LONGEST_WAIT_S) if wait_s > 0 else None


def _reason(error: BaseException) -> str:
    """What went wrong, without the request, which holds the credentials."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"{error.host}:{error.port}: {error.os_error.strerror or type(error.os_error).__name__}"
    return getattr(error, "strerror", None) or type(error).__name__


def _shown(text: str) -> str:
    """A few words of an answer's body."""
    try:
        found = json.loads(text)
        value = found.get("value") if isinstance(found, dict) else None
        parts = [found, value] if isinstance(value, dict) else [found]
        words = [part[name] for part in parts for name in ("message", "error") if isinstance(part.get(name), str)]
        text = " ".join(dict.fromkeys(words)) or text
    except (ValueError, AttributeError):
        pass
    return " ".join(text.split())[:SHOWN_CHARS] or "no body"
