"""A device as a process: `daemon.py FOLDER [--port N] [--console N]`. It writes the port of its adbd to FOLDER/port."""

import argparse
import asyncio
import signal
from pathlib import Path

from tests.support.fake_device.phone import Phone
from tests.support.fake_device.wire import Connection

POLL_S = 0.02


class Daemon:
    """Its sockets, and who is connected."""

    def __init__(self, phone: Phone) -> None:
        self.phone = phone
        self.off = asyncio.Event()
        self._connections: set[Connection] = set()
        phone.on_reboot = self._reboot

    async def adbd(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One adb server."""
        connection = Connection(reader, writer, self.phone.greeting, self.phone.serve)
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)

    async def console(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The emulator's, for `adb emu`."""
        writer.write(b"Android Console: Authentication required\r\nOK\r\n")
        while line := await reader.readline():
            word = line.decode(errors="replace").strip()
            if word == "kill":
                self.phone.log("emu kill")
                writer.write(b"OK: killing emulator, bye bye\r\n")
                if not self.phone.behaviour.get("ignores_kill"):
                    self.off.set()
                break
            if word == "quit":
                break
            writer.write(b"OK\r\n")
            await writer.drain()
        writer.close()

    def asked_to_end(self) -> None:
        """By a signal."""
        self.phone.log("signal")
        if not self.phone.behaviour.get("ignores_term"):
            self.off.set()

    async def watch(self) -> None:
        """A device that goes offline says nothing more to anybody."""
        was = self.phone.behaviour.get("state", "device")
        while True:
            await asyncio.sleep(POLL_S)
            state = self.phone.behaviour.get("state", "device")
            if state != was:
                self.phone.log("state", now=state)
                self._cut()
            was = state

    def _reboot(self) -> None:
        asyncio.get_running_loop().call_later(0.1, self._cut)  # the request is answered first

    def _cut(self) -> None:
        for connection in list(self._connections):
            connection.cut()


async def run(folder: Path, port: int, console: int) -> None:
    """Until it is switched off."""
    daemon = Daemon(Phone(folder))
    server = await asyncio.start_server(daemon.adbd, "127.0.0.1", port)
    if console:
        await asyncio.start_server(daemon.console, "127.0.0.1", console)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, daemon.asked_to_end)
    written = folder / "port.new"
    written.write_text(str(server.sockets[0].getsockname()[1]))
    written.rename(folder / "port")
    watching = asyncio.ensure_future(daemon.watch())
    await daemon.off.wait()
    watching.cancel()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--console", type=int, default=0)
    given = parser.parse_args()
    asyncio.run(run(given.folder, given.port, given.console))


if __name__ == "__main__":
    main()
