"""Which uploaded files a job's params name: any `{"blob": sha256}`, and the build by its `app_version_id`."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from hpcq.engine.errors import FieldError
from hpcq.store.rows import Resolved

SHA256 = re.compile(r"[0-9a-f]{64}")
_HEX = re.compile(r"[0-9a-fA-F]{64}")  # what means to be one
_BUILD = "app_version_id"
_BLOB_MARK, _BUILD_MARK = b'"blob"', f'"{_BUILD}"'.encode()


class Named(NamedTuple):
    """A place in the body (a JSON pointer) that names an uploaded file."""

    pointer: str
    name: str
    build: bool  # an app_version_id, which may as well be a mere label; else a SHA-256


def named_in(params: Mapping[str, Any], text: bytes) -> tuple[Named, ...]:
    """All such places. `text`: the params as JSON, perhaps with more around them; a look at it spares most the walk."""
    if _BLOB_MARK not in text and _BUILD_MARK not in text:
        return ()
    found = list(_blobs(params))
    build = params.get(_BUILD)
    if isinstance(build, str) and build:
        found.append(Named(f"/params/{_BUILD}", build, True))
    return tuple(found)


def _blobs(params: Mapping[str, Any]) -> Iterator[Named]:
    todo: list[tuple[str, Any]] = [("/params", params)]
    while todo:
        place, here = todo.pop()
        if isinstance(here, dict):
            sha256 = here.get("blob")
            if len(here) == 1 and isinstance(sha256, str) and _HEX.fullmatch(sha256):
                yield Named(f"{place}/blob", sha256, False)
                continue
            todo.extend((f"{place}/{_part(key)}", inner) for key, inner in here.items())
        elif isinstance(here, list):
            todo.extend((f"{place}/{index}", inner) for index, inner in enumerate(here))


def _part(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def places(named: Iterable[Named], caller: str | None, org_id: str) -> Iterator[tuple[bool, tuple[str, str]]]:
    """What to look up: whether it is a build, and under which org (of the caller, of the job) and name."""
    for one in named:
        yield one.build, (org_id if one.build else caller or "", one.name)


def faults(named: Iterable[Named], caller: str | None, org_id: str, known: Resolved) -> Iterator[FieldError]:
    """What was never uploaded, or is no longer kept. `caller`: the org of who submits, None for all orgs."""
    for one, (build, place) in zip(named, places(named, caller, org_id), strict=True):
        if not build and place not in known.blobs:
            text = f"there is no blob {one.name}; upload it first, with PUT /v1/blobs/ and its SHA-256 in lower case"
            yield FieldError(one.pointer, text)
        elif build and (app := known.apps.get(place)) is not None and app.size is None:
            text = f"the build of that name, blob {app.sha256}, is no longer kept; upload it again"
            yield FieldError(one.pointer, text)


def pins(named: Iterable[Named], org_id: str, known: Resolved) -> dict[str, str]:
    """Name -> SHA-256 as of now; later changes of a build's name do not matter to the job."""
    found: dict[str, str] = {}
    for one in named:
        app = known.apps.get((org_id, one.name)) if one.build else None
        if app is not None or not one.build:
            found[one.name] = app.sha256 if app else one.name
    return found
