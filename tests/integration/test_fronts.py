"""The fronts together: described under a tag of their own, behind the same door, and switched off by one setting."""

import pytest

from hpcq.api import compat
from tests.integration.conftest import MakeServer
from tests.support.server import ServerProcess

OFF = "[server]\ncompat = false\n"
ADDRESSES = {
    "/submit-job", "/job/{job_id}", "/submit", "/status/{job_id}", "/jobs/", "/jobs/stream", "/jobs/{job_id}",
    "/jobs/{job_id}/logs", "/jobs/{job_id}/cancel", "/api/v1/jobs/", "/api/v1/jobs/{id}/status",
    "/api/v1/jobs/{id}/result",
}  # fmt: skip


def test_the_fronts_are_described_under_a_tag_of_their_own(server: ServerProcess) -> None:
    document = server.get("/openapi.json")
    tagged = {
        path
        for path, operations in document["paths"].items()
        for operation in operations.values()
        if operation["tags"] == ["compat"]
    }
    assert tagged == ADDRESSES
    assert document["paths"]["/submit-job"]["post"]["requestBody"]["required"]


def test_one_setting_switches_them_off_and_nothing_else(make_server: MakeServer) -> None:
    server = make_server(OFF)
    for route in compat.ROUTES:
        for path in route.paths:
            assert server.request(route.method, path).status == 404, path
    assert not ADDRESSES & set(server.get("/openapi.json")["paths"])
    assert server.request("GET", "/", headers={"Accept": "application/json"}).json == {"status": "API is ready"}
    assert server.submit("noop", {}, wait_s=10)["state"] == "succeeded"


@pytest.mark.parametrize("path", ["/submit-job", "/submit", "/jobs/", "/api/v1/jobs/"])
def test_a_form_of_another_site_submits_nothing(server: ServerProcess, path: str) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert server.request("POST", path, b"complexity=5", form).status == 415
    assert server.request("POST", path, {"type": "x"}, {"Origin": "https://evil.example"}).status == 403


@pytest.mark.parametrize("path", ["/submit-job", "/submit", "/jobs/", "/api/v1/jobs/"])
def test_a_body_over_the_limit_is_413(server: ServerProcess, path: str) -> None:
    assert server.request("POST", path, b'{"a": "' + b"x" * (1 << 20) + b'"}').status == 413
