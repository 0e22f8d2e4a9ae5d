"""What Playwright says, for people: without colours and stacks, and with places as the project knows them."""

import re
from itertools import takewhile
from pathlib import Path

TEXT_CHARS = 4_000
BRIEF_LINES, LINE_CHARS = 3, 300
ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\-_]")
ASIDE = re.compile(r"\s+at \S|\s*>?\s*\d+ \||\s*$")  # a stack, a piece of the source, nothing
FRAME = re.compile(r"^\s+at (?:.* \()?(?:file://)?([^\s(][^()]*?:\d+:\d+)\)?$", re.MULTILINE)


def plain(text: str, most: int = TEXT_CHARS) -> str:
    """Without colours, and not too long."""
    text = ANSI.sub("", text[: 4 * most]).strip()
    return text if len(text) <= most else text[: most - 1] + "…"


def relative(text: str, folder: Path) -> str:
    """Files of the project by their places in it: where an upload was unpacked concerns nobody."""
    return text.replace(f"file://{folder}/", "").replace(f"{folder}/", "").replace(str(folder), "the project")


def brief(text: str) -> str:
    """The first lines of an error as one, and the place in the project that it came from, if it is known."""
    lines = plain(text).splitlines()
    said = list(takewhile(lambda line: not ASIDE.match(line), lines))[:BRIEF_LINES] or lines[:1]
    short = " ".join(line.strip()[:LINE_CHARS] for line in said)
    ours = (
        place for place in FRAME.findall(text) if not place.startswith(("/", "node:")) and "node_modules" not in place
    )
    place = next(ours, None)
    return short if place is None or place.partition(":")[0] in short else f"{short} ({place})"
