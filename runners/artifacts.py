"""Keeping the files that a job's patterns name."""

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

MAX_FILES = 10_000
TROUBLE = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE}


class NotKept(Exception):
    """Some file could not be kept. `infra`: it is the machine's trouble and not the job's."""

    def __init__(self, message: str, *, infra: bool = False) -> None:
        super().__init__(message)
        self.infra = infra


def keep(source: Path, patterns: Sequence[str], target: Path, *, move: bool) -> None:
    """Copy (or move) all regular files below `source` that match a pattern, or lie in a folder that does, to `target`,
    under their names relative to `source`. What a link leads to outside of `source` is passed over. Raises NotKept."""
    root, target = Path(os.path.realpath(source)), Path(os.path.realpath(target))
    found: set[Path] = set()  # all of them first: moving changes what a search finds
    for pattern in patterns:
        for path in _matches(root, pattern):
            if not path.is_relative_to(target) and _is_inside(path, root):
                found.add(path)
            if len(found) > MAX_FILES:
                raise NotKept(f"the artifact patterns match more than {MAX_FILES} files; pack them into one")
    for path in sorted(found):
        _keep_one(path, target / path.relative_to(root), target, move=move)


def _matches(root: Path, pattern: str) -> Iterator[Path]:
    """Files; of a folder that matches, all files below it."""
    try:
        for path in root.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                for folder, _, names in os.walk(path):
                    yield from (Path(folder, name) for name in names)
            else:
                yield path
    except OSError as error:
        raise NotKept(f"artifacts {pattern}: {error.strerror}: {error.filename}") from None


def _is_inside(path: Path, root: Path) -> bool:
    real = Path(os.path.realpath(path))
    return real.is_file() and real.is_relative_to(root)


def _keep_one(path: Path, destination: Path, target: Path, *, move: bool) -> None:
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        if not Path(os.path.realpath(destination.parent)).is_relative_to(target):
            raise NotKept(f"artifact {path.name}: {destination.parent} is a link that leads out of the artifacts")
        if destination.is_symlink():
            destination.unlink()
        if not (move and _moved(path, destination)):
            shutil.copyfile(path, destination)
    except OSError as error:
        message = f"artifact {destination.relative_to(target)} cannot be kept: {error.strerror or error}"
        raise NotKept(message, infra=error.errno in TROUBLE) from None


def _moved(path: Path, destination: Path) -> bool:
    """False: it has to be copied, being a link, or on another disk."""
    if path.is_symlink():
        return False
    try:
        path.replace(destination)
    except OSError as error:
        if error.errno == errno.EXDEV:
            return False
        raise
    return True
