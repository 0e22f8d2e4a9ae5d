"""What Playwright says, for people: without colours and stacks, and with places as the project knows them."""

import re
from itertools import takewhile
from pathlib import Path

TEXT_CHARS = 4_000
BRIEF_LINES, LINE_CHARS = 3, 300
LOOKED_AT_CHARS = 64 << 10
MODULES = "node_modules"
ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\-_]")
ASIDE = re.compile(r"\s+at \S|\s*>?\s*\d+ \||\s*$")  # a stack, a piece of the source, nothing
FRAME = re.compile(r"[ \t]+at (?:.* \()?(?:file://)?([^\s(][^()]*?:\d+:\d+)\)?$")


def plain(text: str, most: int = TEXT_CHARS) -> str:
    """Without colours, and not too long."""
    text = ANSI.sub("", text[: 4 * most]).strip()
    return text if len(text) <= most else text[: most - 1] + "…"


def lines_of(text: str) -> list[str]:
    """Its lines, bounded in number and length. Patterns look at one after the other: in a text that spans lines, what a
    job prints could keep one busy for minutes, and with it the whole server."""
    return [line[:LINE_CHARS] for line in text[:LOOKED_AT_CHARS].splitlines()]


def relative(text: str, folder: Path) -> str:
    """Files of the project by their places in it: where an upload was unpacked concerns nobody."""
    return text.replace(f"file://{folder}/", "").replace(f"{folder}/", "").replace(str(folder), "the project")


def brief(text: str) -> str:
    """The first lines of an error as one, and the place in the project that it came from, if it is known."""
    lines = lines_of(plain(text))
    said = list(takewhile(lambda line: not ASIDE.match(line), lines))[:BRIEF_LINES] or lines[:1]
    short = " ".join(line.strip() for line in said)
    places = (frame[1] for frame in map(FRAME.match, lines_of(text)) if frame)
    place = next((place for place in places if not place.startswith(("/", "node:")) and MODULES not in place), None)
    return short if place is None or place.partition(":")[0] in short else f"{short} ({place})"
