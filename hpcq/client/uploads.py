"""Files for the server: sent as a stream, and only when it does not have them yet."""

import asyncio
import hashlib
import os
import stat
import tarfile
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from pathlib import Path
from typing import BinaryIO

from hpcq.client.errors import ClientError, Problem
from hpcq.client.transport import Transport

PIECE = 1 << 20
VERDICT_S = 600.0  # for the server to put a large file on its disk and answer
# Names at any depth; one that begins with a slash is a path from the folder.
LEFT_OUT = (".git", "__pycache__", "test-results", "playwright-report", "blob-report")
Sent = Callable[[int, int], None]  # bytes so far, of so many


async def has(transport: Transport, sha256: str) -> bool:
    """Whether the server has this file."""
    try:
        await transport.request("HEAD", f"/v1/blobs/{sha256}")
    except Problem as problem:
        if problem.status == 404:
            return False
        raise
    return True


async def send(transport: Transport, path: Path, on_sent: Sent | None = None) -> str:
    """Upload a file unless the server has it; its SHA-256. Raises ClientError for one that cannot be read.

    A broken connection begins the file again. `Expect` spares the bytes that the server would refuse.
    """
    try:
        sha256, size = await asyncio.to_thread(sum_of, path)
        if not await has(transport, sha256):
            headers = {
                "Content-Type": "application/octet-stream",
                "Content-Length": str(size),
                "Expect": "100-continue",
            }
            body = _pieces_of(path, size, on_sent)
            await transport.request("PUT", f"/v1/blobs/{sha256}", body=body, headers=headers, read_s=VERDICT_S)
    except OSError as error:
        raise ClientError(f"{path} cannot be uploaded: {error.strerror or error}") from error
    return sha256


async def send_folder(
    transport: Transport, folder: Path, leave_out: Collection[str] = LEFT_OUT, on_sent: Sent | None = None
) -> str:
    """Upload a folder as a tar; the tar's SHA-256. Equal folders have equal sums."""
    with tempfile.TemporaryDirectory(prefix="hpcq-") as place:
        path = Path(place) / "folder.tar"
        try:
            await asyncio.to_thread(pack, folder, path, leave_out)
        except OSError as error:
            raise ClientError(f"{folder} cannot be packed: {error.filename}: {error.strerror or error}") from error
        return await send(transport, path, on_sent)


def sum_of(path: Path) -> tuple[str, int]:
    """SHA-256 and size of a file."""
    total, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            total.update(piece)
            size += len(piece)
    return total.hexdigest(), size


def pack(folder: Path, target: Path, leave_out: Collection[str] = LEFT_OUT) -> None:
    """Write a tar of the files below a folder, without those names, times and owners: only what is in them counts."""
    if not folder.is_dir():
        raise NotADirectoryError(20, "not a folder", str(folder))
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        for name in below(folder, leave_out):
            path = folder / name
            if not stat.S_ISREG(path.lstat().st_mode) and not path.is_symlink() and not path.is_dir():
                continue  # a socket, a device: nothing that could be sent
            found = tar.gettarinfo(path, name)
            found.mtime, found.uid, found.gid, found.uname, found.gname = 0, 0, 0, "", ""
            found.mode = 0o755 if found.mode & 0o100 or found.isdir() else 0o644
            if found.islnk():  # its other name may be left out
                found.type, found.linkname, found.size = tarfile.REGTYPE, "", path.stat().st_size
            if found.isreg():
                with path.open("rb") as file:
                    tar.addfile(found, file)
            else:
                tar.addfile(found)


def below(folder: Path, leave_out: Collection[str]) -> Iterator[str]:
    """Names relative to the folder, in the same order everywhere."""
    leave_out = frozenset(leave_out)
    for here, folders, files in os.walk(folder):
        path = Path(here).relative_to(folder)
        above = "" if path == Path() else f"{path.as_posix()}/"
        folders[:] = sorted(name for name in folders if _wanted(above, name, leave_out))
        for name in sorted([*folders, *(name for name in files if _wanted(above, name, leave_out))]):
            yield above + name


def _wanted(above: str, name: str, leave_out: frozenset[str]) -> bool:
    return name not in leave_out and f"/{above}{name}" not in leave_out


def _pieces_of(path: Path, size: int, on_sent: Sent | None) -> Callable[[], AsyncIterator[bytes]]:
    """Makes the body, as often as it must be sent."""

    async def pieces() -> AsyncIterator[bytes]:
        sent = 0
        with path.open("rb") as file:
            while piece := await asyncio.to_thread(_read, file):
                yield piece
                sent += len(piece)
                if on_sent is not None:
                    on_sent(sent, size)

    return pieces


def _read(file: BinaryIO) -> bytes:
    return file.read(PIECE)
