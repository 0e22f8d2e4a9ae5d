"""What the command line writes: tables, JSON, messages. Nothing that a job wrote reaches a terminal unchecked."""

import codecs
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

COLOURS = {
    "blocked": "magenta",
    "delayed": "blue",
    "queued": "cyan",
    "starting": "yellow",
    "running": "yellow",
    "cancelling": "yellow",
    "succeeded": "green",
    "failed": "red",
    "cancelled": "bright_black",
    "ready": "green",
    "busy": "yellow",
    "paused": "magenta",
    "ok": "green",
    "degraded": "yellow",
    "missing": "red",
}
SLOW_S = 2.0  # what takes longer shows that it is alive

# C0 and C1 controls but newline and tab; marks that turn the direction of text; lone surrogates.
UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
# Colours and titles that programs write: ESC [ … letter, ESC ] … BEL or ESC \, other two-byte sequences; and the
# one-character forms of ESC [ and ESC ].
SEQUENCE = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]|(?:\x1b[\\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\\\|\x9c)"
    "|\x1b[ -/]*[0-Z\\\\^_`a-~]"
)
UNFINISHED = re.compile(
    "(?:(?:\x1b\\[|\x9b)[0-?]*[ -/]*|(?:\x1b[\\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*\x1b?|\x1b[ -/]*)\\Z"
)
LONGEST_SEQUENCE = 4096


def clean(value: object) -> str:
    """One line of harmless text: control characters are shown as `\\x1b`, newlines as `\\n`."""
    return UNSAFE.sub(_shown, str(value)).replace("\n", "\\n").replace("\t", " ")


def _shown(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


class Cleaner:
    """Makes a stream of a job's bytes harmless, chunk by chunk: escape sequences go, as do other control characters;
    a carriage return becomes a new line."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def feed(self, chunk: bytes, *, last: bool = False) -> str:
        """The harmless text of what is complete so far."""
        text = self._rest + self._decoder.decode(chunk, last)
        self._rest = ""
        unfinished = None if last else UNFINISHED.search(text)
        if unfinished and len(text) - unfinished.start() <= LONGEST_SEQUENCE:
            text, self._rest = text[: unfinished.start()], text[unfinished.start() :]
        elif not last and text.endswith("\r"):
            text, self._rest = text[:-1], "\r"
        text = SEQUENCE.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
        return UNSAFE.sub("", text)


def print_json(value: Any) -> None:
    """Indented JSON; characters that could steer a terminal are escaped."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    click.echo(UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text))


def say(text: str) -> None:
    """A remark for the person at the terminal, on stderr. One that nobody can read any more stops nothing."""
    try:
        click.echo(text, err=True)
    except OSError:
        silence(sys.stderr)


def silence(stream: IO[str]) -> None:
    """Its terminal or its reader is gone: what is written to it from now on, and what waits in it, goes nowhere."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def console(*, stderr: bool = False) -> "Console":
    """Rich's console for a terminal."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def coloured(state: str) -> "Text":
    """A state in its colour."""
    from rich.text import Text

    return Text(state, style=COLOURS.get(state, ""))


Row = Sequence[object]


def table(columns: Sequence[str], rows: Iterable[Row], *, empty: str = "") -> None:
    """A table with colours on a terminal; elsewhere plain columns, never cut off. `empty` goes to stderr."""
    cells = [[clean("-" if cell is None else cell) for cell in row] for row in rows]
    if not cells:
        if empty:
            say(empty)
        return
    if sys.stdout.isatty():
        _rich_table(columns, cells)
    else:
        for line in aligned(columns, cells):
            click.echo(line)


def aligned(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> Iterator[str]:
    """Aligned lines, the columns' names first."""
    rows = [[name.upper() for name in columns], *cells]
    widths = [max(len(row[index]) for row in rows) for index in range(len(columns))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _rich_table(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    """Where it is narrow, names are cut and the last column is folded."""
    from rich.table import Table

    grid = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
    for name in columns:
        last = name == columns[-1]
        widest = max((len(row[columns.index(name)]) for row in cells), default=0)
        least = None if last or name == "name" else max(len(name), min(widest, 12))
        grid.add_column(name, overflow="fold" if last else "ellipsis", no_wrap=not last, min_width=least)
    for row in cells:
        grid.add_row(*[coloured(cell) for cell in row])
    console().print(grid)


def pairs(values: Iterable[tuple[str, object]]) -> None:
    """Names and values, one a line; those that are empty are left out."""
    shown = [(name, clean(value)) for name, value in values if value not in (None, "", {}, [])]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        colour = COLOURS.get(value) if name == "state" else None
        click.echo(f"{click.style(name.ljust(width), dim=True)}  {click.style(value, fg=colour)}")


def compact(value: Any) -> str | None:
    """A value in one line: text as it is, anything else as JSON; None for what is empty."""
    if value in (None, {}, []):
        return None
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def many(count: int, what: str) -> str:
    """`1 job`, `2 jobs`."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def duration(seconds: float | None) -> str:
    """Seconds as a person says them: `0.12s`, `34s`, `5m07s`, `3h12m`, `2d04h`."""
    if seconds is None:
        return "-"
    if seconds < 10 and isinstance(seconds, float):
        return f"{seconds:.2f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"


@contextmanager
def busy(text: str) -> Iterator[list[str]]:
    """A spinner on stderr for work that takes over two seconds; the only item of what it yields is its text."""
    import threading

    words = [text]
    done = threading.Event()
    if not sys.stderr.isatty():
        yield words
        return
    spinner = threading.Thread(target=_spin, args=(words, done), daemon=True)
    spinner.start()
    try:
        yield words
    finally:
        done.set()
        spinner.join()


def _spin(words: list[str], done: Any) -> None:
    if done.wait(SLOW_S):
        return
    from rich.live import Live
    from rich.spinner import Spinner

    spinner = Spinner("dots", clean(words[0]))
    # what is printed meanwhile goes above the spinner, unless it goes elsewhere anyway
    with Live(spinner, console=console(stderr=True), transient=True, redirect_stdout=sys.stdout.isatty()):
        while not done.wait(0.2):
            spinner.update(text=clean(words[0]))


def title(job: Any) -> str:
    """What a job is called: its name, its command, or what it computes."""
    import shlex

    if job.get("name"):
        return str(job["name"])
    params = job.get("params") or {}
    command = params.get("command")
    if isinstance(command, list):
        return shlex.join(str(part) for part in command)
    if params.get("operation"):
        size = f" {params['size']}" if params.get("size") else ""
        return f"{params['operation']}{size}"
    return str(command or params.get("test_path") or job.get("runner") or job.get("queue") or "")
