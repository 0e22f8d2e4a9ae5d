"""The fronts together: described under a tag of their own, behind the same door, and switched off by one setting."""

import re
from typing import Any

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
    refused = server.request("POST", path, b"complexity=5", form)
    assert refused.status == 415
    assert "found application/x-www-form-urlencoded" in refused.json["detail"]
    assert refused.json["detail"].endswith("send the header Content-Type: application/json")
    assert server.request("POST", path, {"type": "x"}, {"Origin": "https://evil.example"}).status == 403


@pytest.mark.parametrize("path", ["/submit-job", "/submit", "/jobs/", "/api/v1/jobs/"])
def test_a_body_over_the_limit_is_413(server: ServerProcess, path: str) -> None:
    assert server.request("POST", path, b'{"a": "' + b"x" * (1 << 20) + b'"}').status == 413


THEIRS = re.compile(r"[Ii]nput|[Ss]hould|permitted|dictionary|valid (integer|string|number|list)")
WRONG: tuple[Any, ...] = (None, 5, -1, 1.5, True, "", "x", "x" * 1000, [], [None], {}, {"a": []})


@pytest.mark.parametrize("path", ["/submit-job", "/submit", "/jobs/", "/api/v1/jobs/", "/v1/jobs", "/v1/schedules"])
def test_what_is_wrong_is_said_in_plain_words_and_once(server: ServerProcess, path: str) -> None:
    server.request("PATCH", "/v1/queues/compute", {"paused": True})
    schema = server.get("/openapi.json")["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    fields = {"type", "queue", "params", "job", *_fields(server, schema)}
    refused = 0
    for value in WRONG:
        answer = server.request("POST", path, dict.fromkeys(fields, value))
        if answer.status != 422:
            continue
        refused += 1
        errors = [(error["pointer"], error["detail"]) for error in answer.json["errors"]]
        assert len(errors) == len(set(errors))
        assert not THEIRS.search(str(answer.json)), answer.json
        if not path.startswith("/v1/"):
            assert all(pointer[1:] in answer.json["detail"] for pointer, _ in errors)
    assert refused > 8


def _fields(server: ServerProcess, schema: dict[str, Any]) -> set[str]:
    """The names of a schema's fields, whatever it refers to."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return _fields(server, server.get("/openapi.json")["components"]["schemas"][name])
    found = set(schema.get("properties", {}))
    return found.union(*(_fields(server, part) for part in schema.get("oneOf", schema.get("anyOf", []))))
