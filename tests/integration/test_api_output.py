"""What a job wrote: its output, also while it is being written, and its artifacts."""

import http.client
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.server import ServerProcess

CONFIG = "[limits]\noutput_bytes = 4096\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    served = ServerProcess(tmp_path_factory.mktemp("output"), CONFIG).start()
    yield served
    served.close()


def following(server: ServerProcess, path: str) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    place = urlsplit(server.url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=30)
    connection.request("GET", path)
    response = connection.getresponse()
    assert response.status == 200
    return connection, response


def test_output_is_plain_text_that_no_browser_runs(server: ServerProcess) -> None:
    job = server.submit("local", {"command": "echo '<script>alert(1)</script>'; echo oops >&2"}, wait_s=20)
    answer = server.request("GET", f"/v1/jobs/{job['id']}/output")
    assert answer.body == b"<script>alert(1)</script>\noops\n"
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Hpcq-Attempt"] == "1"


def test_output_can_be_had_from_an_offset_on(server: ServerProcess) -> None:
    job = server.submit("local", {"command": "printf 0123456789"}, wait_s=20)
    path = f"/v1/jobs/{job['id']}/output"
    assert server.request("GET", f"{path}?offset=7").body == b"789"
    assert server.request("GET", f"{path}?offset=10").body == b""
    assert server.request("GET", f"{path}?offset=9223372036854775807").body == b""
    assert server.request("GET", f"{path}?offset=7&follow=1").body == b"789"
    for bad in ("offset=-1", "offset=9223372036854775808", "attempt=0", "follow=perhaps"):
        assert server.request("GET", f"{path}?{bad}").status == 422


def test_each_attempt_keeps_its_output(server: ServerProcess) -> None:
    job = server.submit(
        "local", {"command": "echo attempt $HPCQ_ATTEMPT; exit 1"}, wait_s=20, retries={"max": 1, "backoff_s": 0}
    )
    path = f"/v1/jobs/{job['id']}/output"
    assert server.request("GET", path).body == b"attempt 2\n"
    assert server.request("GET", f"{path}?attempt=1").body == b"attempt 1\n"
    assert server.request("GET", f"{path}?attempt=1&follow=1").body == b"attempt 1\n"
    assert server.request("GET", f"{path}?attempt=3").status == 404


def test_output_that_was_cut_says_so(server: ServerProcess) -> None:
    job = server.submit("local", {"command": "head -c 100000 /dev/zero | tr '\\0' x"}, wait_s=20)
    body = server.request("GET", f"/v1/jobs/{job['id']}/output").body
    assert body.startswith(b"x" * 4096)
    assert body.endswith(b"was written]\n")
    assert len(body) < 5000
    assert server.get(f"/v1/jobs/{job['id']}/attempts")["attempts"][0]["truncated"] is True


def test_a_job_that_has_not_begun_has_no_output_yet(server: ServerProcess) -> None:
    job = server.submit("local", {"command": "true"}, delay_s=1000)
    assert server.request("GET", f"/v1/jobs/{job['id']}/output").body == b""
    server.request("POST", f"/v1/jobs/{job['id']}/cancel")
    assert server.request("GET", f"/v1/jobs/{job['id']}/output?follow=1").body == b""


def test_followed_output_comes_while_it_is_written_and_ends_with_the_job(server: ServerProcess, tmp_path: Path) -> None:
    flag = tmp_path / "go"
    script = f"echo one; while [ ! -e {flag} ]; do sleep 0.02; done; echo two"
    job = server.submit("local", {"command": script})
    connection, response = following(server, f"/v1/jobs/{job['id']}/output?follow=1")
    assert response.readline() == b"one\n"
    flag.touch()
    assert response.read() == b"two\n"
    connection.close()
    assert server.job(job["id"])["state"] == "succeeded"


def test_followed_output_goes_on_over_the_attempts(server: ServerProcess, tmp_path: Path) -> None:
    flag = tmp_path / "go"
    script = f"echo attempt $HPCQ_ATTEMPT; while [ ! -e {flag} ]; do sleep 0.02; done; exit 1"
    job = server.submit("local", {"command": script}, retries={"max": 2, "backoff_s": 0.01})
    connection, response = following(server, f"/v1/jobs/{job['id']}/output?follow=1")
    assert response.readline() == b"attempt 1\n"
    flag.touch()
    assert response.read() == b"attempt 2\nattempt 3\n"
    connection.close()


def test_artifacts_are_listed_and_come_as_downloads(server: ServerProcess) -> None:
    script = "mkdir -p deep/er; echo hello > deep/er/page.html; echo x > 'a b.txt'"
    job = server.submit("local", {"command": script, "artifacts": ["deep/**/*", "*.txt"]}, wait_s=20)
    listed = server.get(f"/v1/jobs/{job['id']}/artifacts")["artifacts"]
    assert listed == [{"name": "a b.txt", "size": 2}, {"name": "deep/er/page.html", "size": 6}]
    assert job["artifacts"] == listed
    answer = server.request("GET", f"/v1/jobs/{job['id']}/artifacts/deep/er/page.html")
    assert (answer.status, answer.body) == (200, b"hello\n")
    assert answer.headers["Content-Disposition"] == "attachment; filename*=UTF-8''page.html"
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert server.request("GET", f"/v1/jobs/{job['id']}/artifacts/a%20b.txt").body == b"x\n"
    part = server.request("GET", f"/v1/jobs/{job['id']}/artifacts/deep/er/page.html", headers={"Range": "bytes=1-2"})
    assert (part.status, part.body) == (206, b"el")


@pytest.mark.parametrize(
    "name",
    [
        "../attempt-1/output.log",
        "%2e%2e/attempt-1/output.log",
        "..%2fattempt-1%2foutput.log",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "deep/../../attempt-1/output.log",
        "link",
        "%00",
        "x" * 300,
        ".",
        "",
    ],
)
def test_only_an_artifact_is_an_artifact(server: ServerProcess, name: str) -> None:
    script = "ln -s /etc/passwd $HPCQ_ARTIFACTS/link; echo x > $HPCQ_ARTIFACTS/file; echo out"
    job = server.submit("local", {"command": script}, wait_s=20)
    assert [one["name"] for one in job["artifacts"]] == ["file"]
    assert server.request("GET", f"/v1/jobs/{job['id']}/artifacts/{name}").status == 404
