"""The door: no page of another site, and nobody else, gets anything done, by whatever method and route."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from hpcq.api.app import ROUTES
from tests.support.rawhttp import RawAnswer, exchange, request
from tests.support.server import ServerProcess

JSON = ("Content-Type", "application/json")
UPGRADE = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
]
TARGETS = sorted(
    {(route.method, re.sub(r"\{[^}]*\}", "x", route.path)) for route in ROUTES}
    | {("GET", "/docs"), ("GET", "/openapi.json"), ("GET", "/nothing"), ("POST", "/nothing/here")}
    | {("DELETE", "/v1/jobs"), ("PUT", "/v1/jobs/x"), ("PATCH", "/health"), ("TRACE", "/v1/jobs")}
)

# What pages of other sites, and programs of other users, can make a browser or a proxy send: (headers, body, status).
# {own} stands for the server's own host and port.
ATTACKS: dict[str, tuple[list[tuple[str, str]], bytes, int]] = {
    "rebinding": ([("Host", "evil.example")], b"", 421),
    "rebinding with a matching origin": ([("Host", "evil.example"), ("Origin", "http://evil.example")], b"", 421),
    "a name that begins with ours": ([("Host", "127.0.0.1.evil.example")], b"", 421),
    "a name with ours as user": ([("Host", "127.0.0.1@evil.example")], b"", 421),
    "a name with a trailing dot": ([("Host", "localhost.")], b"", 421),
    "the day of 0.0.0.0": ([("Host", "0.0.0.0")], b"", 421),
    "an empty host": ([("Host", "")], b"", 421),
    "another site's origin": ([("Host", "{own}"), ("Origin", "https://evil.example")], b"", 403),
    "an opaque origin": ([("Host", "{own}"), ("Origin", "null")], b"", 403),
    "another port of this machine": ([("Host", "{own}"), ("Origin", "http://127.0.0.1:1")], b"", 403),
    "an image of another site": ([("Host", "{own}"), ("Sec-Fetch-Site", "cross-site")], b"", 403),
    "a page of a sister site": ([("Host", "{own}"), ("Sec-Fetch-Site", "same-site")], b"", 403),
    "a form": ([("Host", "{own}"), ("Content-Type", "application/x-www-form-urlencoded")], b"a=b", 415),
    "a simple request": ([("Host", "{own}"), ("Content-Type", "text/plain")], b'{"a": 1}', 415),
    "a body of no type": ([("Host", "{own}")], b'{"a": 1}', 415),
    "a type with ours inside": ([("Host", "{own}"), ("Content-Type", "text/plain; application/json")], b"{}", 415),
    "a cross-site WebSocket": ([("Host", "{own}"), ("Origin", "https://evil.example"), *UPGRADE], b"", 403),
    "a proxy": ([("Host", "{own}"), ("X-Forwarded-For", "192.0.2.1")], b"", 401),
    "another proxy": ([("Host", "{own}"), ("Via", "1.1 proxy")], b"", 401),
    "a third proxy": ([("Host", "{own}"), ("Forwarded", "for=192.0.2.1")], b"", 401),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    served = ServerProcess(tmp_path_factory.mktemp("door")).start()
    yield served
    served.close()


def knock(
    server: ServerProcess, method: str, target: str, headers: list[tuple[str, str]], body: bytes = b""
) -> RawAnswer:
    own = urlsplit(server.url).netloc
    filled = [(name, value.replace("{own}", own)) for name, value in headers]
    return exchange(server.url, request(method, target, filled, body))


@pytest.mark.parametrize("attack", ATTACKS)
def test_every_attack_is_refused_on_every_route_and_method(server: ServerProcess, attack: str) -> None:
    headers, body, status = ATTACKS[attack]
    for method, target in TARGETS:
        if (status, target) == (401, "/health"):
            continue  # shown to anybody, with the status alone
        if (attack, method, target) == ("a body of no type", "PUT", "/v1/blobs/x"):
            continue  # what curl -T sends; no page of another site can PUT without asking first
        answer = knock(server, method, target, headers, body)
        assert answer.status == status, (method, target, answer.body)
        assert answer.headers["content-type"] == "application/problem+json"
        assert method == "HEAD" or answer.json["status"] == status
        assert "access-control-allow-origin" not in answer.headers
    assert server.get("/v1/jobs/summary")["total"] == 0


def test_two_host_headers_are_refused(server: ServerProcess) -> None:
    assert knock(server, "GET", "/v1/jobs", [("Host", "{own}"), ("Host", "evil.example")]).status in (400, 421)


def test_a_request_without_a_host_is_refused(server: ServerProcess) -> None:
    assert knock(server, "GET", "/v1/jobs", []).status in (400, 421)


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.0.0.1:80", "[::1]:8000", "LOCALHOST"])
def test_the_names_of_loopback_are_answered_at_any_port_so_that_tunnels_work(server: ServerProcess, host: str) -> None:
    assert knock(server, "GET", "/v1/jobs", [("Host", host)]).status == 200


def test_the_servers_own_pages_and_programs_pass(server: ServerProcess) -> None:
    own = [("Host", "{own}"), ("Origin", "http://{own}"), ("Sec-Fetch-Site", "same-origin")]
    assert knock(server, "GET", "/v1/jobs", own).status == 200
    assert knock(server, "GET", "/v1/jobs", [("Host", "{own}"), ("Sec-Fetch-Site", "none")]).status == 200
    assert knock(server, "POST", "/v1/jobs/actions", [*own, JSON], b"{}").status == 422
    utf8 = ("Content-Type", "application/json; charset=UTF-8")
    assert knock(server, "POST", "/v1/jobs/actions", [*own, utf8], b"{}").status == 422


def test_a_link_on_another_site_may_lead_to_the_pages_and_nowhere_else(server: ServerProcess) -> None:
    link = [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")]
    assert knock(server, "GET", "/docs", [("Host", "{own}"), *link]).status == 200
    assert knock(server, "GET", "/", [("Host", "{own}"), *link]).status == 302
    assert knock(server, "GET", "/v1/jobs", [("Host", "{own}"), *link]).status == 403
    frame = [*link[:2], ("Sec-Fetch-Dest", "iframe")]
    assert knock(server, "GET", "/docs", [("Host", "{own}"), *frame]).status == 403


def test_the_door_refuses_in_its_order(server: ServerProcess) -> None:
    wrong = [("Host", "evil.example"), ("Origin", "https://evil.example"), ("Via", "1.1 x"), ("Content-Type", "a/b")]
    seen = []
    for fixed in range(5):
        right = [("Host", "{own}"), ("Origin", "http://{own}"), ("X-Nothing", ""), JSON][:fixed]
        seen.append(knock(server, "POST", "/nothing", right + wrong[fixed:], b"{").status)
    assert seen == [421, 403, 401, 415, 404]


def test_a_wrong_method_names_the_right_ones(server: ServerProcess) -> None:
    answer = knock(server, "DELETE", "/v1/jobs", [("Host", "{own}")])
    assert answer.status == 405
    assert answer.headers["allow"] == "GET, POST"


STRANGER = """
import os, socket, sys
os.setgid(65534); os.setuid(65534)
for target in sys.argv[3:]:
    with socket.socket() as sock:
        sock.connect((sys.argv[1], int(sys.argv[2])))
        sock.sendall(f"GET {target} HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n".encode("latin-1"))
        data = b""
        while chunk := sock.recv(65536):
            data += chunk
        print(data.split()[1].decode("latin-1"), data.partition(b"\\r\\n\\r\\n")[2].decode("latin-1"))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_user_of_this_machine_sees_the_health_status_and_nothing_else(server: ServerProcess) -> None:
    place = urlsplit(server.url)
    targets = ["/health", "/v1/jobs", "/", "/docs", "/metrics", "/openapi.json", "/nothing"]
    command = [sys.executable, "-c", STRANGER, place.hostname or "", str(place.port), *targets]
    lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.splitlines()
    assert lines[0] == '200 {"status":"ok"}'
    assert [line.split()[0] for line in lines[1:]] == ["401"] * 6


def test_nobody_is_trusted_when_the_rule_is_off(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, "[server]\nsame_user = false\n").start()
    try:
        assert server.request("GET", "/v1/jobs").status == 401
        assert server.request("GET", "/health").json == {"status": "ok"}
        answer = server.request("POST", "/v1/jobs", {"queue": "noop", "params": {}})
        assert answer.status == 401
        assert "same_user" in answer.json["detail"]
    finally:
        server.close()


def test_further_names_can_be_allowed(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, '[server]\nallowed_hosts = ["queue.example"]\n').start()
    try:
        assert knock(server, "GET", "/v1/jobs", [("Host", "queue.example:8000")]).status == 200
        assert knock(server, "GET", "/v1/jobs", [("Host", "other.example")]).status == 421
    finally:
        server.close()
