"""The door: every request passes it, whatever its method or path, the WebSocket and unknown routes included.

Order of refusals: Host 421, Origin and Sec-Fetch-Site 403, who is asking 401, content type 415; what comes later
(404, 405, 400, 422) is answered only to those who were let in.
"""

import ipaddress
from collections.abc import Iterable
from contextlib import suppress
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from hpcq.api import problem
from hpcq.api.caller import CALLER, SAME_USER, Caller
from hpcq.api.problem import Problem
from hpcq.api.same_user import End, is_same_user

OPEN_PATHS = frozenset({"/health"})  # answered to anybody, with the status alone
PAGES = frozenset({"/", "/docs"})  # a link of another site may lead here
JSON = "application/json"
NDJSON = "application/x-ndjson"
BYTES = "application/octet-stream"
HOSTS_KEPT = 1000

_PROXY_HEADERS = frozenset({"forwarded", "via", "x-real-ip"})
_FORWARDED = "x-forwarded"


class Door:
    """Decides who may pass."""

    def __init__(self, allowed_hosts: Iterable[str], *, same_user: bool) -> None:
        self._hosts = frozenset({"localhost", "127.0.0.1", "::1", *(host.lower() for host in allowed_hosts)})
        self._same_user = same_user
        self._good_hosts: set[str] = set()  # Host headers that passed
        self._owned: WeakKeyDictionary[object, bool] = WeakKeyDictionary()  # transports, asked once

    def admit(self, request: web.Request) -> Caller | None:
        """Who is asking; None: somebody unknown, at a path that is open. Raises Problem 421, 403, 401, 415."""
        self._check_host(request)
        _check_origin(request)
        caller = SAME_USER if self._same_user and self._is_ours(request) else None
        if caller is None and request.path not in OPEN_PATHS:
            raise _who_are_you(self._same_user)
        if request.body_exists:
            _check_content_type(request)
        return caller

    def _check_host(self, request: web.Request) -> None:
        hosts = request.headers.getall("Host", [])
        if len(hosts) == 1 and hosts[0] in self._good_hosts:
            return
        if len(hosts) != 1 or _host_name(hosts[0]) not in self._hosts:
            found = ", ".join(hosts) or "no Host at all"
            raise Problem(
                421, f"this server does not answer to {found}; add the name to [server] allowed_hosts if it should"
            )
        if len(self._good_hosts) < HOSTS_KEPT:
            self._good_hosts.add(hosts[0])

    def _is_ours(self, request: web.Request) -> bool:
        for name in request.headers:
            lower = name.lower()
            if lower in _PROXY_HEADERS or lower.startswith(_FORWARDED):
                return False
        transport = request.transport
        if transport is None:
            return False
        ours = self._owned.get(transport)
        if ours is None:
            client = End.of(transport.get_extra_info("peername"))
            server = End.of(transport.get_extra_info("sockname"))
            ours = client is not None and server is not None and is_same_user(client, server)
            self._owned[transport] = ours
        return ours


def middleware(door: Door) -> Middleware:
    """The door and, inside of it, the one place where exceptions become problem documents."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            caller = door.admit(request)
            if caller is not None:
                request[CALLER] = caller
            return await handler(request)
        except ConnectionError:
            raise  # the client has left; there is nobody to answer
        except Exception as error:
            if request.writer.output_size:
                raise  # the answer has begun: cut it off, so that it is not taken for whole
            return problem.response(problem.of_exception(error))

    return guard


def _host_name(header: str) -> str | None:
    """The name in a Host header, lower case and without its port; None when it is malformed."""
    with suppress(ValueError):
        parts = urlsplit(f"//{header}")
        parts.port  # noqa: B018  raises ValueError for a port that is none
        if parts.netloc == header and parts.username is None and parts.path == "":
            return parts.hostname if not header.startswith("[") else str(ipaddress.ip_address(parts.hostname or ""))
    return None


def _check_origin(request: web.Request) -> None:
    headers = request.headers
    site = headers.get("Sec-Fetch-Site")
    if site is not None and site not in ("same-origin", "none") and not _is_navigation(request):
        raise Problem(403, f"requests of other web sites are refused (Sec-Fetch-Site: {site})")
    origins = headers.getall("Origin", None)
    if origins is None:
        return
    host = headers["Host"].lower()
    if len(origins) != 1 or origins[0].lower() not in (f"http://{host}", f"https://{host}"):
        raise Problem(403, f"requests of other web sites are refused (Origin: {', '.join(origins)})")


def _is_navigation(request: web.Request) -> bool:
    """Somebody follows a link to one of our pages."""
    headers = request.headers
    return (
        request.method == "GET"
        and request.path in PAGES
        and headers.get("Sec-Fetch-Mode") == "navigate"
        and headers.get("Sec-Fetch-Dest") == "document"
    )


def _check_content_type(request: web.Request) -> None:
    types = request.headers.getall("Content-Type", [])
    if types == [JSON]:
        return
    accepted = _accepted(request)
    if not types and BYTES in accepted:
        return
    charset = (request.charset or "utf-8").lower()
    if len(types) != 1 or request.content_type not in accepted or charset not in ("utf-8", "utf8"):
        found = ", ".join(types) or "no Content-Type"
        text = f"a body must be {' or '.join(accepted)}; found {found}; send the header Content-Type: {accepted[0]}"
        raise Problem(415, text, headers={"Accept": JSON})


def _accepted(request: web.Request) -> tuple[str, ...]:
    if request.method == "POST" and request.path == "/v1/jobs":
        return JSON, NDJSON
    if request.method == "PUT" and request.path.startswith("/v1/blobs/"):  # no form of another site can PUT
        return BYTES, JSON
    return (JSON,)


def _who_are_you(same_user: bool) -> Problem:
    if same_user:
        how = "connect over loopback, without a proxy, as the user that runs the server"
    else:
        how = "[server] same_user is off, so that nobody gets in without one"
    return Problem(401, f"this request needs a token: {how}", headers={"WWW-Authenticate": 'Bearer realm="hpcq"'})
