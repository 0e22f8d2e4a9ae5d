"""A job with `"split": "file"` becomes one job for each file of its tests, at submit; the longest goes first."""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import orjson

from hpcq.engine import files, inputs
from hpcq.engine.admission import KEY_LIFE_S, REQUEST
from hpcq.engine.alarm import now
from hpcq.engine.errors import BadSpec, FieldError, Unavailable
from hpcq.engine.intake import Prepared
from hpcq.engine.slices import SLICE
from hpcq.engine.testcases import SUITE_CHARS
from hpcq.engine.verdict import plain
from hpcq.plugin import Infra, Part, Rejected
from hpcq.store.rows import Lookup

if TYPE_CHECKING:
    from hpcq.engine.engine import Engine

log = logging.getLogger("hpcq.splitting")
PARTS_MOST = 10_000  # of one job
SPLITS_MOST = 100  # jobs of one request that ask for it: each takes its time
FILE_CHARS = 500
NAME_CHARS = 200  # of a job's name, and of a batch key
MARK = b'"split":"file"'  # in what is kept of a job, where nothing stands between the two
POINTER = "/params/split"


@dataclass(frozen=True, slots=True)
class Accepted:
    """Jobs that can be submitted."""

    jobs: Sequence[Prepared]
    key: str | None  # covers the whole request
    digest: bytes | None = None  # of what was asked for, where that became other jobs


@dataclass(frozen=True, slots=True)
class Piece:
    """One of the new jobs, and which of the request's it came from."""

    raw: dict[str, Any]
    index: int
    file: str | None  # None: as it was


async def accept(
    engine: "Engine", raws: Sequence[Any], *, org: str | None, key: str | None = None, bulk: bool = False
) -> Accepted:
    """Validate as Intake.accept does, and split what asks for it. Raises BadSpec, Unavailable."""
    asked = await engine.intake.accept(raws, org=org, bulk=bulk)
    wanted = await _asking(raws, asked)
    if not wanted:
        return Accepted(asked, key)
    if len(wanted) > SPLITS_MOST:
        text = f"{len(wanted)} jobs ask to be split, at most {SPLITS_MOST} of one request may; send them in several"
        raise BadSpec([FieldError(f"/{max(wanted)}{POINTER}", text)])
    if bulk and (keyed := [place for place in wanted if asked[place].key]):
        text = "a job with split becomes several: give the key in the header Idempotency-Key, for the whole request"
        raise BadSpec([FieldError(f"/{place}/idempotency_key", text) for place in keyed])
    key = key or (None if bulk else asked[0].key)
    digest = hashlib.sha256(b"".join(job.digest() for job in asked)).digest()
    if key and await _was_used(engine, org or asked[0].treatment.org_id, key):
        return Accepted(asked, key, digest)  # whoever admits it finds the first jobs
    pieces: list[Piece] = []
    for place, raw in enumerate(raws):
        try:
            pieces += (
                await _pieces(engine, raw, asked[place], place, org) if place in wanted else [Piece(raw, place, None)]
            )
        except BadSpec as bad:
            raise BadSpec(_placed(bad, f"/{place}" if bulk else "")) from None
    return Accepted(await _again(engine, pieces, org, bulk=bulk), key, digest)


def asks(raw: Any, job: Prepared) -> bool:
    """Whether this job, validated as that, is to be split."""
    return MARK in job.spec and bool(raw["params"].get("split") == "file")


async def _asking(raws: Sequence[Any], asked: Sequence[Prepared]) -> set[int]:
    found: set[int] = set()
    for first in range(0, len(asked), SLICE):
        jobs = enumerate(asked[first : first + SLICE], first)
        found.update(place for place, job in jobs if asks(raws[place], job))
        if len(asked) > SLICE:
            await asyncio.sleep(0)
    return found


async def _was_used(engine: "Engine", org_id: str, key: str) -> bool:
    """The same request came before: what it was split into then stands, whatever has become of the files."""
    place = (org_id, REQUEST + key)
    row = (await engine.writer.resolve(Lookup(keys=(place,)))).keys.get(place)
    if row is None or now().wall - row.at > KEY_LIFE_S / 2:
        return False
    first = orjson.loads(row.ids)[:1]
    return bool((await engine.writer.resolve(Lookup(ids=tuple(first)))).jobs)


async def _pieces(engine: "Engine", raw: Any, job: Prepared, index: int, org: str | None) -> list[Piece]:
    """The jobs that this one becomes, the longest first: those that nobody knows count as average."""
    parts = await _parts(engine, job, org)
    took = await engine.reader.file_durations(job.treatment.org_id, [(part.suite, part.file) for part in parts])
    average = sum(took.values()) / len(took) if took else 0.0
    parts.sort(key=lambda part: -took.get((part.suite, part.file), average))
    key = _batch_key(job)
    return [Piece(_of_part(raw, part, key), index, part.file) for part in parts]


def _batch_key(job: Prepared) -> str:
    """One for all: the given one, else what the runner makes of the whole, else a new one."""
    found = job.batch_key or job.treatment.session_key
    return found if found and len(found) <= NAME_CHARS and "\x00" not in found else f"split-{uuid4().hex[:12]}"


