"""Uploaded files: received whole or not at all, kept once under their SHA-256, and removed when nobody needs them.

A file is written below `<data>/blobs/incoming`, and moved to its place when its sum is right and it is on disk; then
its row is kept. So a half-open upload is never seen, and what a crash leaves is cleared at the next start.
"""

import asyncio
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from hpcq.config import Retention
from hpcq.engine import files, inputs
from hpcq.engine.alarm import now
from hpcq.engine.errors import BadSpec, EngineError, FieldError, OutcomeUnknown, OutOfSpace, Unavailable
from hpcq.engine.pruning import DAY_S, Freed
from hpcq.store.blobs import SPARED_S, STALE_S
from hpcq.store.errors import StoreBroken, StoreFull
from hpcq.store.reader import Reader
from hpcq.store.rows import AppRow, BlobRow
from hpcq.store.writer import Writer

P = ParamSpec("P")
T = TypeVar("T")
PIECE = 1 << 20  # bytes that are hashed and written in one hop to a thread
RESERVE = 256 << 20  # an upload leaves so much of the disk free, or a twentieth of a small one: the store needs it
THREADS = 4  # of their own: uploads to a slow disk must not hold up what jobs leave and clients read
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class WrongSum(EngineError):
    """What came is not what was announced."""

    def __init__(self, announced: str, found: str) -> None:
        super().__init__(f"the body's SHA-256 is {found}, and not {announced}; nothing was kept")
        self.found = found


