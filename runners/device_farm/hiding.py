"""Taking secrets out of what a job leaves behind: files, and what is packed in them."""

import io
import mmap
import zipfile
from collections.abc import Sequence
from pathlib import Path

PACKED = b"PK\x03\x04"
LARGEST = 64 << 20  # bytes of a packed file that is looked into: beyond are videos


def hide_in_files(root: Path, secrets: Sequence[bytes]) -> None:
    """Overwrite them in a file, or in all files of a folder, with as many asterisks."""
    for path in [root] if root.is_file() else sorted(root.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.stat().st_size:
            if zipfile.is_zipfile(path):
                _rewrite(path, secrets)
            else:
                _overwrite(path, secrets)


def _overwrite(path: Path, secrets: Sequence[bytes]) -> None:
    """In place: somebody may follow it."""
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as content:
        for secret in secrets:
            at = content.find(secret)
            while at >= 0:
                content[at : at + len(secret)] = b"*" * len(secret)
                at = content.find(secret, at)


def _rewrite(path: Path, secrets: Sequence[bytes]) -> None:
    """A packed file is packed anew, if there is need for it."""
    fresh = path.with_name(f"{path.name}.fresh")
    with path.open("rb") as old, fresh.open("wb") as new:
        changed = _repack(old, new, secrets)
    if changed:
        fresh.replace(path)
    else:
        fresh.unlink()


def _repack(old: io.IOBase, new: io.IOBase, secrets: Sequence[bytes]) -> bool:
    """Whether anything was found. Packed files may lie in packed files."""
    changed = False
    with zipfile.ZipFile(old) as source, zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED) as target:
        for about in source.infolist():
            content = clean = source.read(about)
            if len(content) <= LARGEST:
                clean = _clean(content, secrets)
            target.writestr(about, clean)
            changed = changed or clean != content
    return changed


def _clean(content: bytes, secrets: Sequence[bytes]) -> bytes:
    if content.startswith(PACKED):
        inner = io.BytesIO()
        try:
            return inner.getvalue() if _repack(io.BytesIO(content), inner, secrets) else content
        except (zipfile.BadZipFile, RecursionError):
            return content
    for secret in secrets:
        content = content.replace(secret, b"*" * len(secret))
    return content