def _of_part(raw: Mapping[str, Any], part: Part, batch_key: str) -> dict[str, Any]:
    made = {name: value for name, value in raw.items() if name != "idempotency_key"}
    if raw.get("name") and part.file:
        made["name"] = f"{raw['name']}: {part.file}"[:NAME_CHARS]
    params = {name: value for name, value in part.params.items() if name != "split"}
    return {**made, "params": params, "batch_key": batch_key}


async def _parts(engine: "Engine", job: Prepared, org: str | None) -> list[Part]:
    """What the job's runner makes of it. Raises BadSpec, Unavailable."""
    lane, params = engine.lanes[job.treatment.queue], orjson.loads(job.spec)["params"]
    if lane.rehearsing:  # the stand-in knows no files
        return [Part("", params)]
    about = f"queue {lane.name}: runner {lane.runner_name}"
    if lane.runner is None:
        raise Unavailable(f"{about} cannot split the job now: {lane.health.message}", 30.0)
    blob = await _finder(engine, job, org)
    try:
        return _checked(await lane.split(params, blob))
    except Rejected as error:
        raise BadSpec([FieldError(POINTER, plain(str(error)))]) from None
    except Exception as error:
        log.warning("%s could not split a job: %s: %s", about, type(error).__name__, error)
        why = plain(f"{about} could not split the job: {error or type(error).__name__}")
        raise Unavailable(why, error.retry_after_s if isinstance(error, Infra) else None) from error


async def _finder(engine: "Engine", job: Prepared, org: str | None) -> Callable[[str], Path]:
    """`Request.blob` for a job that is no attempt yet. Raises BadSpec for what was never uploaded."""
    named, org_id = job.named, job.treatment.org_id
    places = list(inputs.places(named, org, org_id))
    blobs, apps = (tuple(place for build, place in places if build is wanted) for wanted in (False, True))
    found: dict[str, str] = {}
    if named:
        known = await engine.writer.resolve(Lookup(blobs=blobs, apps=apps, at=now().wall))
        if faults := list(inputs.faults(named, org, org_id, known)):
            raise BadSpec(faults)
        found = inputs.pins(named, org_id, known)
    data_dir = engine.around.data_dir

    def blob(name: str) -> Path:
        if name not in found:
            raise FileNotFoundError(f"{name} is no uploaded file that the params name")
        return files.blob(data_dir, found[name])

    return blob


def _checked(parts: Any) -> list[Part]:
    """Parts with which something can be done. Raises Rejected, TypeError, ValueError."""
    if not isinstance(parts, list | tuple):
        raise TypeError(f"split returned {parts!r:.200}, which is no list of Part")
    if not parts:
        raise Rejected("there is nothing to run in it: no file with tests was found")
    if len(parts) > PARTS_MOST:
        raise Rejected(f"it would become {len(parts)} jobs, at most {PARTS_MOST} may come of one; submit its folders")
    for part in parts:
        if not isinstance(part, Part) or not isinstance(part.file, str) or not isinstance(part.params, Mapping):
            raise TypeError(f"split returned {part!r:.200}, which is no Part of a str and a mapping")
        for name, text, most in (("file", part.file, FILE_CHARS), ("suite", part.suite, SUITE_CHARS)):
            if not isinstance(text, str) or len(text) > most or not text.isprintable():
                raise ValueError(f"split returned the {name} {text!r:.600}, no {most} printable characters")
    return [replace(part, params=orjson.loads(orjson.dumps(dict(part.params)))) for part in parts]


async def _again(engine: "Engine", pieces: Sequence[Piece], org: str | None, *, bulk: bool) -> list[Prepared]:
    """Validate the new jobs. What is wrong with one is said of the job it came from."""
    places: dict[int, list[int]] = {}
    for place, piece in enumerate(pieces):
        places.setdefault(piece.index, []).append(place)
    raws = [_with_needs(piece.raw, places) if bulk else piece.raw for piece in pieces]
    try:
        return await engine.intake.accept(raws, org=org, bulk=True)
    except BadSpec as bad:
        raise BadSpec([_traced(error, pieces, bulk=bulk) for error in bad.errors]) from None


def _with_needs(raw: dict[str, Any], places: Mapping[int, Sequence[int]]) -> dict[str, Any]:
    """Whoever depends on a job that was split depends on all that it became."""
    needs: Iterable[Any] = raw.get("depends_on") or ()
    moved: list[Any] = []
    for need in needs:
        if isinstance(need, dict) and need.get("index") is not None:
            moved += [{**need, "index": place} for place in places[int(need["index"])]]
        else:
            moved.append(need)
    return {**raw, "depends_on": moved} if moved else raw


def _traced(error: FieldError, pieces: Sequence[Piece], *, bulk: bool) -> FieldError:
    _, place, *rest = error.pointer.split("/", 2)
    piece = pieces[int(place)]
    inside = f"in the part {piece.file}: " if piece.file else ""
    return FieldError("/".join(["", *([str(piece.index)] if bulk else []), *rest]), inside + error.detail)


def _placed(bad: BadSpec, prefix: str) -> list[FieldError]:
    return [FieldError(prefix + error.pointer, error.detail) for error in bad.errors]
