"""One HTTP session with one server: repeats what may be repeated, and turns refusals into `Problem`."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

import aiohttp
from yarl import URL

from hpcq.client.errors import ClientError, Interrupted, NoServer, Problem
from hpcq.client.shapes import FieldError

Query = Sequence[tuple[str, str]]
Body = bytes | Callable[[], AsyncIterator[bytes]]  # a stream is made anew for each try
OnOutage = Callable[[str | None], None]  # why the server does not answer any more; None: it does again

CONNECT_S = 5.0
READ_S = 60.0  # a silent connection is taken for dead after this
FIRST_PAUSE_S = 0.05
LAST_PAUSE_S = 1.0
BUSY_S = 15.0  # a server that answers "not now" is asked again for so long

# What a broken connection raises; those of NOT_SENT before anything went out.
BROKEN = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError, ConnectionError)
NOT_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


@dataclass(frozen=True)
class Answer:
    """A response, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Its body as JSON."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise ClientError("whoever answers there is no hpcq server: the answer is not JSON") from error


class Patience:
    """How long to go on trying: `limit_s` from the first failure after a sign of life, with growing pauses."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self.renew()

    def renew(self) -> None:
        """It works: the next failure is a first one."""
        self.answered()
        self._pause_s = FIRST_PAUSE_S

    def answered(self) -> None:
        """A sign of life, but nothing came of it yet: pauses go on growing."""
        self._until: float | None = None

    async def pause(self, at_least_s: float = 0.0) -> bool:
        """Wait before the next try; False: patience is at its end."""
        if self._until is None:
            self._until = time.monotonic() + self._limit_s
        pause_s = max(self._pause_s, at_least_s)
        if time.monotonic() + pause_s > self._until:
            return False
        await asyncio.sleep(pause_s)
        self._pause_s = min(LAST_PAUSE_S, self._pause_s * 2)
        return True


class Transport:
    """Requests to `url`. Before the first answer a refused connection is `NoServer` at once; after it the server is
    taken to be restarting, and what can be repeated without harm is repeated for `patience_s`."""

    def __init__(self, url: str, token: str | None, patience_s: float, on_outage: OnOutage | None = None) -> None:
        self.url = address(url)
        self.patience_s = patience_s
        self.met = False  # it has answered once
        self._on_outage = on_outage
        self._silent = False
        self._token = token
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> Self:
        headers = {"Accept": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        self._session = aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=32))
        return self

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
        read_s: float = READ_S,
        repeatable: bool = True,
        patient: bool = True,
    ) -> Answer:
        """Raises Problem for a status of 400 and above, NoServer, and Interrupted where `repeatable` is False.

        A server that is full or restarting is asked again, unless `patient` is False."""
        patience, busy = Patience(self.patience_s), Patience(min(BUSY_S, self.patience_s))
        while True:
            try:
                async with self._send(method, path, query=query, body=body, headers=headers, read_s=read_s) as response:
                    answer = Answer(response.status, response.headers, await response.read())
            except BROKEN as error:
                if not repeatable and not isinstance(error, NOT_SENT):
                    raise Interrupted(self.url, f"{method} {path}") from error
                await self.reconnect(patience, error)
                continue
            if answer.status < 400:
                return answer
            busy_s = _busy_s(answer)
            if busy_s is None or not patient or not await busy.pause(busy_s):
                raise problem(answer)

    @asynccontextmanager
    async def stream(
        self, path: str, *, query: Query = (), headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer to be read as it comes. Raises what a broken connection raises: repeating is the reader's."""
        async with self._send("GET", path, query=query, headers=headers) as response:
            if response.status >= 400:
                raise problem(Answer(response.status, response.headers, await response.read()))
            yield response

    async def reconnect(self, patience: Patience, error: BaseException) -> None:
        """After a broken connection: wait, or raise NoServer."""
        if self.met and isinstance(error, (*NOT_SENT, TimeoutError)):
            self._tell(reason(error))
        if not self.met or not await patience.pause():
            raise NoServer(self.url, reason(error)) from error

    @property
    def silent(self) -> bool:
        """It has answered once, and does no more."""
        return self._silent

    def _tell(self, outage: str | None) -> None:
        """At the first failure, and at the next answer."""
        if self._silent is (outage is None):
            self._silent = outage is not None
            if self._on_outage is not None:
                self._on_outage(outage)

    @asynccontextmanager
    async def _send(
        self,
        method: str,
        path: str,
        *,
        query: Query,
        headers: Mapping[str, str] | None,
        body: Body | None = None,
        read_s: float = READ_S,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session is None:
            raise RuntimeError("open the client first: async with Client(url) as client")
        all_headers = dict(headers or {})
        if body is not None:
            all_headers.setdefault("Content-Type", "application/json")
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=read_s)
        url = URL(self.url + path, encoded=True).with_query(query)
        async with self._session.request(
            method,
            url,
            data=body() if callable(body) else body,
            headers=all_headers,
            timeout=timeout,
            allow_redirects=False,
        ) as response:
            self.met = True
            self._tell(None)
            yield response


def address(text: str) -> str:
    """A server's address without a slash at its end; `http://` may be left out. Raises ClientError."""
    url = text.strip()
    url = url if "://" in url else f"http://{url}"
    try:
        parsed = URL(url)
        good = parsed.scheme in ("http", "https") and bool(parsed.host) and parsed.port is not None
    except ValueError:
        good = False
    if not good:
        raise ClientError(f"{text!r} is no address of a server: write it like http://127.0.0.1:8000")
    return url.rstrip("/")


def reason(error: BaseException) -> str:
    """Why a connection failed, in a few words."""
    if isinstance(error, aiohttp.ClientSSLError):
        cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
        why = getattr(cause, "verify_message", "") or getattr(cause, "reason", "") or str(cause)
        why = why.replace("_", " ").lower()
        return f"TLS failed: {why}; hpcq itself speaks plain http, and https only by a proxy before it"
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
        return os.strerror(number).lower() if number and number > 0 else error.os_error.strerror or str(error)
    return str(error) or type(error).__name__


def _busy_s(answer: Answer) -> float | None:
    """Seconds after which a server that is full or restarting asks to be tried again."""
    if answer.status not in (429, 503):
        return None
    try:
        return float(answer.headers.get("Retry-After", ""))
    except ValueError:
        return None


def problem(answer: Answer) -> Problem:
    """The refusal in an answer; one that is not a problem document (of a proxy, say) keeps its first line."""
    try:
        body = json.loads(answer.body)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        first = answer.body.decode("utf-8", "replace").strip().splitlines()
        return Problem(answer.status, f"HTTP {answer.status}", first[0][:200] if first else "")
    found = Problem(
        answer.status,
        str(body.get("title") or f"HTTP {answer.status}"),
        str(body.get("detail") or ""),
        [_field_error(error) for error in body.get("errors") or [] if isinstance(error, dict)],
    )
    found.body = body
    return found


def _field_error(error: Mapping[str, Any]) -> FieldError:
    return {
        "pointer": str(error.get("pointer") or error.get("parameter") or ""),
        "detail": str(error.get("detail", "")),
    }
