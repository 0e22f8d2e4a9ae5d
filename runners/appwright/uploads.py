"""Uploaded projects: a tar, unpacked once for each content, and kept while it is used."""

import asyncio
import contextlib
import os
import shutil
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from hpcq.plugin import Infra, Rejected
from hpcq_runners.appwright.settings import AppwrightSettings

KEPT_S = 7 * 86400.0  # an unpacked project that nobody has used for longer goes; the blob may still be there
MODULES = "node_modules"

_unpacking: dict[Path, asyncio.Lock] = {}


async def unpacked(sha256: str, data_dir: Path, settings: AppwrightSettings, blob: Callable[[str], Path]) -> Path:
    """The folder of an uploaded project. Two jobs that need the same one wait for the first. Raises Rejected, Infra."""
    projects = data_dir / "projects"
    folder = projects / sha256
    async with _unpacking.setdefault(folder, asyncio.Lock()):
        try:
            await asyncio.to_thread(_provide, sha256, folder, settings, blob)
        except OSError as error:
            what = f"{error.strerror}: {error.filename}"
            raise Infra(f"uploaded project {sha256[:12]} cannot be unpacked: {what}") from None
    return folder


def _provide(sha256: str, folder: Path, settings: AppwrightSettings, blob: Callable[[str], Path]) -> None:
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _link_modules(folder.parent / MODULES, settings.shared_modules)
    if not folder.is_dir():
        _prune(folder.parent)
        try:
            archive = blob(sha256)
        except FileNotFoundError:
            raise Rejected(f"uploaded project {sha256} is not there any more; upload it again") from None
        _unpack(archive, folder, settings)
    os.utime(folder)


def _unpack(archive: Path, folder: Path, settings: AppwrightSettings) -> None:
    """Whole or not at all."""
    fresh = Path(tempfile.mkdtemp(prefix="unpacking-", dir=folder.parent))
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(fresh, members=_bounded(tar, settings), filter="data")
        inner = list(fresh.iterdir())
        whole = inner[0] if len(inner) == 1 and inner[0].is_dir() else fresh  # packed with or without its own folder
        whole.rename(folder)
    except (tarfile.TarError, EOFError, UnicodeError, ValueError) as error:
        raise Rejected(f"the uploaded project is no tar that can be unpacked: {error}") from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _bounded(tar: tarfile.TarFile, settings: AppwrightSettings) -> Iterator[tarfile.TarInfo]:
    """Its members, as long as they are within the limits: what a tar says of its own size is not trusted."""
    files, left = 0, settings.upload_mb << 20
    for member in tar:
        files, left = files + 1, left - member.size
        if files > settings.upload_files or left < 0:
            raise Rejected(
                f"the uploaded project holds more than {settings.upload_files} files or {settings.upload_mb} MiB: "
                "leave node_modules out, or raise upload_files or upload_mb in the queue's config"
            )
        yield member


def _link_modules(link: Path, modules: Path | None) -> None:
    """Beside the unpacked projects, where Node finds it on its way up from each."""
    if modules is None or not modules.is_dir() or (link.is_symlink() and link.readlink() == modules):
        return
    fresh = link.with_name(f"{MODULES}-{os.getpid()}-{time.monotonic_ns()}")
    fresh.symlink_to(modules)
    fresh.replace(link)


def _prune(projects: Path) -> None:
    """Remove what nobody has used for long, and what a killed server left half unpacked."""
    now = time.time()
    for path in projects.iterdir():
        with contextlib.suppress(OSError):
            if path.is_dir() and not path.is_symlink() and now - path.stat().st_mtime > KEPT_S:
                shutil.rmtree(path, ignore_errors=True)
