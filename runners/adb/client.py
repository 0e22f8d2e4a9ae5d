"""A thin asynchronous adb: the real program for every command, the server's socket to ask and to follow it.

Every call has a limit. A server that is not there is never started by a call in passing: see server.py.
"""

import asyncio
import contextlib
import itertools
import shlex
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from hpcq.plugin import Infra, Spawn

ANSWER_BYTES = 1 << 20
ASK_S = 5.0
SHELL_S = 15.0


class AdbFailed(Infra):
    """A command or the server did not do what it should have."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How an adb command ended, and what it printed."""

    code: int
    text: str

    @property
    def good(self) -> bool:
        return self.code == 0

    @property
    def last(self) -> str:
        """Its last line."""
        lines = self.text.strip().splitlines()
        return lines[-1].strip() if lines else f"exit code {self.code}"


class Adb:
    """The adb of one server port."""

    def __init__(self, program: Path, port: int, spawn: Spawn, scratch: Path) -> None:
        """`scratch`: a folder for what commands print."""
        self.program = program
        self.port = port
        self._spawn = spawn
        self._scratch = scratch
        self._numbers = itertools.count(1)

    def argv(self, *words: str, serial: str | None = None) -> list[str]:
        """The command line of a command, for somebody else to start."""
        chosen = ("-s", serial) if serial else ()
        return [str(self.program), "-P", str(self.port), *chosen, *words]

    async def run(
        self, *words: str, serial: str | None = None, limit_s: float = SHELL_S, spawn: Spawn | None = None
    ) -> Answer:
        """Run a command to its end. Raises AdbFailed beyond the limit."""
        output = self._scratch / f"adb-{next(self._numbers)}.out"
        process = await (spawn or self._spawn)(self.argv(*words, serial=serial), output=output)
        try:
            async with asyncio.timeout(limit_s):
                end = await process.wait()
            with output.open("rb") as file:
                text = file.read(ANSWER_BYTES).decode(errors="replace")
        except TimeoutError:
            of = f" on {serial}" if serial else ""
            raise AdbFailed(f"`adb {shlex.join(words)}`{of} did not end within {limit_s:g} s") from None
        finally:
            with contextlib.suppress(Infra):
                await asyncio.shield(process.terminate(0.0))
            output.unlink(missing_ok=True)
        return Answer(end.code if end.code is not None else 128 + (end.signal or 0), text)

    async def shell(self, serial: str, command: str, limit_s: float = SHELL_S) -> Answer:
        """A line for the device's shell."""
        return await self.run("shell", command, serial=serial, limit_s=limit_s)

    async def save(self, serial: str, command: str, path: Path, limit_s: float, spawn: Spawn) -> bool:
        """What a command of the device prints, byte by byte, into a file; whether it went well."""
        process = await spawn(self.argv("exec-out", command, serial=serial), output=path)
        try:
            async with asyncio.timeout(limit_s):
                return (await process.wait()).code == 0
        except TimeoutError:
            return False
        finally:
            with contextlib.suppress(Infra):
                await asyncio.shield(process.terminate(0.0))

    async def ask(self, service: str) -> str:
        """Ask the server itself, over its socket: `host:version`. Raises AdbFailed."""
        try:
            async with asyncio.timeout(ASK_S), self._connection(service) as reader:
                return await _text(reader)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError) as error:
            why = f"no answer within {ASK_S:g} s" if isinstance(error, TimeoutError) else str(error)
            raise AdbFailed(f"the adb server on port {self.port} does not answer: {why}") from None

    async def tell(self, service: str) -> None:
        """As `ask`, for what has no answer but OKAY."""
        try:
            async with asyncio.timeout(ASK_S), self._connection(service):
                pass
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            raise AdbFailed(f"the adb server on port {self.port} refuses {service}: {error}") from None

    async def follow(self) -> AsyncIterator[dict[str, str]]:
        """The state of every device, by serial, at each change; until the server goes. Raises OSError, EOFError."""
        async with self._connection("host:track-devices") as reader:
            while True:
                lines = (await _text(reader)).splitlines()
                yield dict(line.split("\t", 1) for line in lines if "\t" in line)

    @contextlib.asynccontextmanager
    async def _connection(self, service: str) -> AsyncIterator[asyncio.StreamReader]:
        async with asyncio.timeout(ASK_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(f"{len(service):04x}{service}".encode())
            async with asyncio.timeout(ASK_S):
                word = await reader.readexactly(4)
                if word != b"OKAY":
                    raise OSError((await _text(reader)) if word == b"FAIL" else repr(word))
            yield reader
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def _text(reader: asyncio.StreamReader) -> str:
    size = int(await reader.readexactly(4), 16)
    return (await reader.readexactly(size)).decode(errors="replace")
