"""Whatever is sent, the answer is a 4xx that names the place, and nothing is stored."""

import json
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from tests.support.rawhttp import RawAnswer, connect, exchange, read_all, request
from tests.support.server import ServerProcess

SPEC = b'{"queue": "noop", "params": {}, "name": %s}'
FREE = b'{"queue": "compute", "params": {"operation": "kernels:run", "args": {"x": %s}}}'
DEEP = b"[" * 100_000 + b"]" * 100_000

NOT_JSON = {
    "nothing": b" ",
    "half an object": b'{"queue": "noop"',
    "NaN": SPEC % b"NaN",
    "Infinity": SPEC % b"-Infinity",
    "a number beyond all numbers": SPEC % b"1e999",
    "a lone surrogate": SPEC % b'"\\ud800"',
    "a lone surrogate as a key": b'{"\\udc00": 1}',
    "invalid UTF-8": SPEC % b'"\xff\xfe"',
    "an overlong encoding": SPEC % b'"\xc0\x80"',
    "UTF-16": '{"queue": "noop"}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf" + SPEC % b'"x"',
    "100,000 levels": SPEC % DEEP,
    "100,000 levels without an end": SPEC % (b"[" * 100_000),
    "100,000 levels of objects": SPEC % (b'{"a":' * 100_000),
    "a raw control character": SPEC % b'"\x01"',
    "two documents": SPEC % b'"x"' + b"{}",
}
NOT_ACCEPTABLE = {
    "an array in an object's place": (b'{"queue": [], "params": []}', {"/queue", "/params"}),
    "a string": (b'"job"', {""}),
    "null": (b"null", {""}),
    "nothing in it": (b"{}", {"/queue", "/params"}),
    "a very long name": (SPEC % (b'"%s"' % (b"x" * 100_000)), {"/name"}),
    "a NUL": (SPEC % b'"\\u0000"', {"/name"}),
    "an unknown field": (b'{"queue": "noop", "params": {}, "nmae": 1}', {"/nmae"}),
    "an unknown param": (b'{"queue": "noop", "params": {"nonsense": 1}}', {"/params/nonsense"}),
    "a number beyond 2^63": (b'{"queue": "noop", "params": {}, "priority": 9223372036854775808}', {"/priority"}),
    "a number beyond 2^64": (b'{"queue": "noop", "params": {}, "priority": 18446744073709551616}', {"/priority"}),
    "a free number beyond 2^63": (FREE % b"[0, 9223372036854775808]", {"/params/args/x/1"}),
    "a free number beyond 2^64": (FREE % b'{"a/b": -99999999999999999999}', {"/params/args/x/a~1b"}),
    "200 levels": (FREE % (b"[" * 200 + b"]" * 200), {"/params/args/x"}),
    "a boolean for a number": (b'{"queue": "noop", "params": {}, "priority": true}', {"/priority"}),
    "a text for a number": (b'{"queue": "noop", "params": {}, "timeout_s": "5"}', {"/timeout_s"}),
    "a key that cannot be": (b'{"queue": "noop", "params": {}, "tags": {"": "x"}}', {"/tags"}),
    "run_at and delay_s": (
        b'{"queue": "noop", "params": {}, "run_at": "2030-01-01T00:00:00Z", "delay_s": 1}',
        {"/delay_s"},
    ),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    served = ServerProcess(tmp_path_factory.mktemp("bad")).start()
    yield served
    assert served.get("/v1/jobs/summary")["total"] == 0, "something was stored"
    assert not any("incident" in line or "Traceback" in line for line in served.log), "".join(served.log)
    served.close()


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON.keys())
def test_what_is_no_json_is_400(server: ServerProcess, body: bytes) -> None:
    for method, path in [("POST", "/v1/jobs"), ("POST", "/v1/jobs/actions"), ("PATCH", "/v1/queues/noop")]:
        answer = server.request(method, path, body)
        assert answer.status == 400 or (not body.strip() and method == "PATCH"), (path, answer.body)


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON.keys())
def test_in_an_array_and_in_lines_it_is_named_by_its_index(server: ServerProcess, body: bytes) -> None:
    good = SPEC % b'"good"'
    array = server.request("POST", "/v1/jobs", b"[" + good + b"," + body + b"," + good + b"]")
    assert array.status in (400, 422)
    assert array.json["errors"][0]["pointer"].startswith("/1")
    if body.strip():
        kind = {"Content-Type": "application/x-ndjson"}
        lines = server.request("POST", "/v1/jobs", good + b"\n" + body + b"\n" + good, kind)
        assert lines.status == 400
        assert lines.json["errors"][0]["pointer"].startswith("/1")


