"""Builds at the farm: a content is uploaded once, remembered over restarts, and again when the farm has dropped it."""

import asyncio
import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hpcq.plugin.types import State
from hpcq_runners.device_farm.farm import Farm, Purpose
from hpcq_runners.device_farm.form import name_of

KEPT_S = 25 * 86_400.0  # since the last use; BrowserStack drops it after 30 days
TOUCH_S = 3600.0  # how exactly the last use is remembered
MOST = 200  # uploads remembered
STATE = "uploads"


@dataclass(slots=True)
class _Known:
    url: str
    used_at: float  # wall


class Uploads:
    """What the farm has of us, by account, purpose and content."""

    def __init__(self, farm: Farm, state: State, account: Callable[[], str]) -> None:
        self._farm = farm
        self._state = state
        self._account = account
        self._known: dict[str, _Known] = {}
        self._sums: dict[tuple[str, int, int, int], str] = {}
        self._under_way: dict[str, asyncio.Task[str]] = {}

    async def open(self) -> None:
        """Remember what earlier lives uploaded."""
        kept = await self._state.get(STATE) or {}
        self._known = {key: _Known(*value) for key, value in kept.items()}

    async def ensure(self, file: Path, purpose: Purpose) -> str:
        """The farm's address of this content. Who asks while it is being uploaded waits for the same upload.

        Raises FarmError, NoCredentials and OSError.
        """
        name = file.name
        file = await asyncio.to_thread(_real, file)  # a link goes with the attempt that has it
        key = f"{self._account()} {purpose} {await self._sum(file)}"
        known = self._known.get(key)
        now = time.time()
        if known and now - known.used_at < KEPT_S:
            if now - known.used_at > TOUCH_S:
                known.used_at = now
                await self._save()
            return known.url
        upload = self._under_way.get(key)
        if upload is None:
            upload = self._under_way[key] = asyncio.ensure_future(self._upload(key, file, name, purpose))
            upload.add_done_callback(lambda done: self._over(key, done))
        return await asyncio.shield(upload)

    async def forget(self, url: str) -> None:
        """The farm has it no longer."""
        gone = [key for key, known in self._known.items() if known.url == url]
        for key in gone:
            del self._known[key]
        if gone:
            await self._save()

    async def close(self) -> None:
        """Give up what is under way."""
        uploads = list(self._under_way.values())
        for upload in uploads:
            upload.cancel()
        await asyncio.gather(*uploads, return_exceptions=True)

    async def _upload(self, key: str, file: Path, name: str, purpose: Purpose) -> str:
        shown = await asyncio.to_thread(name_of, file, name)
        url = await self._farm.upload(file, shown, purpose)
        self._known[key] = _Known(url, time.time())
        await self._save()
        return url

    def _over(self, key: str, upload: "asyncio.Task[str]") -> None:
        del self._under_way[key]
        if not upload.cancelled():
            upload.exception()  # seen, even when nobody waits any more

    async def _save(self) -> None:
        newest = sorted(self._known.items(), key=lambda pair: pair[1].used_at)[-MOST:]
        self._known = dict(newest)
        await self._state.put(STATE, {key: [known.url, known.used_at] for key, known in newest})

    async def _sum(self, file: Path) -> str:
        """The SHA-256 of the content; read anew only when the file is another."""
        about = await asyncio.to_thread(file.stat)
        key = (str(file), about.st_ino, about.st_size, about.st_mtime_ns)
        if key not in self._sums:
            if len(self._sums) >= MOST:
                self._sums.clear()
            self._sums[key] = await asyncio.to_thread(_sha256, file)
        return self._sums[key]


def _real(file: Path) -> Path:
    return Path(os.path.realpath(file, strict=True))


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
