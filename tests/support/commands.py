"""Commands of `hpcq` that stand in documents and workflows: found, and held against the program."""

import re
import shlex
from collections.abc import Iterator
from itertools import takewhile

import click

from hpcq.cli.main import program

START = re.compile(r"(?:^|[;&|(`]|\bexec|\bif)[ \t]*(?=hpcq\s)", re.MULTILINE)
JOINED = re.compile(r"\\\n\s*")
ENDS = ";&|()<>\n"


def commands_in(script: str) -> Iterator[list[str]]:
    """The words of each `hpcq …` in a shell script, up to the end of that command."""
    text = JOINED.sub("", script)
    for start in START.finditer(text):
        lexer = shlex.shlex(text[start.end() :], posix=True, punctuation_chars=ENDS)
        lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, ""
        yield list(takewhile(lambda word: not _ends(word), lexer))


def _ends(word: str) -> bool:
    return word.startswith("#") or (bool(word) and set(word) <= set(ENDS))


def unknown(words: list[str]) -> str | None:
    """What the program would say of the command's name or options; None: it knows them all."""
    command: click.Command = program
    ctx = click.Context(program, info_name="hpcq", resilient_parsing=True)
    rest = words[1:]
    try:
        while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
            inner = command.get_command(ctx, rest[0])
            if inner is None:
                return f"no command {rest[0]}"
            command, rest = inner, rest[1:]
            ctx = click.Context(command, parent=ctx, info_name=command.name)
        command.make_parser(ctx).parse_args(list(rest))
    except click.UsageError as error:
        return error.format_message()
    return None
