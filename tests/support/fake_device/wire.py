"""The device's side of adb's wire protocol: one connection of an adb server, with its streams.

A message is 24 bytes (command, two arguments, length, sum, the command's complement; little endian) and its data. One
write of a stream is under way at a time, answered by OKAY.
"""

import asyncio
import os
import struct
from collections.abc import Awaitable, Callable

CNXN, AUTH, OPEN, OKAY, WRTE, CLSE = (
    int.from_bytes(word, "little") for word in (b"CNXN", b"AUTH", b"OPEN", b"OKAY", b"WRTE", b"CLSE")
)
VERSION = 0x01000001
LARGEST = 256 << 10
TOKEN, SIGNATURE = 1, 2
STDOUT, STDERR, EXIT = 1, 2, 3  # packets of the second shell protocol


class Stream:
    """One service that the host has opened."""

    def __init__(self, connection: "Connection", local: int, remote: int) -> None:
        self._connection = connection
        self.local, self.remote = local, remote
        self.taken = asyncio.Event()
        self.given: asyncio.Queue[bytes | None] = asyncio.Queue()  # None: the host has closed
        self._rest = b""

    async def write(self, data: bytes) -> None:
        for begin in range(0, len(data), LARGEST):
            self.taken.clear()
            await self._connection.send(WRTE, self.local, self.remote, data[begin : begin + LARGEST])
            await self.taken.wait()

    async def read(self, size: int) -> bytes:
        """Exactly so many bytes. Raises ConnectionError at the end."""
        while len(self._rest) < size:
            more = await self.given.get()
            if more is None:
                raise ConnectionResetError
            self._rest += more
        found, self._rest = self._rest[:size], self._rest[size:]
        return found

    async def read_until(self, end: bytes) -> bytes:
        """All up to these bytes, which are taken too. Raises ConnectionError at the end."""
        while end not in self._rest:
            more = await self.given.get()
            if more is None:
                raise ConnectionResetError
            self._rest += more
        return await self.read(self._rest.index(end) + len(end))

    async def print(self, data: bytes, *, packets: bool, where: int = STDOUT) -> None:
        await self.write(struct.pack("<BI", where, len(data)) + data if packets else data)

    async def exit(self, code: int, *, packets: bool) -> None:
        if packets:
            await self.write(struct.pack("<BIB", EXIT, 1, code & 255))


Serve = Callable[[Stream, str], Awaitable[None]]


class Connection:
    """One adb server that has connected. `greeting`: b"" for a device that never answers, None for one that knows no
    key of the host's."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        greeting: Callable[[], bytes | None],
        serve: Serve,
    ) -> None:
        self._reader, self._writer = reader, writer
        self._greeting, self._serve = greeting, serve
        self._streams: dict[int, Stream] = {}
        self._services: dict[int, asyncio.Task[None]] = {}
        self._last = 0

    def cut(self) -> None:
        """The cable is out."""
        self._writer.transport.abort()

    async def send(self, command: int, first: int, second: int, data: bytes = b"") -> None:
        head = (command, first, second, len(data), sum(data) & 0xFFFFFFFF, command ^ 0xFFFFFFFF)
        self._writer.write(struct.pack("<6I", *head) + data)
        await self._writer.drain()

    async def run(self) -> None:
        """Until the host goes."""
        try:
            while True:
                command, first, second, size, *_ = struct.unpack("<6I", await self._reader.readexactly(24))
                await self._take(command, first, second, await self._reader.readexactly(size))
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            for service in self._services.values():
                service.cancel()
            self._writer.close()

    async def _take(self, command: int, first: int, second: int, data: bytes) -> None:
        if command in (CNXN, AUTH):
            await self._greet(command, first)
            return
        if command == OPEN:
            await self._open(first, data.rstrip(b"\0").decode())
            return
        stream = self._streams.get(second)
        if stream is None:
            return
        if command == WRTE:
            await self.send(OKAY, stream.local, stream.remote)
            stream.given.put_nowait(data)
        elif command == OKAY:
            stream.taken.set()
        elif command == CLSE:
            del self._streams[second]
            stream.given.put_nowait(None)
            self._services[second].cancel()

    async def _greet(self, command: int, kind: int) -> None:
        greeting = self._greeting()
        if greeting is None and (command == CNXN or kind == SIGNATURE):
            await self.send(AUTH, TOKEN, 0, os.urandom(20))
        elif greeting and command == CNXN:
            await self.send(CNXN, VERSION, LARGEST, greeting)

    async def _open(self, remote: int, service: str) -> None:
        self._last += 1
        stream = self._streams[self._last] = Stream(self, self._last, remote)
        await self.send(OKAY, stream.local, remote)
        self._services[stream.local] = asyncio.ensure_future(self._see_through(stream, service))

    async def _see_through(self, stream: Stream, service: str) -> None:
        try:
            await self._serve(stream, service)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            if self._streams.pop(stream.local, None):
                await self.send(CLSE, stream.local, stream.remote)
            self._services.pop(stream.local, None)