class Blobs:
    """All uploaded files. One is known when its row and its file are there."""

    def __init__(self, writer: Writer, reader: Reader, data_dir: Path) -> None:
        self._writer = writer
        self._reader = reader
        self._data_dir = data_dir
        self._incoming = data_dir / "blobs" / "incoming"
        self._moving = asyncio.Lock()  # held where files and rows must agree
        self._threads = ThreadPoolExecutor(THREADS, "hpcq-upload")
        files.remove(self._incoming)  # of a life that ended in the middle of uploads

    def path(self, sha256: str) -> Path:
        """Where it lies, or would."""
        return files.blob(self._data_dir, sha256)

    async def find(self, org: str | None, sha256: str) -> BlobRow | None:
        """A known file that this org may name; it is kept for an hour from now on."""
        row = await self._reader.blob(org, sha256)
        if row is None or not await asyncio.to_thread(self.path(sha256).is_file):
            return None
        at = now().wall
        if row.used_at < at - STALE_S and not await self._writer.touch_blob(sha256, at):
            return None  # it has just been pruned
        return row

    async def receive(self, org: str | None, sha256: str, body: AsyncIterator[bytes]) -> BlobRow:
        """Keep a file. Raises WrongSum, OutOfSpace, OutcomeUnknown, and whatever `body` raises; then nothing is kept.

        The bytes of a file that is on disk already are summed up, but not written again.
        """
        there = await self.find(None, sha256) is not None
        draft = Draft(None if there else self._incoming)
        try:
            await self._apart(draft.open)
            async for piece in _gathered(body):
                await self._apart(draft.add, piece)
            if (found := draft.sum()) != sha256:
                raise WrongSum(sha256, found)
            await self._apart(draft.finish)
            async with self._moving:
                return await self._keep(draft, sha256, org)
        except OSError as error:
            if error.errno in NO_SPACE:
                raise OutOfSpace(f"there is no space for this file: {error.strerror}; nothing was kept") from error
            raise
        finally:
            await asyncio.shield(self._apart(draft.discard))

    async def _keep(self, draft: "Draft", sha256: str, org: str | None) -> BlobRow:
        path, at = self.path(sha256), now().wall
        placed = await self._apart(draft.place, path)
        row = BlobRow(sha256, draft.size, at, at)
        try:
            await self._writer.keep_blob(row, org)
        except StoreFull as full:
            if placed:
                path.unlink(missing_ok=True)
            raise OutOfSpace(f"the disk is full, nothing was kept: {full}") from full
        except StoreBroken as broken:
            raise OutcomeUnknown("the disk failed while writing; the file may be kept") from broken
        return row

    async def _apart(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run it on a thread; whoever is cancelled meanwhile goes on when it is done: no two see to one draft."""
        hop = asyncio.get_running_loop().run_in_executor(self._threads, partial(function, *args, **kwargs))
        try:
            return await asyncio.shield(hop)
        except asyncio.CancelledError:
            await asyncio.wait([hop])
            raise

    def make_room(self, size: int) -> None:
        """Raises OutOfSpace when a file of this size would leave too little of the disk."""
        _refuse_beyond(files.make(self._incoming), size)

    # Builds by name.

    async def name(self, org: str | None, app: AppRow) -> bool:
        """From now on the name stands for this file; whether it is a new name. Raises BadSpec, OutOfSpace."""
        if await self.find(org, app.sha256) is None:
            text = f"there is no blob {app.sha256}; upload it first, with PUT /v1/blobs/{app.sha256}"
            raise BadSpec([FieldError("/blob", text)])
        try:
            return await self._writer.name_app(app)
        except StoreFull as full:
            raise OutOfSpace(f"the disk is full, nothing was kept: {full}") from full
        except StoreBroken as broken:
            raise OutcomeUnknown("the disk failed while writing; the name may be kept") from broken

    # Retention.

    async def prune(self, retention: Retention, *, at: float, dry_run: bool) -> Freed:
        """Remove what nobody has asked for in `blobs_days`, and files that a crash has left without a row."""
        before = min(at - retention.blobs_days * DAY_S, at - SPARED_S)
        apps_before = min(at - retention.jobs_days * DAY_S, before)
        freed, more = Freed(), True
        while more:
            async with self._moving:
                gone = await self._writer.prune_blobs(before, apps_before, dry_run=dry_run)
                if gone and not dry_run:
                    await asyncio.to_thread(_unlink, [self.path(blob.sha256) for blob in gone])
            freed += Freed(blobs=len(gone), bytes=sum(blob.size for blob in gone))
            more = bool(gone) and not dry_run
        return freed if dry_run else freed + await self._sweep()

    async def _sweep(self) -> Freed:
        """Files without a row."""
        freed = Freed()
        for part in range(256):
            folder = self._data_dir / "blobs" / f"{part:02x}"
            sums = await asyncio.to_thread(_sums, folder)
            if sums:
                async with self._moving:
                    stray = set(sums) - await self._writer.known_blobs(sums)
                    freed += Freed(bytes=await asyncio.to_thread(_unlink, [self.path(sha256) for sha256 in stray]))
        return freed


class Draft:
    """A file that is being received; its methods are called one after the other, on any thread.

    `folder` None: the bytes are only summed up.
    """

    def __init__(self, folder: Path | None) -> None:
        self.size = 0
        self._sum = hashlib.sha256()
        self._folder = folder
        self._path: Path | None = None

    def open(self) -> None:
        """Raises OSError."""
        if self._folder is not None:
            descriptor, name = tempfile.mkstemp(dir=files.make(self._folder))
            self._file, self._path = os.fdopen(descriptor, "wb", buffering=0), Path(name)

    def add(self, piece: bytes) -> None:
        """Raises OutOfSpace, OSError."""
        self._sum.update(piece)
        self.size += len(piece)
        if self._path is not None:
            _refuse_beyond(self._path.parent, len(piece))
            rest = memoryview(piece)
            while rest:
                rest = rest[self._file.write(rest) :]

    def sum(self) -> str:
        return self._sum.hexdigest()

    def finish(self) -> None:
        """All of it is on disk."""
        if self._path is not None:
            os.fchmod(self._file.fileno(), 0o400)
            os.fsync(self._file.fileno())
            self._file.close()

    def place(self, path: Path) -> bool:
        """Move it there, unless somebody else was faster; whether it was moved. Raises Unavailable."""
        if path.is_file():
            return False
        if self._path is None:
            raise Unavailable("the file was removed just now; send it again", 1.0)
        made = not path.parent.exists()
        self._path.rename(files.make(path.parent) / path.name)
        _sync(path.parent)
        if made:
            _sync(path.parent.parent)
        return True

    def discard(self) -> None:
        """What is not in its place goes."""
        if self._path is not None:
            self._file.close()
            self._path.unlink(missing_ok=True)


async def _gathered(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in larger pieces."""
    some: list[bytes] = []
    size = 0
    async for chunk in body:
        some.append(chunk)
        size += len(chunk)
        if size >= PIECE:
            yield b"".join(some)
            some, size = [], 0
    if some:
        yield b"".join(some)


def _refuse_beyond(folder: Path, size: int) -> None:
    disk = shutil.disk_usage(folder)
    reserve = min(RESERVE, disk.total // 20)
    if disk.free - reserve < size:
        raise OutOfSpace(f"the disk has {disk.free} bytes left, of which an upload must leave {reserve}")


def _sync(folder: Path) -> None:
    """The names in it are on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sums(folder: Path) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if inputs.SHA256.fullmatch(name)]
    except FileNotFoundError:
        return []


def _unlink(paths: list[Path]) -> int:
    """Their size together."""
    size = 0
    for path in paths:
        try:
            found = path.stat().st_size
            path.unlink()
        except OSError:  # it is gone, or cannot be: the next sweep tries again
            continue
        size += found
    return size