@pytest.mark.parametrize(("body", "places"), NOT_ACCEPTABLE.values(), ids=NOT_ACCEPTABLE.keys())
def test_what_cannot_be_accepted_is_422_and_every_place_is_named(
    server: ServerProcess, body: bytes, places: set[str]
) -> None:
    answer = server.request("POST", "/v1/jobs", body)
    assert answer.status == 422, answer.body
    found = {error["pointer"] for error in answer.json["errors"]}
    assert all(any(one == place or one.startswith(f"{place}/") for one in found) for place in places), answer.json
    array = server.request("POST", "/v1/jobs", b"[" + SPEC % b'"good"' + b"," + body + b"]")
    assert array.status == 422, array.body
    found = {error["pointer"] for error in array.json["errors"]}
    assert all(any(one.startswith(f"/1{place}") for one in found) for place in places), array.json


def test_one_bad_job_among_many_stores_none(server: ServerProcess) -> None:
    jobs = [{"queue": "noop", "params": {}} for _ in range(2000)]
    jobs[1500] = {"queue": "noop", "params": {"duration_s": "long"}}
    jobs[1999] = {"queue": "compute", "params": {"operation": "matmul", "size": -1}}
    answer = server.request("POST", "/v1/jobs", jobs)
    assert answer.status == 422
    found = {error["pointer"] for error in answer.json["errors"]}
    assert found == {"/1500/params/duration_s", "/1999/params/size"}


def test_bodies_beyond_the_limits_are_413(server: ServerProcess) -> None:
    large = json.dumps({"queue": "noop", "params": {"message": "x" * (1 << 20)}}).encode()
    assert server.request("POST", "/v1/jobs", large).status == 413
    assert server.request("POST", "/v1/jobs/actions", large).status == 413
    assert server.request("POST", "/v1/jobs", b"[" + large + b"]").status == 413
    assert server.request("POST", "/v1/jobs", b" " * (2 << 20)).status == 413
    answer = server.request("POST", "/v1/jobs", b"[%s]" % b",".join([b"1"] * 100_001))
    assert answer.status == 413
    assert "100000" in answer.json["detail"]


def announced(server: ServerProcess, headers: list[tuple[str, str]], body: bytes = b"") -> RawAnswer:
    host = ("Host", urlsplit(server.url).netloc)
    return exchange(
        server.url, request("POST", "/v1/jobs", [host, ("Content-Type", "application/json"), *headers]) + body
    )


def test_a_body_that_is_announced_too_large_is_refused_before_it_comes(server: ServerProcess) -> None:
    host = ("Host", urlsplit(server.url).netloc)
    headers = [host, ("Content-Type", "application/json"), ("Content-Length", str(1 << 40))]
    with closing(connect(server.url)) as sock:
        sock.sendall(request("POST", "/v1/jobs", headers))
        assert RawAnswer(sock.recv(65536)).status == 413


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ([("Content-Length", "-1")], b""),
        ([("Content-Length", "5"), ("Content-Length", "6")], b"{}"),
        ([("Content-Length", "5"), ("Transfer-Encoding", "chunked")], b"0\r\n\r\n"),
        ([("Transfer-Encoding", "chunked")], b"zz\r\n{}\r\n0\r\n\r\n"),
        ([("Content-Encoding", "gzip"), ("Content-Length", "9")], b"not gzip!"),
        ([("X-Long", "x" * 100_000)], b""),
        ([(f"X-{n}", "x") for n in range(500)], b""),
        ([("X-Bad", "a\x00b")], b""),
    ],
    ids=["negative", "two lengths", "length and chunks", "no chunk", "no gzip", "long header", "many headers", "NUL"],
)
def test_what_is_no_good_http_is_400(server: ServerProcess, headers: list[tuple[str, str]], body: bytes) -> None:
    assert announced(server, headers, body).status == 400


def test_a_line_that_is_too_long_is_400(server: ServerProcess) -> None:
    host = ("Host", urlsplit(server.url).netloc)
    assert exchange(server.url, request("GET", f"/v1/jobs?name={'x' * 100_000}", [host])).status == 400
    assert exchange(server.url, request("GET", f"/{'x' * 100_000}", [host])).status == 400


def test_garbage_is_400_and_leaves_the_server_alone(server: ServerProcess) -> None:
    with closing(connect(server.url)) as sock:
        sock.sendall(b"\x16\x03\x01\x02\x00garbage\r\n\r\n")
        assert b" 400 " in read_all(sock).partition(b"\r\n")[0]
    assert server.get("/health")["status"] in ("ok", "degraded")


@pytest.mark.parametrize("value", ["-1", "301", "nan", "inf", "1e400", "soon", ""])
def test_a_wait_that_is_none_is_422(server: ServerProcess, value: str) -> None:
    answer = server.request("POST", f"/v1/jobs?wait={value}", {"queue": "noop", "params": {}})
    assert answer.status == 422
    assert answer.json["errors"][0]["parameter"] == "wait"
