"""The output of a test run, without the secrets that a test may print: also while it is being written."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hpcq.plugin import Process, Request
from hpcq_runners.device_farm.hiding import PIECE, masked

POLL_S = 0.2  # how often what was printed is looked at
PRINTED = "printed.log"


class Filter:
    """Copies a private file, as it grows, to the output that everybody may read. Places in both are the same."""

    def __init__(self, printed: Path, output: Path, secrets: Sequence[bytes]) -> None:
        """Makes both files. Raises OSError."""
        self._secrets = secrets
        self._output = _opened(output, os.O_APPEND)
        self._printed = _opened(printed, os.O_TRUNC)
        self._read = 0
        self._held = b""  # the end of what was read, which may be the beginning of a secret
        self._over = asyncio.Event()
        self._following = asyncio.ensure_future(self._follow())

    async def close(self) -> None:
        """All that has been printed is there. Raises OSError."""
        self._over.set()
        await self._following

    async def _follow(self) -> None:
        try:
            over = False
            while not over:
                over = self._over.is_set()  # then this look is the last
                await asyncio.to_thread(self._copy, over)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_S):
                        await self._over.wait()
        finally:
            os.close(self._printed)
            os.close(self._output)

    def _copy(self, last: bool) -> None:
        size = os.fstat(self._printed).st_size
        if size < self._read:  # the server cuts back what a job prints without end
            self._read, self._held = min(size, self._read - len(self._held)), b""
            os.ftruncate(self._output, self._read)
        while piece := os.pread(self._printed, PIECE, self._read):
            self._read += len(piece)
            text = masked(self._held + piece, self._secrets)
            ready = len(text) - _beginning(text, self._secrets)
            self._held = text[ready:]
            _write(self._output, text[:ready])
        if last:
            _write(self._output, self._held)


def _opened(path: Path, flag: int) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | flag, 0o600)


def _write(descriptor: int, text: bytes) -> None:
    while text:
        text = text[os.write(descriptor, text) :]


def _beginning(text: bytes, secrets: Sequence[bytes]) -> int:
    """So many bytes at the end of the text may be the beginning of a secret."""
    lengths = (n for secret in secrets for n in range(1, len(secret)) if text.endswith(secret[:n]))
    return max(lengths, default=0)


class FilteredRequest:
    """A request whose children print into a private file, and whose messages hold no secret. Else it is `request`."""

    def __init__(self, request: Request, printed: Path, hide: Callable[[str], str]) -> None:
        self._request = request
        self._hide = hide
        self.output = printed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._request, name)

    async def spawn(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | str | None = None,
        stdin: bytes | Path | None = None,
        output: Path | None = None,
    ) -> Process:
        """As the request's."""
        return await self._request.spawn(argv, env=env, cwd=cwd, stdin=stdin, output=output or self.output)

    def report(self, done: float, total: float | None = None, message: str = "") -> None:
        """As the request's; a test's title may be the message."""
        self._request.report(done, total, self._hide(message))
