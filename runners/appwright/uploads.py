"""Uploaded projects: a tar, unpacked by a child of its own, for each attempt anew. What a test writes into its project
no other job sees."""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

from hpcq.plugin import Context, Exit, Infra, Rejected, Spawn
from hpcq_runners.appwright.settings import AppwrightSettings
from hpcq_runners.appwright.unpack_main import CPU_S, REFUSED

CHILD = Path(__file__).with_name("unpack_main.py")
KEPT_S = 7 * 86400.0  # a shared one that nobody has looked into for longer goes; the blob may still be there
SHARED, MODULES, WHOLE, FRESH = "projects", "node_modules", "project", "unpacking-"
SAID_BYTES = 4096

_locks: WeakValueDictionary[Path, asyncio.Lock] = WeakValueDictionary()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a project is unpacked, and who starts the child that does it. The folder is made."""

    folder: Path
    spawn: Spawn


async def unpack(sha256: str, place: Place, settings: AppwrightSettings, blob: Callable[[str], Path]) -> Path:
    """The folder of the project, inside `place`. Raises Rejected, Infra."""
    try:
        archive = await asyncio.to_thread(blob, sha256)
    except FileNotFoundError:
        raise Rejected(f"uploaded project {sha256} is not there any more; upload it again") from None
    try:
        await asyncio.to_thread(_make, place.folder, settings.shared_modules)
        limits = [str(settings.upload_mb), str(settings.upload_files)]
        words = [sys.executable, "-I", "-S", str(CHILD), str(archive), str(place.folder / WHOLE), *limits]
        said = place.folder / "said"
        process = await place.spawn(words, cwd=place.folder, output=said)
        try:
            exit_ = await process.wait()
        finally:
            await process.terminate(0.0)
        return await asyncio.to_thread(_judged, exit_, said, sha256)
    except OSError as error:
        raise _trouble(sha256, f"{error.strerror}: {error.filename}") from None


def _make(folder: Path, modules: Path | None) -> None:
    """Modules of the config lie beside the project, where Node finds them on its way up."""
    (folder / WHOLE).mkdir(mode=0o700, parents=True)
    if modules is not None and modules.is_dir():
        (folder / MODULES).symlink_to(modules)


def _judged(exit_: Exit, said: Path, sha256: str) -> Path:
    if exit_.code == 0:
        return _inside(said.parent)
    text = said.read_bytes()[-SAID_BYTES:].decode(errors="replace").strip()
    if exit_.code == REFUSED:
        raise Rejected(text)
    if exit_.signal == signal.SIGXCPU:
        raise Rejected(f"the uploaded project is no tar that can be unpacked: that takes more than {CPU_S} s")
    raise _trouble(sha256, text or f"the child ended with {exit_.code or exit_.signal}")


def _trouble(sha256: str, what: str) -> Infra:
    return Infra(f"uploaded project {sha256[:12]} cannot be unpacked: {what}")


def _inside(folder: Path) -> Path:
    """The project, packed with or without its own folder."""
    inner = list((folder / WHOLE).iterdir())
    return inner[0] if len(inner) == 1 and inner[0].is_dir() and not inner[0].is_symlink() else folder / WHOLE


async def shared(sha256: str, context: Context, blob: Callable[[str], Path]) -> Path:
    """The project for all who only look into it: one folder, whole or not there. Raises Rejected, Infra."""
    folder = context.data_dir / SHARED / sha256
    lock = _locks.setdefault(folder, asyncio.Lock())
    async with lock:
        try:
            if not await asyncio.to_thread(folder.is_dir):
                await _provide(sha256, folder, context, blob)
            os.utime(folder)
            return await asyncio.to_thread(_inside, folder)
        except OSError as error:
            raise _trouble(sha256, f"{error.strerror}: {error.filename}") from None


async def _provide(sha256: str, folder: Path, context: Context, blob: Callable[[str], Path]) -> None:
    await asyncio.to_thread(_prune, folder.parent)
    fresh = Path(tempfile.mkdtemp(prefix=FRESH, dir=folder.parent))
    try:
        await unpack(sha256, Place(fresh, context.spawn), context.settings, blob)
        await asyncio.to_thread(fresh.rename, folder)
    finally:
        await asyncio.to_thread(shutil.rmtree, fresh, ignore_errors=True)


def _prune(projects: Path) -> None:
    """Remove what nobody has used for long. It is renamed first: half a project must not pass for one."""
    projects.mkdir(mode=0o700, parents=True, exist_ok=True)
    now = time.time()
    for path in projects.iterdir():
        with contextlib.suppress(OSError):
            if now - path.stat().st_mtime > KEPT_S and path not in _locks:
                shutil.rmtree(path.rename(path.with_name(f"{FRESH}{path.name[:64]}-{time.monotonic_ns()}")))
