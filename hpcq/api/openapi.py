"""The OpenAPI 3.1 document, made once from the route table."""

import re
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any

import orjson
from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from hpcq.api.schema import ProblemDocument
from hpcq.api.table import Route
from hpcq.engine.spec import JobSpec

REF = "#/components/schemas/{model}"
PROBLEM = "application/problem+json"
EVERYWHERE = (400, 401, 403, 421, 500)  # no HTTP, the door, and what nobody expected
_BODY_ERRORS = (415,)

Schema = dict[str, Any]


def document(routes: Iterable[Route], queues: Mapping[str, Schema]) -> bytes:
    """The document. `queues`: the JSON schema of each queue's params."""
    routes = list(routes)
    schemas, components = _schemas(routes)
    _exact_jobs(components, queues)
    paths: dict[str, Any] = {}
    for route in routes:
        path = re.sub(r"\{(\w+):[^}]*\}", r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, schemas)
    return orjson.dumps(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "hpcq",
                "version": version("hpcq"),
                "description": "A durable job queue for one box. Errors are RFC 9457 problem documents.",
                "license": {"name": "MIT", "identifier": "MIT"},
            },
            "servers": [{"url": "/"}],
            "paths": paths,
            "components": {"schemas": components},
        }
    )


Key = tuple[Any, JsonSchemaMode]


def _schemas(routes: list[Route]) -> tuple[dict[int, Schema], dict[str, Any]]:
    """The schema of every type that a route names, by the type's identity, and the components they refer to."""
    types: dict[int, tuple[Any, JsonSchemaMode]] = {id(ProblemDocument): (ProblemDocument, "serialization")}
    for route in routes:
        if route.returns is not None:
            types[id(route.returns)] = (route.returns, "serialization")
        if route.body is not None:
            types[id(route.body)] = (route.body, "validation")
    inputs = [(key, mode, TypeAdapter(found)) for key, (found, mode) in types.items()]
    found, rest = TypeAdapter.json_schemas(inputs, ref_template=REF)
    return {key: schema for (key, _), schema in found.items()}, dict(rest.get("$defs", {}))


def _exact_jobs(components: dict[str, Any], queues: Mapping[str, Schema]) -> None:
    """Make JobSpec a choice of the queues, each with the params of its runner."""
    general = components.get(JobSpec.__name__)
    if general is None or not queues:
        return
    choices = []
    for queue, params in queues.items():
        name = f"{_word(queue)}Job"
        components[name] = _job_of(general, queue, _adopt(params, name, components))
        choices.append({"$ref": REF.format(model=name)})
    components[JobSpec.__name__] = {
        "oneOf": choices,
        "title": JobSpec.__name__,
        "description": general.get("description"),
    }


def _job_of(general: Schema, queue: str, params: Schema) -> Schema:
    properties = {**general["properties"], "queue": {"const": queue, "type": "string"}, "params": params}
    return {**general, "title": f"{queue} job", "properties": properties}


def _adopt(schema: Schema, prefix: str, components: dict[str, Any]) -> Schema:
    """Move a schema's own definitions among the components, under names of its own."""
    text = orjson.dumps({key: value for key, value in schema.items() if key != "$defs"})
    definitions = orjson.dumps(schema.get("$defs", {}))

    def renamed(match: re.Match[bytes]) -> bytes:
        return b'"#/components/schemas/%s_%s"' % (prefix.encode(), match[1])

    moved = re.sub(rb'"#/\$defs/([^"]+)"', renamed, definitions)
    for name, definition in orjson.loads(moved).items():
        components[f"{prefix}_{name}"] = definition
    own: Schema = orjson.loads(re.sub(rb'"#/\$defs/([^"]+)"', renamed, text))
    return own


def _word(queue: str) -> str:
    return "".join(part.capitalize() for part in re.split(r"[^A-Za-z0-9]+", queue))


