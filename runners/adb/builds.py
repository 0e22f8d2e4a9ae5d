"""Which build a job wants on its device, and where that file is."""

import asyncio
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcq.plugin import Rejected, Request
from hpcq_runners.adb import apk
from hpcq_runners.adb.settings import AdbSettings
from hpcq_runners.appwright.builds import upload_of
from hpcq_runners.fields import SHA256, Blob

REMEMBERED = 100


@dataclass(frozen=True, slots=True)
class Build:
    """A file to install. `package` is unknown of what cannot be read, which Android will refuse in its own words."""

    path: Path
    sha256: str
    package: str | None
    version: str


def session_key(params: Any) -> str:
    """Jobs of one build share a device's session; those without one share it too."""
    if isinstance(params.app, Blob):
        return f"build:{params.app.blob}"
    return f"build:{params.app or params.app_version_id or ''}"


class Builds:
    """Finds builds, and remembers what it has read of them."""

    def __init__(self) -> None:
        self._read: dict[tuple[Path, int, int], Build] = {}

    async def of(self, request: Request, settings: AdbSettings) -> Build | None:
        """The build of a job; None: it names none, or one that only the test itself can find. Raises Rejected."""
        path = _path(request, settings)
        if path is None:
            return None
        try:
            about = path.stat()
            key = (path, about.st_mtime_ns, about.st_size)
            if key not in self._read:
                self._read[key] = await asyncio.to_thread(_examine, path)
        except OSError as error:
            raise Rejected(f"the build {path} cannot be read: {error.strerror or error}") from None
        build = self._read[key]
        while len(self._read) > REMEMBERED:
            del self._read[next(iter(self._read))]
        return build


def _path(request: Request, settings: AdbSettings) -> Path | None:
    params = request.params
    if isinstance(params.app, str):
        return _local(params.app, params.cwd, settings)
    return upload_of(request)


def _local(name: str, cwd: object, settings: AdbSettings) -> Path | None:
    if name.startswith("/"):
        return Path(name)
    folder = settings.usual_folder() if cwd is None else settings.projects.get(cwd) if isinstance(cwd, str) else None
    if folder is None and isinstance(cwd, str) and cwd.startswith("/"):
        folder = Path(cwd)
    return folder / name if folder else None


def _examine(path: Path) -> Build:
    if SHA256.fullmatch(path.name):  # a blob: its name is its sum
        sha256 = path.name
    else:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        about = apk.read(path)
    except apk.BadBuild:
        return Build(path, sha256, None, "")
    return Build(path, sha256, about.package, about.version)
