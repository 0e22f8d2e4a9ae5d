"""What documents say of the code, made from the code. `python -m tests.support.generated` brings them up to date.

A document holds a generated part between `<!-- generated: NAME -->` and `<!-- end -->`; tests say that it is current.
"""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click

from hpcq.api.app import ROUTES
from hpcq.api.compat.front import WORDS, Words
from hpcq.api.docs_page import PATHS
from hpcq.cli.main import program
from hpcq.config import Limits
from hpcq.config_file import render
from hpcq.core.job import FINAL, TRANSITIONS, State
from tests.support.keyword_page import keywords
from tests.support.sources import ROOT

PART = re.compile(r"(<!-- generated: ([a-z-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMON = ("--help", "-h,", "--json", "--url", "--token-file")  # said once, at the top
SIZES = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def state_diagram() -> str:
    """Mermaid, from the table of legal changes."""
    lines = ["stateDiagram-v2", "    direction LR"]
    entries = [State.BLOCKED, State.DELAYED, State.QUEUED]
    lines += [f"    [*] --> {state}" for state in entries]
    lines += [f"    {old} --> {new}" for old, news in TRANSITIONS.items() for new in State if new in news]
    lines += [f"    {state} --> [*]" for state in State if state in FINAL]
    return "```mermaid\n" + "\n".join(lines) + "\n```\n"


def limits_table() -> str:
    """The settings of `[limits]`."""
    lines = ["| `[limits]` | default | what it bounds |", "| --- | ---: | --- |"]
    for name, field in Limits.model_fields.items():
        lines.append(f"| `{name}` | {_readable(name, field.default)} | {field.description} |")
    return "\n".join(lines) + "\n"


def _readable(name: str, value: float) -> str:
    if name.endswith("_bytes"):
        size, unit = next((size, unit) for size, unit in SIZES if value >= size)
        return f"{value / size:g} {unit}"
    return f"{value:g} s" if name.endswith("_s") else f"{value:,}"


def words_table() -> str:
    """What each front calls a state."""
    fronts = [name.replace("_", "-") for name in Words._fields]
    lines = [f"| state | {' | '.join(fronts)} |", "| --- " * (1 + len(fronts)) + "|"]
    return "\n".join([*lines, *(f"| {state} | {' | '.join(words)} |" for state, words in WORDS.items())]) + "\n"


def routes_table() -> str:
    """Every address that the server answers."""
    lines = ["| | | |", "| --- | --- | --- |"]
    for route in ROUTES:
        query = ", ".join(f"`{name}`" for name in route.query.model_fields) if route.query else ""
        path = re.sub(r"\{(\w+):[^}]*\}", r"{\1}", route.path)
        lines.append(f"| `{route.method} {path}` | {route.summary} | {query} |")
    lines.append("| `GET /openapi.json` | This API as OpenAPI 3.1 | |")
    lines += [f"| `GET {path}` | A page of the documentation | |" for path in PATHS]
    return "\n".join(lines) + "\n"


def command_line() -> str:
    """Every command with its arguments and options, from what `--help` says."""
    return "\n".join(_commands(program, click.Context(program, info_name="hpcq")))


def _commands(command: click.Command, ctx: click.Context) -> Iterator[str]:
    level = "#" * (2 + ctx.command_path.count(" "))
    yield f"{level} `{ctx.command_path}`\n" if ctx.parent else "## `hpcq`\n"
    yield f"`{ctx.command_path} {' '.join(command.collect_usage_pieces(ctx))}`\n"
    yield from _paragraphs(inspect.cleandoc(command.help or ""))
    records = [record for param in command.get_params(ctx) if (record := param.get_help_record(ctx))]
    options = [f"- `{names}`: {text}" for names, text in records if text and names.split()[0] not in COMMON]
    if options:
        yield "\n".join(options) + "\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            inner = command.get_command(ctx, name)
            assert inner is not None
            yield from _commands(inner, click.Context(inner, info_name=name, parent=ctx))


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in text.strip().split("\n\n"):
        if paragraph.startswith("\b\n"):
            yield "```text\n" + paragraph.removeprefix("\b\n") + "\n```\n"
        else:
            yield paragraph + "\n"


PARTS = {
    "states": state_diagram,
    "limits": limits_table,
    "routes": routes_table,
    "fronts": words_table,
    "commands": command_line,
    "keywords": keywords,
}


def current(path: Path) -> str:
    """The document as it should be."""
    return PART.sub(lambda found: found[1] + PARTS[found[2]]() + found[4], path.read_text(encoding="utf-8"))


def main() -> None:
    """Write all documents, and the configuration file."""
    for path in DOCUMENTS:
        path.write_text(current(path), encoding="utf-8")
    (ROOT / "config" / "hpcq.toml").write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main()