def _operation(route: Route, schemas: dict[int, Schema]) -> Schema:
    operation: Schema = {
        "operationId": _name(route),
        "summary": route.summary,
        "tags": [route.tag or _tag(route.path)],
        "parameters": [*_path_parameters(route.path), *_query_parameters(route), *route.headers],
        "responses": {str(status): _problem(status) for status in sorted({*EVERYWHERE, *route.errors})},
    }
    if (handler_doc := (route.handler.__doc__ or "").strip()) and handler_doc != route.summary:
        operation["description"] = " ".join(handler_doc.split())
    success: Schema = {"description": "done"}
    if route.returns is not None:
        success["content"] = {route.media: {"schema": schemas[id(route.returns)]}}
    elif route.status == 200:
        success["content"] = {route.media: {"schema": {"type": "string"}}}
    operation["responses"][str(route.status)] = success
    for status, description in route.also:
        content = {"content": success["content"]} if status < 300 else {}
        operation["responses"][str(status)] = {"description": description, **content}
    if route.takes is not None:
        operation["requestBody"] = {"required": True, "content": {route.takes: {}}}
    if route.body is not None:
        operation["requestBody"] = _request_body(route, schemas)
        for status in _BODY_ERRORS:
            operation["responses"][str(status)] = _problem(status)
    return operation


def _request_body(route: Route, schemas: dict[int, Schema]) -> Schema:
    one = schemas[id(route.body)]
    content: Schema = {"application/json": {"schema": one}}
    if route.body is JobSpec:
        many = {"type": "array", "items": one, "minItems": 1, "maxItems": 100_000}
        content = {
            "application/json": {"schema": {"anyOf": [one, many]}},
            "application/x-ndjson": {"schema": {"type": "string", "description": "a JobSpec a line"}},
        }
    return {"required": not route.body_optional, "content": content}


def _path_parameters(path: str) -> list[Schema]:
    names = re.findall(r"\{(\w+)(?::[^}]*)?\}", path)
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _query_parameters(route: Route) -> list[Schema]:
    if route.query is None:
        return []
    schema = TypeAdapter(route.query).json_schema(ref_template=REF)
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": described.pop("description", name),
            "schema": described,
        }
        for name, described in ((name, _present(field)) for name, field in schema["properties"].items())
    ]


def _present(field: Schema) -> Schema:
    """A parameter that is absent is not null."""
    field = {key: value for key, value in field.items() if key not in ("default", "title")}
    choices = [choice for choice in field.pop("anyOf", []) if choice != {"type": "null"}]
    return {**choices[0], **field} if len(choices) == 1 else {**field, **({"anyOf": choices} if choices else {})}


def _problem(status: int) -> Schema:
    return {
        "description": _MEANINGS.get(status, "refused"),
        "content": {
            PROBLEM: {"schema": {"$ref": REF.format(model=ProblemDocument.__name__)}},
            **({"text/plain": {"schema": {"type": "string"}}} if status == 400 else {}),
        },
    }


def _name(route: Route) -> str:
    name = "head" if route.method == "HEAD" else route.handler.__name__  # one handler answers GET and HEAD
    return f"{route.handler.__module__.rpartition('.')[2]}_{name}"


def _tag(path: str) -> str:
    parts = path.strip("/").split("/")
    return parts[1] if parts[0] == "v1" else "server"


_MEANINGS = {
    400: "The body is not JSON, or the request (then in plain text) is no good HTTP",
    401: "Who is asking is not known",
    403: "A request of another web site",
    404: "There is no such thing",
    408: "The body did not come in time",
    409: "Not in this state",
    410: "The events asked for are no longer kept; `oldest` says which are",
    413: "The body is too large",
    415: "The body is not application/json",
    417: "An Expect that is not known here",
    421: "The server does not answer to this Host",
    422: "Fields are not acceptable; `errors` names every one",
    429: "A limit is reached; later there may be room",
    500: "An unexpected error; `incident` is in the server's log",
    503: "Not now",
    507: "The disk is full; nothing was kept",
}
