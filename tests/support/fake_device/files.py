"""The device's files over adb's `sync:` service: stat, push, pull and list."""

import struct
from pathlib import Path

from tests.support.fake_device.wire import Stream

CHUNK = 64 << 10


def place(root: Path, name: str) -> Path:
    """Where a file of the device lies here."""
    return root / name.lstrip("/")


async def serve(stream: Stream, root: Path) -> None:
    """Until the host says QUIT."""
    while True:
        word, size = struct.unpack("<4sI", await stream.read(8))
        if word == b"QUIT":
            return
        name = (await stream.read(size)).decode()
        if word == b"STAT":
            await stream.write(_stat(place(root, name)))
        elif word == b"SEND":
            await _take(stream, place(root, name.rpartition(",")[0]))
        elif word == b"RECV":
            await _give(stream, place(root, name))


def _stat(path: Path) -> bytes:
    try:
        about = path.stat()
    except OSError:
        return struct.pack("<4sIII", b"STAT", 0, 0, 0)
    return struct.pack("<4sIII", b"STAT", about.st_mode, about.st_size, int(about.st_mtime))


async def _take(stream: Stream, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        while True:
            word, size = struct.unpack("<4sI", await stream.read(8))
            if word == b"DONE":
                break
            file.write(await stream.read(size))
    await stream.write(struct.pack("<4sI", b"OKAY", 0))


async def _give(stream: Stream, path: Path) -> None:
    if not path.is_file():  # noqa: ASYNC240
        why = b"No such file or directory"
        await stream.write(struct.pack("<4sI", b"FAIL", len(why)) + why)
        return
    data = path.read_bytes()  # noqa: ASYNC240
    for begin in range(0, len(data), CHUNK):
        part = data[begin : begin + CHUNK]
        await stream.write(struct.pack("<4sI", b"DATA", len(part)) + part)
    await stream.write(struct.pack("<4sI", b"DONE", 0))
