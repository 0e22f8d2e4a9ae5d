"""The page of the acceptance keywords, from what Robot Framework's libdoc knows of the library."""

import re
from collections.abc import Iterator
from typing import Any

from robot.libdocpkg import LibraryDocumentation  # type: ignore[import-untyped]

from tests.support.sources import ROOT

LIBRARY = ROOT / "acceptance" / "keywords" / "hpcq_acceptance"


def library() -> Any:
    """What libdoc knows: `doc`, and `keywords` with their `name`, `args` and `doc`."""
    return LibraryDocumentation(str(LIBRARY))


def keywords() -> str:
    """The library's introduction, then each keyword with its arguments, as Markdown."""
    found = library()
    lines = [*_markdown(found.doc)]
    for keyword in found.keywords:
        arguments = "".join(f"    {argument}" for argument in map(str, keyword.args))
        lines += [f"### {keyword.name}", "", f"`{keyword.name}{arguments}`", "", *_markdown(keyword.doc)]
    return "\n".join(lines)


def _markdown(text: str) -> Iterator[str]:
    """From Robot Framework's own marks: `| ` begins a line of code, double backquotes are code."""
    code = False
    for line in text.rstrip().split("\n"):
        if line.startswith("|") != code:
            code = not code
            yield "```robotframework" if code else "```"
        if code:
            yield line.removeprefix("|").removeprefix(" ").replace("*****", "***")
        else:
            yield re.sub(r"``(.+?)``", r"`\1`", line)
    if code:
        yield "```"
    yield ""
