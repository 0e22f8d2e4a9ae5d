"""Writes the configuration file that says what is so anyway: every key, explained, and equal to its default."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hpcq.config import Queue, Retries, Settings, builtin_queues
from hpcq.engine.registry import find_runners

HEAD = """\
# hpcq: every setting, with its default. Keep only what you change: a missing key has the value that stands here.
# A key without a value is unset. `hpcq config check FILE` says what is wrong with a file, `hpcq config show` what
# the server would run with. The environment goes before the file: HPCQ_SERVER__PORT=9000.
"""

ABOUT = {
    "server": "The address, the data folder, and how the server stops.",
    "jobs": "What holds for all jobs.",
    "limits": "Every bound has an answer beyond it: 413, 422, 429 or a marker. docs/operations.md lists them.",
    "retention": "What is kept how long. Unfinished jobs and what they need are never removed.",
    "resources": "What jobs may ask for in `resources`.",
    "queues": "Queues. Those below exist without any configuration; add your own beside them.",
}

RESOURCES = """\
# What jobs can ask for: a count, or a list of items. cpus and memory_mb are detected when they are absent.
# cpus =
# memory_mb =
# licence = 1
# gpu = ["0", "1"]
"""


def render() -> str:
    """The whole file, as config/hpcq.toml has it."""
    parts = [HEAD]
    for table, field in Settings.model_fields.items():
        parts.append(f"\n# {ABOUT[table]}\n")
        if table == "queues":
            parts.extend(_queues())
        elif table == "resources":
            parts.append(f"[resources]\n{RESOURCES}")
        else:
            default: BaseModel = field.default
            parts.append(f"[{table}]\n" + "".join(_keys(type(default).model_fields, default.model_dump())))
    return "".join(parts)


def _queues() -> Iterator[str]:
    """Each built-in queue; keys that all queues have are explained once."""
    runners = find_runners()
    explained = True
    for name, given in builtin_queues().items():
        fields = {key: field for key, field in Queue.model_fields.items() if key != "retries"}
        defaults = Queue(**given).model_dump()
        defaults["slots"] = None if name != "noop" else given["slots"]  # one per core is no number for a file
        yield f"{'' if explained else chr(10)}[queues.{name}]\n"
        yield from _keys(fields, defaults, explained=explained)
        found = runners.get(given["runner"])
        if found and found.runner and (own := found.runner.settings.model_fields):
            yield f"# Of the {found.name} runner:\n"
            yield from _keys(own, found.runner.settings().model_dump())
        yield f"\n[queues.{name}.retries]\n"
        yield from _keys(Retries.model_fields, defaults["retries"], explained=explained)
        explained = False


def _keys(fields: Mapping[str, FieldInfo], values: Mapping[str, Any], *, explained: bool = True) -> Iterator[str]:
    for key, field in fields.items():
        if explained:
            yield f"# {field.description}\n"
        value = values[key]
        yield f"# {key} =\n" if value is None else f"{key} = {_toml(value)}\n"


def _toml(value: Any) -> str:
    """JSON's strings, numbers, booleans and lists are TOML's too."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
