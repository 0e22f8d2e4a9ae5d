"""Errors as RFC 9457 problem documents, which name every bad field."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any
from uuid import uuid4

import orjson
from aiohttp import web

from hpcq.engine import errors as engine_errors

log = logging.getLogger(__name__)

MAX_ERRORS = 100  # of one answer; the rest is counted in `detail`
SAID = 10  # of them, where the `detail` spells them out

FieldProblem = dict[str, str]  # {"pointer": "/params/size", "detail"} or {"parameter": "limit", "detail"}


class Problem(Exception):
    """The request ends here, with this status. `more`: further members of the document."""

    def __init__(
        self,
        status: int,
        detail: str,
        errors: Sequence[FieldProblem] = (),
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = list(errors)
        self.headers = dict(headers or {})
        self.more = more


def at(pointer: str, detail: str, status: int = 422) -> Problem:
    """One bad place in the body."""
    return Problem(status, detail, [{"pointer": pointer, "detail": detail}])


def at_parameter(name: str, detail: str, status: int = 422) -> Problem:
    """One bad query parameter."""
    return Problem(status, f"query parameter {name}: {detail}", [{"parameter": name, "detail": detail}])


def at_parameters(bad: Sequence[tuple[str, str]]) -> Problem:
    """422 that says of each of these parameters of the query (name, detail) what is wrong; they are few and short."""
    where = "query parameter" if len(bad) == 1 else "query parameters"
    said = "; ".join(f"{name}: {detail}" for name, detail in bad[:SAID])
    return Problem(422, f"{where} {said}", [{"parameter": name, "detail": detail} for name, detail in bad])


def not_found(detail: str) -> Problem:
    """There is no such thing, or it is not the caller's."""
    return Problem(404, detail)


def response(problem: Problem) -> web.Response:
    """The document itself."""
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": _title(problem.status),
        "status": problem.status,
        "detail": _clean(problem.detail),
    }
    if problem.errors:
        document["errors"] = [
            {key: _clean(value) for key, value in error.items()} for error in problem.errors[:MAX_ERRORS]
        ]
        if len(problem.errors) > MAX_ERRORS:
            document["detail"] += f" (the first {MAX_ERRORS} of {len(problem.errors)} are listed)"
    document.update(problem.more)
    return web.Response(
        status=problem.status,
        body=orjson.dumps(document, default=str),
        content_type="application/problem+json",
        headers=problem.headers,
    )


def of_exception(error: Exception) -> Problem:
    """What a failed request is answered with. Anything unforeseen is a 500 with an incident id, and is logged."""
    match error:
        case Problem():
            return error
        case engine_errors.BadSpec():
            return in_body(error.errors)
        case engine_errors.EngineError():
            return _of_engine(error)
        case web.HTTPException():
            return _of_http(error)
    incident = str(uuid4())
    log.error("incident %s: unexpected error in a request", incident, exc_info=error)
    detail = f"the server met an error it did not expect; its log has incident {incident}"
    return Problem(500, detail, incident=incident)


def in_body(errors: Sequence[engine_errors.FieldError]) -> Problem:
    """422 that names each of these fields of the body."""
    where = "1 field is" if len(errors) == 1 else f"{len(errors)} fields are"
    return Problem(422, f"{where} not acceptable", [{"pointer": bad.pointer, "detail": bad.detail} for bad in errors])


def _of_engine(error: engine_errors.EngineError) -> Problem:
    detail = str(error)
    match error:
        case engine_errors.Forbidden():
            return Problem(403, str(error))
        case engine_errors.NotFound():
            return not_found(detail)
        case engine_errors.Conflict():
            return Problem(409, detail)
        case engine_errors.TooMany():
            return Problem(429, detail, headers={"Retry-After": "1"})
        case engine_errors.Unavailable():
            after = {} if error.retry_after_s is None else {"Retry-After": str(round(error.retry_after_s))}
            return Problem(503, detail, headers=after)
        case engine_errors.OutOfSpace():
            return Problem(507, detail, headers={"Retry-After": "5"})
        case engine_errors.OutcomeUnknown():
            return Problem(503, detail, outcome="unknown")
    raise error


def _of_http(error: web.HTTPException) -> Problem:
    """What aiohttp raises by itself: no such route, wrong method, too large a body."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return Problem(405, f"{error.method} is not allowed here, only {allowed}", headers={"Allow": allowed})
    if error.status == 404:
        return not_found("there is nothing at this address; GET /docs lists what there is")
    kept = {name: value for name, value in error.headers.items() if name in ("Allow", "Location")}
    return Problem(error.status, error.text or error.reason, headers=kept)


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def _clean(text: str) -> str:
    """Text that can be encoded: a lone surrogate of the request is shown, not repeated."""
    return text.encode("utf-8", "backslashreplace").decode()
