"""Keywords that talk to hpcq as clients of earlier systems do: plain HTTP and JSON, nothing of hpcq."""

import asyncio
import http.client
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from robot.api.deco import keyword, library

POLL_S = 0.05
REQUEST_S = 30.0
TEN_SECONDS = timedelta(seconds=10)


@library(scope="SUITE", auto_keywords=False)
class Fronts:
    """A client that knows addresses, JSON and status codes.

    | Library         hpcq_acceptance
    | Library         fronts.Fronts
    |
    | ${url} =        Start Server
    | Talk To         ${url}
    | ${answer} =     Post    /submit-job    task_name=TestMatrix    complexity=5
    | Status Should Come To Be    completed    /job/${answer}[job_id]

    Fields of a body are named arguments; text that spells JSON is taken as JSON: ``complexity=5``, ``data=[1, 2]``.
    """

    def __init__(self) -> None:
        self._url = ""
        self._session: aiohttp.ClientSession | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._heard: list[dict[str, Any]] = []

    @keyword
    def talk_to(self, url: str) -> None:
        """The address of the server: ``http://127.0.0.1:8000``."""
        self._url = url

    # Requests.

    @keyword
    async def get(self, path: str, answers_with: int = 200) -> Any:
        """GET; returns the JSON of the answer, which must have this status."""
        return await asyncio.to_thread(self._request, "GET", path, None, answers_with)

    @keyword
    async def post(self, path: str, answers_with: int = 200, **fields: Any) -> Any:
        """POST a JSON object of these fields; returns the JSON of the answer."""
        return await asyncio.to_thread(self._request, "POST", path, _body(fields), answers_with)

    @keyword
    async def patch(self, path: str, answers_with: int = 200) -> Any:
        """PATCH without a body; returns the JSON of the answer."""
        return await asyncio.to_thread(self._request, "PATCH", path, None, answers_with)

    @keyword
    async def answer_should_have_header(self, path: str, answers_with: int, header: str) -> str:
        """GET; the answer has this status and this header, whose value is returned."""
        found, headers, _ = await asyncio.to_thread(self._exchange, "GET", path, None)
        assert found == answers_with, f"GET {path} is answered with {found}, not {answers_with}"
        assert header in headers, f"GET {path} has the headers {sorted(headers)}, not {header}"
        return headers[header]

    @keyword
    async def status_should_come_to_be(self, status: str, path: str, timeout: timedelta = TEN_SECONDS) -> Any:
        """GET again and again until the field ``status`` has this value; returns the whole answer."""
        ends = time.monotonic() + timeout.total_seconds()
        while (answer := await self.get(path))["status"] != status:
            assert time.monotonic() < ends, f"GET {path}: not {status} within {timeout}; the last answer was {answer}"
            await asyncio.sleep(POLL_S)
        return answer

    # The stream.

    @keyword
    async def open_stream(self, path: str) -> None:
        """Listen to a WebSocket."""
        self._heard = []
        self._session = aiohttp.ClientSession()
        self._socket = await self._session.ws_connect(f"{self._url}{path}")

    @keyword
    async def stream_should_tell(self, job: str, *statuses: str, timeout: timedelta = TEN_SECONDS) -> None:
        """Text messages come that give the job these statuses, in this order."""
        assert self._socket is not None, "use the keyword Open Stream first"
        told: list[str] = []
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout.total_seconds()):
                while told != list(statuses):
                    self._heard.append(json.loads(await self._socket.receive_str()))
                    told = [message["status"] for message in self._heard if message["job_id"] == job]
                return
        raise AssertionError(f"the stream told {told} of job {job}, not {list(statuses)}")

    @keyword
    async def close_stream(self) -> None:
        """Listen no more."""
        for each in (self._socket, self._session):
            if each is not None:
                await each.close()
        self._socket = self._session = None

    def _request(self, method: str, path: str, body: bytes | None, status: int) -> Any:
        found, headers, answer = self._exchange(method, path, body)
        text = answer.decode(errors="replace")
        assert found == status, f"{method} {path} is answered with {found}, not {status}: {text}"
        assert "json" in headers.get("Content-Type", ""), f"{method} {path} is answered with {headers}"
        return json.loads(answer)

    def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[int, Mapping[str, str], bytes]:
        place = urlsplit(self._url)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=REQUEST_S)
        try:
            kind = {} if body is None else {"Content-Type": "application/json"}
            connection.request(method, path, body, {"Accept": "application/json", **kind})
            answer = connection.getresponse()
            return answer.status, dict(answer.headers), answer.read()
        finally:
            connection.close()


def _body(fields: Mapping[str, Any]) -> bytes:
    return json.dumps({name: _value(given) for name, given in fields.items()}).encode()


def _value(given: Any) -> Any:
    if not isinstance(given, str):
        return given
    try:
        return json.loads(given)
    except ValueError:
        return given
