"""Uploaded projects: a tar, unpacked by a child of its own, for each attempt anew. What a test writes into its project
no other job sees."""

import asyncio
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hpcq.plugin import Exit, Infra, Rejected, Spawn
from hpcq_runners.appwright.settings import AppwrightSettings
from hpcq_runners.appwright.unpack_main import CPU_S, REFUSED

CHILD = Path(__file__).with_name("unpack_main.py")
WHOLE = "project"
SAID_BYTES = 4096


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
        await asyncio.to_thread((place.folder / WHOLE).mkdir, mode=0o700, parents=True)
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
