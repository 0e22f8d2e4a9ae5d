"""Every way in which a request can fail becomes a problem document."""

import logging
from typing import Any

import orjson
import pytest
from aiohttp import web

from hpcq.api import problem
from hpcq.engine import errors


def document(error: Exception) -> tuple[web.Response, dict[str, Any]]:
    answer = problem.response(problem.of_exception(error))
    assert answer.content_type == "application/problem+json"
    assert isinstance(answer.body, bytes)
    return answer, orjson.loads(answer.body)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.NotFound("no such job"), 404),
        (errors.Conflict("it is final"), 409),
        (errors.BadSpec([errors.FieldError("/queue", "no such queue")]), 422),
        (errors.TooMany("full"), 429),
        (errors.Unavailable("draining", 7.0), 503),
        (errors.OutcomeUnknown("the disk failed"), 503),
        (errors.OutOfSpace("the disk is full"), 507),
        (web.HTTPNotFound(), 404),
        (web.HTTPRequestEntityTooLarge(max_size=1, actual_size=2), 413),
    ],
)
def test_each_error_has_one_status(error: Exception, status: int) -> None:
    answer, found = document(error)
    assert answer.status == found["status"] == status
    assert found["type"] == "about:blank"
    assert found["title"]
    assert found["detail"]


def test_bad_fields_are_all_named() -> None:
    bad = [errors.FieldError("/params/size", "too large"), errors.FieldError("/priority", "no number")]
    _, found = document(errors.BadSpec(bad))
    assert found["errors"] == [
        {"pointer": "/params/size", "detail": "too large"},
        {"pointer": "/priority", "detail": "no number"},
    ]


def test_a_thousand_bad_fields_are_counted_and_the_first_hundred_named() -> None:
    _, found = document(errors.BadSpec([errors.FieldError(f"/{n}", "bad") for n in range(1000)]))
    assert len(found["errors"]) == 100
    assert "1000" in found["detail"]


def test_later_is_said_in_seconds() -> None:
    answer, _ = document(errors.Unavailable("draining", 7.0))
    assert answer.headers["Retry-After"] == "7"


def test_a_commit_that_failed_is_unknown_not_no() -> None:
    _, found = document(errors.OutcomeUnknown("the disk failed"))
    assert found["outcome"] == "unknown"


def test_a_wrong_method_says_which_are_right() -> None:
    answer, _ = document(web.HTTPMethodNotAllowed("PUT", {"POST", "GET"}))
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, POST"


def test_the_unexpected_is_logged_and_its_details_stay_here(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        _, found = document(RuntimeError("secret in a traceback"))
    assert found["status"] == 500
    assert "secret" not in orjson.dumps(found).decode()
    assert found["incident"] in caplog.text
    assert "secret in a traceback" in caplog.text


def test_a_lone_surrogate_of_the_request_can_be_shown() -> None:
    _, found = document(problem.at_parameter("name", "found '\ud800'"))
    assert "\\ud800" in found["detail"]
