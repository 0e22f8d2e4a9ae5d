"""The route table: what each route takes and gives. aiohttp's routes and the OpenAPI document both come from it."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, get_origin

import orjson
from aiohttp import web
from pydantic import BaseModel, ValidationError

from hpcq import wording
from hpcq.api import json_body, problem
from hpcq.api.caller import CALLER, Caller
from hpcq.engine.intake import field_errors

if TYPE_CHECKING:
    from hpcq.config import Settings
    from hpcq.engine.engine import Engine

Q = TypeVar("Q")
B = TypeVar("B")


@dataclass(slots=True)
class Call(Generic[Q, B]):
    """One request, taken apart: its query and body are what the route's models say."""

    request: web.Request
    engine: "Engine"
    settings: "Settings"
    query: Q
    body: B

    @property
    def caller(self) -> Caller:
        return self.request[CALLER]

    @property
    def id(self) -> str:
        """The `{id}` or `{name}` of the path."""
        return next(iter(self.request.match_info.values()))


Handler = Callable[[Call[Any, Any]], Awaitable[web.StreamResponse]]
Bound = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """One operation. `errors`: statuses beyond those that every route can answer."""

    method: Literal["GET", "HEAD", "POST", "PATCH", "DELETE", "PUT"]
    path: str
    handler: Handler
    summary: str
    returns: Any = None  # a type; None: the answer is no JSON
    status: int = 200
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    reads_itself: bool = False  # the handler reads the body; its model is only documented
    body_optional: bool = False
    media: str = "application/json"
    also: Sequence[tuple[int, Any]] = ()  # further answers that are no errors
    errors: Sequence[int] = ()
    headers: Sequence[dict[str, Any]] = ()  # header parameters, as OpenAPI has them
    takes: str | None = None  # the media type of a body that is no JSON; the handler reads it
    expect: Callable[[web.Request], Awaitable[None]] | None = None  # what is said to `Expect: 100-continue`
    tag: str | None = None  # in the OpenAPI document; None: as the path says
    any_slash: bool = False  # it answers with and without a slash at the end

    @property
    def paths(self) -> tuple[str, ...]:
        """Where it answers."""
        bare = self.path.removesuffix("/")
        return (bare, f"{bare}/") if self.any_slash else (self.path,)


def bind(route: Route, engine: "Engine", settings: "Settings") -> Bound:
    """The aiohttp handler of a route."""
    handler, limit = route.handler, settings.limits.body_bytes
    model = None if route.reads_itself else route.body
    parse_query = _query_parser(route.query)

    async def handle(request: web.Request) -> web.StreamResponse:
        query = parse_query(request)
        body = None if model is None else await _body(request, model, limit, optional=route.body_optional)
        return await handler(Call(request, engine, settings, query, body))

    return handle


async def json_of(request: web.Request, limit: int, *, optional: bool = False) -> Any:
    """The body as JSON; `optional`: an empty one is {}. Raises Problem."""
    text = await json_body.read(request, limit)
    if not text.strip():
        if not optional:
            raise problem.Problem(400, "the body is empty; it must be a JSON object")
        text = b"{}"
    return json_body.parse(text)


async def _body(request: web.Request, model: type[BaseModel], limit: int, *, optional: bool) -> BaseModel:
    value = await json_of(request, limit, optional=optional)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise problem.in_body(field_errors(error, value)) from None


def _query_parser(model: type[BaseModel] | None) -> Callable[[web.Request], Any]:
    if model is None:
        return _no_query
    lists = {name for name, info in model.model_fields.items() if get_origin(info.annotation) is tuple}
    empty = model()

    def parse(request: web.Request) -> Any:
        if not request.query_string:
            return empty
        values: dict[str, Any] = {}
        for name in request.query:
            given = request.query.getall(name)
            if name not in lists and len(given) > 1:
                raise problem.at_parameter(name, "given more than once")
            values[name] = given if name in lists else given[0]
        try:
            return model.model_validate(values)
        except ValidationError as error:
            raise _bad_query(error, model) from None

    return parse


def _no_query(request: web.Request) -> None:
    for name in request.query if request.query_string else ():
        raise problem.at_parameter(name, "this address takes no query parameters")


def _bad_query(error: ValidationError, model: type[BaseModel]) -> problem.Problem:
    errors = []
    for bad in error.errors(include_url=False):
        detail = wording.said(bad)
        if bad["type"] == "extra_forbidden":
            detail = f"no such parameter; there are {', '.join(model.model_fields)}"
        errors.append((str(bad["loc"][0]) if bad["loc"] else "", detail))
    return problem.at_parameters(errors)


def reply(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """A JSON answer; `value` may hold orjson.Fragment."""
    return web.Response(body=orjson.dumps(value), status=status, headers=headers, content_type="application/json")
