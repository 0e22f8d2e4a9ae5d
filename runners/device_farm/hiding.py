"""Taking secrets out of what a job leaves behind: files, and what is packed in them.

A file may still be written to, or cut short, by a process that the job left: nothing is mapped into memory.
"""

import contextlib
import copy
import io
import os
import shutil
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, BinaryIO

PACKED = b"PK\x03\x04"
PIECE = 1 << 20  # bytes of a file that are read at a time
LARGEST = 64 << 20  # bytes of a packed file that is looked into: beyond are videos
LARGEST_SIMPLE = 1 << 31  # bytes; a packed file beyond needs the larger form

Lost = Callable[[Path, Exception], None]


def masked(content: bytes, secrets: Sequence[bytes]) -> bytes:
    """As many asterisks in their place."""
    for secret in secrets:
        content = content.replace(secret, b"*" * len(secret))
    return content


def hide_in_files(root: Path, secrets: Sequence[bytes], lost: Lost) -> None:
    """Overwrite them in a file, or in all files of a folder, and in their names.

    What cannot be looked into is removed, and `lost` told. Raises nothing.
    """
    inside = (Path(top, name) for top, folders, files in os.walk(root, topdown=False) for name in (*files, *folders))
    for path in [root] if root.is_file() else inside:
        try:
            if path.is_file() and not path.is_symlink():
                _hide_in_file(path, secrets)
            _rename(path, secrets)
        except Exception as error:  # whatever a test has left there: it must neither stay nor spoil the verdict
            lost(path, error)
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def _rename(path: Path, secrets: Sequence[bytes]) -> None:
    name = os.fsdecode(masked(os.fsencode(path.name), secrets))
    if name != path.name:
        path.rename(path.with_name(name))


def _hide_in_file(path: Path, secrets: Sequence[bytes]) -> None:
    """What is packed first: it would not fit its checksum any more."""
    if not os.access(path, os.R_OK | os.W_OK):
        path.chmod(path.stat().st_mode | 0o600)
    if zipfile.is_zipfile(path):
        _rewrite(path, secrets)
    with path.open("r+b", buffering=0) as file:
        _overwrite(file.fileno(), secrets)


def _overwrite(descriptor: int, secrets: Sequence[bytes]) -> None:
    """In place: somebody may follow it."""
    overlap = max(map(len, secrets)) - 1
    for begin in range(0, os.fstat(descriptor).st_size, PIECE):
        piece = os.pread(descriptor, PIECE + overlap, begin)
        for secret in secrets:
            at = piece.find(secret)
            while at >= 0:
                os.pwrite(descriptor, b"*" * len(secret), begin + at)
                at = piece.find(secret, at + len(secret))


def _rewrite(path: Path, secrets: Sequence[bytes]) -> None:
    """A packed file is packed anew, if there is need for it."""
    fresh = path.with_name(f"{path.name[:200]}.fresh")
    try:
        with path.open("rb") as old:
            source = _opened(old)
            if source is not None and _repack(source, fresh, secrets):
                fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def _opened(file: BinaryIO) -> zipfile.ZipFile | None:
    """None: nobody can unpack it."""
    try:
        return zipfile.ZipFile(file)
    except zipfile.BadZipFile:
        return None


def _repack(source: zipfile.ZipFile, fresh: Path | IO[bytes], secrets: Sequence[bytes]) -> bool:
    """Whether anything was found, and `fresh` written. Packed files may lie in packed files."""
    found = {about.header_offset for about in source.infolist() if _masked_in(source, about, secrets) is not None}
    if not found:
        return False
    with zipfile.ZipFile(fresh, "w", zipfile.ZIP_DEFLATED) as target:
        for about in source.infolist():
            clean = _masked_in(source, about, secrets) if about.header_offset in found else None
            anew = copy.copy(about)
            if clean is not None:
                target.writestr(anew, clean)
                continue
            large = about.file_size > LARGEST_SIMPLE
            with source.open(about) as old, target.open(anew, "w", force_zip64=large) as new:
                shutil.copyfileobj(old, new)
    return True


def _masked_in(source: zipfile.ZipFile, about: zipfile.ZipInfo, secrets: Sequence[bytes]) -> bytes | None:
    """The content of a packed file without them; None: it holds none, or is too large to be looked into."""
    if about.file_size > LARGEST:
        return None
    content = source.read(about)
    if content.startswith(PACKED):
        inner, fresh = _opened(io.BytesIO(content)), io.BytesIO()
        if inner is not None and _repack(inner, fresh, secrets):
            return fresh.getvalue()
    clean = masked(content, secrets)
    return None if clean == content else clean
