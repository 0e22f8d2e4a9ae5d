"""Files that a project, or a run of it, has written: read only so far as the server can bear, whatever they hold."""

import json
import os
from pathlib import Path
from typing import Any

PACKAGE, PACKAGE_BYTES = "package.json", 1 << 20


def read_start(path: Path, most: int) -> bytes:
    """The first bytes of a file. Raises OSError."""
    with path.open("rb") as file:
        return file.read(most)


def read_end(path: Path, most: int, begin: int = 0) -> str:
    """The last bytes of a file, none of them before `begin`. Raises OSError."""
    with path.open("rb") as file:
        file.seek(max(begin, file.seek(0, os.SEEK_END) - most))
        return file.read(most).decode(errors="replace")


def read_json(path: Path, most: int) -> Any:
    """What a JSON file of at most so many bytes holds; None: it is not there, is larger, or is no JSON."""
    try:
        text = read_start(path, most + 1) if path.is_file() else b""
        return json.loads(text) if len(text) <= most else None
    except (OSError, ValueError, RecursionError):
        return None
