"""What a command job may ask for. Every error names a real place of the body: `/params/command/2`, `/params/env/A`."""

import os
import re
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, TypeAdapter
from pydantic_core import PydanticCustomError

ARGUMENT_BYTES = 128 * 1024 - 1  # what Linux takes as one argument
MAX_ARGUMENTS = 10_000
MAX_VARIABLES = 1_000
MAX_GLOBS = 100
STDIN_CHARS = 1 << 20
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}")


def _argument(text: str) -> str:
    if "\0" in text:
        raise PydanticCustomError("nul", "must not hold a NUL byte: no program can be given one")
    if len(text) * 4 > ARGUMENT_BYTES and len(os.fsencode(text)) > ARGUMENT_BYTES:
        raise PydanticCustomError("too_long", "longer than 128 KiB, which no program can be given; use stdin or a file")
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("blank", "must not be blank: it says what to run")
    return text


def _folder(text: str) -> str:
    if not text.startswith("/"):
        raise PydanticCustomError("relative", "must be an absolute path on the server's machine")
    return text


def _name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise PydanticCustomError("name", "is no name of a variable: letters, digits and _, no digit in front")
    return text


def _glob(text: str) -> str:
    parts = PurePosixPath(text).parts
    if not parts or text.startswith("/") or ".." in parts:
        raise PydanticCustomError("glob", "must be a pattern relative to the command's folder, without '..'")
    return text


Argument = Annotated[str, AfterValidator(_argument)]
Line = Annotated[str, AfterValidator(_argument), AfterValidator(_not_blank)]
Words = Annotated[list[Argument], Field(min_length=1, max_length=MAX_ARGUMENTS)]
Folder = Annotated[str, AfterValidator(_argument), AfterValidator(_folder)]
Name = Annotated[str, AfterValidator(_name)]
Glob = Annotated[str, AfterValidator(_argument), AfterValidator(_glob)]

_LINE: TypeAdapter[str] = TypeAdapter(Line)
_WORDS: TypeAdapter[list[str]] = TypeAdapter(Words)


def _command(value: Any) -> list[str] | str:
    """By hand, because a union of pydantic's names its branches, which are no places of the body, in its errors."""
    if isinstance(value, str):
        return _LINE.validate_python(value)
    if not isinstance(value, list):
        raise PydanticCustomError("command", "must be a list (program and arguments) or one text for `sh -c`")
    words = _WORDS.validate_python(value)
    _not_blank(words[0])
    return words


class CommandParams(BaseModel):
    """A command: what to run, where, with what, and which files to keep."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    command: Annotated[
        list[str] | str,
        PlainValidator(_command, json_schema_input_type=Words | Line),
        Field(description="A program and its arguments, or one line for `sh -c`."),
    ]
    cwd: Folder | None = Field(
        None, description="An absolute path. Without it, a private folder that goes at the attempt's end."
    )
    env: dict[Name, Argument] = Field(
        default_factory=dict,
        max_length=MAX_VARIABLES,
        description="On top of the server's environment; the attempt's own HPCQ_* win.",
    )
    stdin: str = Field("", max_length=STDIN_CHARS)
    artifacts: list[Glob] = Field(
        default_factory=list,
        max_length=MAX_GLOBS,
        description="Files to keep: patterns relative to the command's folder.",
    )
