"""Uploads over real HTTP: whole or not at all, once, and what a waiting job names stays as it was."""

import contextlib
import hashlib
import io
import json
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.integration.conftest import MakeServer
from tests.support import rawhttp
from tests.support.server import Answer, ServerProcess
from tests.support.wait import wait_until_blocking

READERS = Path(__file__).parent.parent / "support" / "readers"
READING = """
[queues.read]
runner = "reader"
slots = 1
"""
BYTES = {"Content-Type": "application/octet-stream"}
MONTH_S = 31 * 86_400


def sum_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def put(server: ServerProcess, data: bytes, sha256: str | None = None, **headers: str) -> Answer:
    return server.request("PUT", f"/v1/blobs/{sha256 or sum_of(data)}", data, {**BYTES, **headers})


def upload(server: ServerProcess, data: bytes) -> str:
    answer = put(server, data)
    assert answer.status in (200, 201), answer.body
    return str(answer.json["sha256"])


def name(server: ServerProcess, build: str, sha256: str) -> Answer:
    return server.request("PUT", f"/v1/apps/{build}", {"blob": sha256})


def files(server: ServerProcess) -> list[str]:
    return sorted(path.name for path in (server.data_dir / "blobs").rglob("*") if path.is_file())


def read_on(make_server: MakeServer) -> ServerProcess:
    """A server with a runner that reads what its jobs name."""
    return make_server(READING, env={"PYTHONPATH": str(READERS)})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Such a server, shared by the tests that do not end it."""
    server = ServerProcess(tmp_path_factory.mktemp("shared"), READING, env={"PYTHONPATH": str(READERS)})
    yield server.start()
    server.close()


# Files.


def test_a_file_is_sent_once_and_comes_back_as_it_was(server: ServerProcess) -> None:
    data = os.urandom(3 << 20)
    path = f"/v1/blobs/{sum_of(data)}"
    assert server.request("HEAD", path).status == 404
    assert server.request("GET", path).status == 404
    first = put(server, data)
    assert (first.status, first.json) == (201, {"sha256": sum_of(data), "size": len(data)})
    assert first.headers["Location"] == path
    assert put(server, data).status == 200
    head = server.request("HEAD", path)
    assert (head.status, head.headers["Content-Length"], head.body) == (200, str(len(data)), b"")
    assert server.request("GET", path).body == data
    part = server.request("GET", path, headers={"Range": "bytes=10-19"})
    assert (part.status, part.body) == (206, data[10:20])


def test_a_wrong_sum_is_422_and_leaves_nothing(server: ServerProcess) -> None:
    before = files(server)
    for known in (False, True):
        if known:
            before = sorted([*before, upload(server, b"right")])
        answer = put(server, b"wrong", sum_of(b"right"))
        assert answer.status == 422
        assert answer.json["sha256"] == sum_of(b"wrong")
        assert answer.json["errors"][0]["parameter"] == "sha256"
        assert files(server) == before


def test_what_is_no_sum_is_refused(server: ServerProcess) -> None:
    for place in ("short", "0" * 63, "0" * 65, "A" * 64, "%00" * 64, "g" * 64, "..%2f..%2fetc"):
        assert server.request("PUT", f"/v1/blobs/{place}", b"x", BYTES).status == 422, place
        assert server.request("GET", f"/v1/blobs/{place}").status == 404, place
        assert server.request("HEAD", f"/v1/blobs/{place}").status == 404, place


def test_an_empty_file_is_a_file(server: ServerProcess) -> None:
    assert put(server, b"").status == 201
    assert server.request("GET", f"/v1/blobs/{sum_of(b'')}").body == b""


def test_the_body_may_be_of_no_type_or_of_bytes_and_no_other(server: ServerProcess) -> None:
    def status(kind: str | None) -> int:
        data = f"of type {kind}".encode()
        headers = [("Host", "localhost"), *([("Content-Type", kind)] if kind else [])]
        return rawhttp.exchange(server.url, rawhttp.request("PUT", f"/v1/blobs/{sum_of(data)}", headers, data)).status

    assert [status(kind) for kind in (None, "application/octet-stream", "application/json")] == [201, 201, 201]
    assert [status(kind) for kind in ("text/plain", "multipart/form-data; boundary=x")] == [415, 415]


def test_a_larger_file_than_the_limit_is_413_with_and_without_its_length_said(make_server: MakeServer) -> None:
    server = make_server("[limits]\nblob_bytes = 100000\n")
    assert put(server, b"x" * 100_000).status == 201
    answer = put(server, b"y" * 100_001)
    assert (answer.status, answer.json["limit_bytes"]) == (413, 100_000)
    sock = rawhttp.connect(server.url)
    with contextlib.closing(sock):
        head = f"PUT /v1/blobs/{'0' * 64} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        sock.sendall(head.encode() + b"%x\r\n%s\r\n" % (100_001, b"z" * 100_001))
        assert sock.recv(4096).startswith(b"HTTP/1.1 413")
    assert len(files(server)) == 1


def test_who_expects_is_told_before_the_body_is_sent(make_server: MakeServer) -> None:
    server = make_server("[limits]\nblob_bytes = 100000\n")
    known = upload(server, b"known")

    def said(sha256: str, length: int, expected: str = "100-continue") -> bytes:
        sock = rawhttp.connect(server.url)
        with contextlib.closing(sock):
            lines = [f"PUT /v1/blobs/{sha256} HTTP/1.1", "Host: localhost", f"Content-Length: {length}"]
            sock.sendall("\r\n".join([*lines, f"Expect: {expected}", "\r\n"]).encode())
            return sock.recv(4096).split(b"\r\n")[0]

    assert said(known, 5) == b"HTTP/1.1 200 OK"
    assert said("0" * 64, 5) == b"HTTP/1.1 100 Continue"
    assert said("0" * 64, 100_001) == b"HTTP/1.1 413 Request Entity Too Large"
    assert said("nonsense", 5) == b"HTTP/1.1 422 Unprocessable Entity"
    assert said("0" * 64, 5, "miracles") == b"HTTP/1.1 417 Expectation Failed"


def test_a_connection_that_breaks_in_the_middle_leaves_nothing(server: ServerProcess) -> None:
    before = files(server)
    with contextlib.closing(_half(server, b"x" * (8 << 20))):
        wait_until_blocking(lambda: files(server) != before, 10, "the upload to begin")
    wait_until_blocking(lambda: files(server) == before, 10, "its file to go")


def test_kill_9_in_the_middle_of_an_upload_leaves_nothing_after_the_restart(make_server: MakeServer) -> None:
    server = make_server()
    kept = upload(server, b"whole")
    with contextlib.closing(_half(server, b"x" * (8 << 20))):
        wait_until_blocking(lambda: len(files(server)) == 2, 10, "the upload to begin")
        server.kill()
    server.start()
    assert files(server) == [kept]
    assert server.request("HEAD", f"/v1/blobs/{kept}").status == 200
    assert put(server, b"x" * (8 << 20)).status == 201


def _half(server: ServerProcess, data: bytes) -> Any:
    """A connection that has sent half a file."""
    sock = rawhttp.connect(server.url)
    lines = [f"PUT /v1/blobs/{sum_of(data)} HTTP/1.1", "Host: localhost", f"Content-Length: {len(data)}", "\r\n"]
    sock.sendall("\r\n".join(lines).encode() + data[: len(data) // 2])
    return sock


def test_the_same_file_from_many_at_once_is_kept_once(server: ServerProcess) -> None:
    data, answers, before = os.urandom(4 << 20), list[int](), files(server)

    def send() -> None:
        answers.append(put(server, data).status)

    senders = [threading.Thread(target=send) for _ in range(6)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join(60)
    assert len(answers) == 6
    assert set(answers) <= {200, 201}
    assert 201 in answers
    assert files(server) == sorted([*before, sum_of(data)])
    assert server.request("GET", f"/v1/blobs/{sum_of(data)}").body == data


def test_a_full_disk_is_507_and_the_store_keeps_its_space(small: ServerProcess) -> None:
    assert put(small, b"x" * (1 << 20)).status == 201
    assert put(small, b"y" * (16 << 20)).status == 507, "by its length"
    sock = rawhttp.connect(small.url)
    with contextlib.closing(sock):
        head = f"PUT /v1/blobs/{'0' * 64} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        sock.sendall(head.encode())
        with contextlib.suppress(ConnectionError):
            for _ in range(10):
                sock.sendall(b"%x\r\n%s\r\n" % (1 << 20, b"z" * (1 << 20)))
        assert sock.recv(4096).startswith(b"HTTP/1.1 507"), "by what has come"
    incoming = Path(f"/proc/{small.pid}/root{small.data_dir}/blobs/incoming")
    wait_until_blocking(lambda: not list(incoming.iterdir()), 10, "the half file to go")
    assert small.submit("noop", {}, wait_s=10)["state"] == "succeeded"
    assert put(small, b"small").status == 201


# Names of builds.


def test_builds_are_listed_the_newest_name_first(server: ServerProcess) -> None:
    one, two = upload(server, b"one"), upload(server, b"two")
    assert [name(server, build, one).status for build in ("rc1", "rc2", "rc1")] == [201, 201, 200]
    assert name(server, "rc2", two).json["blob"] == two
    page = server.get("/v1/apps?limit=1")
    assert [(app["app_version_id"], app["blob"], app["size"]) for app in page["apps"]] == [("rc2", two, 3)]
    rest = server.get(f"/v1/apps?limit=1&cursor={page['next_cursor']}")
    assert [app["app_version_id"] for app in rest["apps"]] == ["rc1"]
    assert server.get("/v1/apps?limit=1000")["next_cursor"] is None
    assert server.request("GET", "/v1/apps?cursor=nonsense").status == 422


def test_only_known_files_get_names_and_only_good_names(server: ServerProcess) -> None:
    known = upload(server, b"known")
    answer = name(server, "rc", "0" * 64)
    assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/blob")
    assert name(server, "rc", "nonsense").status == 422
    assert name(server, "x" * 201, known).status == 422
    assert name(server, "%0A", known).status == 422
    assert server.request("PUT", "/v1/apps/rc", {"blob": known, "more": 1}).status == 422
    assert server.request("PUT", "/v1/apps/rc", b"{").status == 400
    assert name(server, "feature%2Fx%20y", known).json["app_version_id"] == "feature/x y"


# What jobs name.


def test_a_waiting_job_runs_what_its_names_stood_for_at_submit(make_server: MakeServer) -> None:
    server = read_on(make_server)
    first, second = upload(server, b"first build"), upload(server, b"second build")
    name(server, "rc", first)
    server.request("PATCH", "/v1/queues/read", {"paused": True})
    params = {"app_version_id": "rc", "app": {"blob": second}, "read": ["rc", second, first]}
    before = server.submit("read", params)
    name(server, "rc", second)
    after = server.submit("read", {"app_version_id": "rc", "read": ["rc"]})
    assert before["blobs"] == {"rc": first, second: second}
    server.kill()
    server.start()
    server.request("PATCH", "/v1/queues/read", {"paused": False})
    expected = {"rc": "first build", second: "second build", first: "first build"}
    assert server.job(before["id"], wait_s=20)["result"] == expected
    assert server.job(after["id"], wait_s=20)["result"] == {"rc": "second build"}
    retried = server.request("POST", f"/v1/jobs/{before['id']}/retry", {})
    assert retried.status == 200
    assert server.job(before["id"], wait_s=20)["result"] == expected


def test_a_job_cannot_read_what_it_does_not_name(server: ServerProcess) -> None:
    secret = upload(server, b"secret")
    ended = server.submit("read", {"read": [secret]}, wait_s=20)
    assert ended["error"]["type"] == "exception"
    assert "nothing that the job names" in ended["error"]["message"]
    label = server.submit("read", {"app_version_id": "only a label"}, wait_s=20)
    assert (label["state"], label["blobs"]) == ("succeeded", {})


def test_a_file_that_was_never_uploaded_is_422_by_its_pointer(server: ServerProcess) -> None:
    unknown = {"queue": "read", "params": {"app": {"blob": "0" * 64}}}
    before = server.get("/v1/jobs/summary")["total"]
    one = server.request("POST", "/v1/jobs", unknown)
    assert (one.status, [error["pointer"] for error in one.json["errors"]]) == (422, ["/params/app/blob"])
    many = server.request("POST", "/v1/jobs", [{"queue": "noop", "params": {}}, unknown])
    assert (many.status, [error["pointer"] for error in many.json["errors"]]) == (422, ["/1/params/app/blob"])
    upper = {"queue": "read", "params": {"app": {"blob": upload(server, b"x").upper()}}}
    assert server.request("POST", "/v1/jobs", upper).status == 422
    assert server.get("/v1/jobs/summary")["total"] == before, "nothing was kept"


def test_pruning_takes_old_uploads_but_never_what_a_waiting_job_needs(make_server: MakeServer) -> None:
    server = read_on(make_server)
    needed, old, fresh = (upload(server, data) for data in (b"needed", b"old", b"fresh"))
    name(server, "rc", needed)
    waiting = server.submit("read", {"app_version_id": "rc", "read": ["rc"]}, delay_s=3600)
    server.stop()
    with contextlib.closing(sqlite3.connect(server.data_dir / "hpcq.db")) as db:  # a month passes
        db.execute("UPDATE blobs SET used_at = used_at - ? WHERE sha256 <> ?", (MONTH_S, fresh))
        db.commit()
    server.start()
    assert server.request("POST", "/v1/prune", {"dry_run": True}).json["blobs"] == 1
    assert server.request("POST", "/v1/prune", {}).json["blobs"] == 1
    assert files(server) == sorted([needed, fresh])
    assert server.request("HEAD", f"/v1/blobs/{old}").status == 404
    server.request("PATCH", f"/v1/jobs/{waiting['id']}", {"run_at": "2020-01-01T00:00:00Z"})
    assert server.job(waiting["id"], wait_s=20)["result"] == {"rc": "needed"}


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def test_matrices_are_computed_from_uploaded_files(server: ServerProcess) -> None:
    a, b = np.array([[2.0, 0.0], [0.0, 4.0]]), np.array([[1.0, 2.0], [3.0, 4.0]])
    params = {"operation": "matmul", "a": {"blob": upload(server, npy(a))}, "b": {"blob": upload(server, npy(b))}}
    job = server.submit("compute", params, wait_s=30)
    assert job["result"]["trace"] == np.trace(a @ b)
    product = server.request("GET", f"/v1/jobs/{job['id']}/artifacts/result.npy").body
    assert np.array_equal(np.load(io.BytesIO(product)), a @ b)


@pytest.mark.parametrize("kind", ["objects", "text", "zip", "cut"])
def test_what_is_no_array_of_numbers_is_never_unpickled(server: ServerProcess, kind: str) -> None:
    archive = io.BytesIO()
    np.savez(archive, a=np.eye(2))
    data = {
        "objects": npy(np.array([{"a": 1}], dtype=object)),
        "text": b"not an array",
        "zip": archive.getvalue(),
        "cut": npy(np.eye(20))[:200],
    }[kind]
    job = server.submit("compute", {"operation": "det", "a": {"blob": upload(server, data)}}, wait_s=30)
    assert (job["state"], job["error"]["type"]) == ("failed", "exception")
    assert ".npy" in job["error"]["message"]
    good = upload(server, npy(np.eye(2)))
    again = server.submit("compute", {"operation": "det", "a": {"blob": good}}, wait_s=30)
    assert again["result"] == {"value": 1.0}


def test_the_api_describes_its_uploads(server: ServerProcess) -> None:
    paths = json.loads(server.request("GET", "/openapi.json").body)["paths"]
    assert set(paths["/v1/blobs/{sha256}"]) == {"put", "head", "get"}
    assert list(paths["/v1/blobs/{sha256}"]["put"]["requestBody"]["content"]) == ["application/octet-stream"]
    assert set(paths["/v1/apps"]) == {"get"}
