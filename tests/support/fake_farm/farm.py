"""A device farm on loopback, over real HTTP, for tests and nothing else. It runs on a thread of its own.

It speaks as BrowserStack and LambdaTest do: the shapes are those of recorded traffic and of the farms' pages.
"""

import asyncio
import hashlib
import json
import threading
import uuid
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from aiohttp import web

BODY: web.RequestKey[Any] = web.RequestKey("body", object)
FULL = (
    "[BROWSERSTACK_QUEUE_SIZE_EXCEEDED] All parallel tests are currently in use, including the queued tests. "
    "Please wait to finish or upgrade your plan to add more sessions."
)
NO_APP = (
    "[BROWSERSTACK_INVALID_APP_CAP] The app_url/ custom_id/ shareable_id specified in the 'app' capability is invalid."
)


@dataclass
class Asked:
    """A request that was made, without its credentials."""

    method: str
    path: str
    query: dict[str, str]
    host: str
    body: Any = None


@dataclass
class Upload:
    """A file, or an address, that the farm was given."""

    url: str
    purpose: str
    name: str
    sha256: str


@dataclass
class Opened:
    """A session; `live` until it is closed."""

    id: str
    name: str
    build: str
    app: str
    capabilities: dict[str, Any]
    live: bool = True
    status: str = "running"
    was_named: str = ""  # when it was opened

    def __post_init__(self) -> None:
        self.was_named = self.name


@dataclass
class Build:
    """A farm build. Its devices' names say what becomes of it: Passes…, Fails…, Breaks…, Lasts…."""

    id: str
    framework: str
    asked: dict[str, Any]
    polls_left: int = 2
    stopped: bool = False

    @property
    def fate(self) -> str:
        return str(self.asked["devices"][0]).split("-")[0]

    @property
    def status(self) -> str:
        if self.stopped:
            return "stopped"
        if self.fate == "Lasts" or self.polls_left > 0:
            return "running"
        return {"Passes": "passed", "Fails": "failed", "Breaks": "error"}[self.fate]


@dataclass
class Scripted:
    """An answer in place of the usual one."""

    method: str
    path: str  # a part of it
    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)
    times: int = 1


class FakeFarm:
    """The farm's state, which tests read and change from their own thread, and its server."""

    user = "farm-user"

    def __init__(self) -> None:
        self.key = f"key-{uuid.uuid4().hex}"
        self.allowed = 5
        self.others = 0  # sessions of others of the account
        self.asked: list[Asked] = []
        self.uploads: list[Upload] = []
        self.dropped: set[str] = set()
        self.sessions: dict[str, Opened] = {}
        self.builds: dict[str, Build] = {}
        self.scripted: list[Scripted] = []
        self.upload_gate: threading.Event | None = None  # uploads wait for it
        self.url = ""
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> "FakeFarm":
        self._thread.start()
        assert self._ready.wait(10), "the fake farm did not start"
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)

    # What a test asks for and says.

    @property
    def env(self) -> dict[str, str]:
        """For the server, as for BrowserStack."""
        return {"BROWSERSTACK_USERNAME": self.user, "BROWSERSTACK_ACCESS_KEY": self.key}

    @property
    def settings(self) -> dict[str, str]:
        """Of a queue."""
        return {"api_url": self.url, "hub_url": self.url}

    @property
    def live(self) -> list[Opened]:
        """Sessions that are open."""
        return [session for session in self.sessions.values() if session.live]

    def count(self, method: str, path: str) -> int:
        """How often this was asked."""
        return sum(asked.method == method and path in asked.path for asked in list(self.asked))

    def answer(
        self,
        method: str,
        path: str,
        status: int,
        body: Any = None,
        headers: dict[str, str] | None = None,
        times: int = 1,
    ) -> None:
        """Answer so, the next `times` that it is asked for a path with this part."""
        self.scripted.append(Scripted(method, path, status, body, headers or {}, times))

    def open_session(self, name: str, build: str = "somebody's build") -> str:
        """A session that somebody opened."""
        session = Opened(uuid.uuid4().hex, name, build, "bs://any", {})
        self.sessions[session.id] = session
        return session.id

    # The server.

    async def _serve(self) -> None:
        from tests.support.fake_farm import browserstack, lambdatest

        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(client_max_size=1 << 30, middlewares=[self._gate])
        app.add_routes([*browserstack.routes(self), *lambdatest.routes(self)])
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        self._ready.set()
        await self._over.wait()
        await runner.cleanup()

    @web.middleware
    async def _gate(self, request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
        body = await _body(request)
        self.asked.append(Asked(request.method, request.path, dict(request.query), request.host, body))
        for scripted in self.scripted:
            if scripted.times > 0 and scripted.method == request.method and scripted.path in request.path:
                scripted.times -= 1
                return answer(scripted.body, scripted.status, scripted.headers)
        wanted = "Basic " + b64encode(f"{self.user}:{self.key}".encode()).decode()
        given = request.headers.get("Authorization")
        inside = request.path.startswith(("/wd/hub/session/", "/video/"))  # where WebDriver's client sends none
        if given != wanted and not (inside and given is None):
            return web.Response(status=401, text="Invalid username or password")
        request[BODY] = body
        response: web.StreamResponse = await handler(request)
        return response


async def _body(request: web.Request) -> Any:
    """JSON; of a form its texts, and of a file its name and sum."""
    if request.content_type.startswith(("multipart/", "application/x-www-form-urlencoded")):
        form = await request.post()
        return {name: _file(value) if isinstance(value, web.FileField) else value for name, value in form.items()}
    text = await request.text()
    return json.loads(text) if text else None


def _file(value: web.FileField) -> dict[str, str]:
    content = value.file.read()
    value.file.close()
    return {"filename": value.filename, "sha256": hashlib.sha256(content).hexdigest()}


def answer(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """JSON, or a text as it is."""
    if isinstance(body, str):
        return web.Response(text=body, status=status, headers=headers)
    return web.json_response(body if body is not None else {}, status=status, headers=headers)


def webdriver_error(message: str, error: str = "session not created", status: int = 500) -> web.Response:
    """As a hub has it."""
    return answer({"value": {"error": error, "message": message, "stacktrace": ""}}, status)
