"""The git commit of a checkout, read from its files: git itself may be missing, or refuse another user's folder."""

import re
from pathlib import Path

from hpcq_runners.appwright.reading import read_start

LINE_BYTES, PACKED_BYTES = 4096, 16 << 20
HEX = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
LINKS = 5  # of references that lead to references


def commit_of(folder: Path) -> str | None:
    """The commit that `folder`, or a folder above it, has checked out; None when it is no checkout."""
    try:
        for place in (folder, *folder.parents):
            if (place / ".git").exists():
                return _head(_git_dir(place / ".git"))
    except (OSError, UnicodeError):
        pass
    return None


def _git_dir(path: Path) -> Path:
    """A worktree or submodule has a file there that says where it really is."""
    if path.is_dir():
        return path
    return path.parent / _text(path).removeprefix("gitdir:").strip()


def _text(path: Path, most: int = LINE_BYTES) -> str:
    return read_start(path, most).decode()


def _head(git: Path) -> str | None:
    common = git
    if (git / "commondir").is_file():
        common = git / _text(git / "commondir").strip()
    text = _text(git / "HEAD").strip()
    for _ in range(LINKS):
        if HEX.fullmatch(text):
            return text
        name = text.removeprefix("ref:").strip()
        found = next((at / name for at in (git, common) if (at / name).is_file()), None)
        if found is None:
            return _packed(common / "packed-refs", name)
        text = _text(found).strip()
    return None


def _packed(path: Path, name: str) -> str | None:
    if not path.is_file():
        return None
    for line in _text(path, PACKED_BYTES).splitlines():
        commit, _, reference = line.partition(" ")
        if reference == name and HEX.fullmatch(commit):
            return commit
    return None
