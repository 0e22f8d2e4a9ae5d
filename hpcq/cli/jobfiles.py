"""Files that hold jobs (TOML, JSON, NDJSON), and grids whose rows become jobs (CSV, NDJSON)."""

import csv
import io
import json
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, NoReturn

import click

Spec = dict[str, Any]
Row = dict[str, Any]

# {{word}} stands for {word} itself, ${WORD} is the shell's.
PLACEHOLDER = re.compile(r"\{(?P<literal>\{[^{}\s]+\})\}|(?P<shell>\$\{\w+\})|\{(?P<column>[^{}\s\"',:$]+)\}")
TEXT_PARAMS = ("command", "cwd", "env", "stdin", "artifacts")  # always text, whatever the row holds
MAX_TAG = 500
MAX_TAGS = 45
MAX_NAME = 200


def read_text(path: str, option: str) -> str:
    """The text of a file; `-` is stdin."""
    try:
        if path == "-":
            return sys.stdin.buffer.read().decode("utf-8-sig")
        return Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise click.UsageError(f"{option} {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{option} {path}: not UTF-8 at byte {error.start}") from None


def parse_json(text: str, where: str) -> Any:
    """Strict JSON: no NaN, no Infinity."""

    def refuse(word: str) -> NoReturn:
        raise ValueError(f"{word} is no JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise click.UsageError(f"{where}: not JSON at line {error.lineno}, column {error.colno}: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"{where}: {error}") from None


def read_jobs(path: str) -> list[Spec]:
    """The jobs of a file: a JSON array (or one object), NDJSON, or TOML with [[jobs]]."""
    text = read_text(path, "-f")
    suffix = Path(path).suffix.lower()
    if suffix == ".toml":
        jobs = _from_toml(text, path)
    elif suffix in (".ndjson", ".jsonl"):
        jobs = _from_lines(text, path)
    elif suffix == ".json" or path == "-":
        jobs = _from_json(text, path)
    else:
        raise click.UsageError(f"-f {path}: the name must end with .toml, .json or .ndjson")
    for number, job in enumerate(jobs, 1):
        if not isinstance(job, dict):
            raise click.UsageError(f"-f {path}: job {number} is no object but {type(job).__name__}")
    if not jobs:
        raise click.UsageError(f"-f {path}: holds no job")
    return jobs


def _from_toml(text: str, path: str) -> list[Any]:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise click.UsageError(f"-f {path}: not TOML: {error}") from None
    strange = [key for key in data if key != "jobs"]
    if strange or not isinstance(data.get("jobs"), list):
        found = f"; found {', '.join(strange)}" if strange else ""
        raise click.UsageError(f"-f {path}: each job is a table [[jobs]], and nothing else stands beside them{found}")
    return [_json_ready(job) for job in data["jobs"]]


def _json_ready(value: Any) -> Any:
    """TOML has times, JSON has none: they become text; a local time is in this machine's zone."""
    if isinstance(value, dict):
        return {key: _json_ready(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_json_ready(item) for item in value]
    if isinstance(value, datetime):
        return value.astimezone().isoformat()
    return value.isoformat() if isinstance(value, date | time) else value


def _from_lines(text: str, path: str) -> list[Any]:
    lines = enumerate(text.split("\n"), 1)
    return [parse_json(line, f"-f {path}: line {number}") for number, line in lines if line.strip()]


def _from_json(text: str, path: str) -> list[Any]:
    """From stdin it may also be NDJSON: then the second line begins another object."""
    lines = [line for line in text.split("\n") if line.strip()]
    if path == "-" and len(lines) > 1 and all(line.lstrip().startswith("{") for line in lines):
        return _from_lines(text, path)
    data = parse_json(text, f"-f {path}")
    return data if isinstance(data, list) else [data]


def read_rows(path: str) -> list[Row]:
    """The rows of a grid: of a CSV file by its header, of an NDJSON file by the objects' keys."""
    text = read_text(path, "--each")
    if Path(path).suffix.lower() in (".ndjson", ".jsonl"):
        rows = _from_lines(text, path)
        for number, row in enumerate(rows, 1):
            if not isinstance(row, dict):
                raise click.UsageError(f"--each {path}: row {number} is no object but {type(row).__name__}")
    else:
        rows = list(_from_csv(text, path))
    if not rows:
        raise click.UsageError(f"--each {path}: holds no row")
    return rows


def _from_csv(text: str, path: str) -> Iterator[Row]:
    reader = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True)
    names = reader.fieldnames or []
    if len(set(names)) != len(names) or "" in names:
        raise click.UsageError(f"--each {path}: the first line must name every column, each once; found {names}")
    for row in reader:
        if None in row or None in row.values():
            raise click.UsageError(f"--each {path}: line {reader.line_num} has not {len(names)} values")
        yield {name: _typed(value) for name, value in row.items()}


class Cell(str):
    """A CSV value as it was written; `value` is the number or truth value that it spells."""

    __slots__ = ("value",)
    value: Any


def _typed(text: str) -> Cell:
    cell = Cell(text)
    number = re.fullmatch(r"-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?", text)
    cell.value = json.loads(text) if number or text in ("true", "false", "null") else text
    return cell


def expand(spec: Spec, rows: list[Row]) -> list[Spec]:
    """One job for each row: `{column}` is replaced, and the row's values become tags."""
    jobs = []
    for number, row in enumerate(rows, 1):
        job = {**spec}
        for name in ("name", "batch_key", "idempotency_key"):
            if isinstance(job.get(name), str):
                job[name] = _filled(job[name], row)
        job["params"] = {
            key: _texts(value, row) if key in TEXT_PARAMS else _values(value, row)
            for key, value in spec["params"].items()
        }
        tags = [(re.sub(r"[:=\s]", "_", key)[:100], _text(value)[:MAX_TAG]) for key, value in row.items()]
        own = {key: _filled(value, row) for key, value in spec.get("tags", {}).items()}
        job["tags"] = {**dict(tags[:MAX_TAGS]), "row": str(number), **own}
        job.setdefault("name", " ".join(f"{key}={value}" for key, value in tags)[:MAX_NAME])
        jobs.append(job)
    return jobs


def _texts(value: Any, row: Row) -> Any:
    """Every text in it filled in; what is filled in is text."""
    if isinstance(value, str):
        return _filled(value, row)
    if isinstance(value, dict):
        return {key: _texts(item, row) for key, item in value.items()}
    return [_texts(item, row) for item in value] if isinstance(value, list) else value


def _values(value: Any, row: Row) -> Any:
    """As `_texts`, but a text that is one placeholder becomes the value itself: a number stays a number."""
    if isinstance(value, str):
        match = PLACEHOLDER.fullmatch(value)
        if match and match["column"] in row:
            found = row[match["column"]]
            return found.value if isinstance(found, Cell) else found
        return _filled(value, row)
    if isinstance(value, dict):
        return {key: _values(item, row) for key, item in value.items()}
    return [_values(item, row) for item in value] if isinstance(value, list) else value


def _filled(text: str, row: Mapping[str, Any]) -> str:
    """`{column}` replaced; an unknown column is an error rather than a surprise."""

    def value(match: re.Match[str]) -> str:
        column = match["column"]
        if column is None:
            return str(match["literal"] or match["shell"])
        if column not in row:
            raise click.UsageError(f"--each: there is no column {column!r}; there are {', '.join(row)}")
        return _text(row[column])

    return PLACEHOLDER.sub(value, text)


def _text(value: Any) -> str:
    return str(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
