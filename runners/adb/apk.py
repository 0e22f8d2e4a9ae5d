"""What a build says of itself: the package's name and version, from its binary manifest. No SDK is needed for that."""

import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MANIFEST_BYTES = 4 << 20
STRINGS, ELEMENT = 0x0001, 0x0102  # kinds of chunks
UTF8 = 0x100
NOTHING, TEXT = 0xFFFFFFFF, 0x03


class BadBuild(Exception):
    """It is no build that could be read."""


@dataclass(frozen=True, slots=True)
class About:
    """Of a build."""

    package: str
    version: str


def read(path: Path) -> About:
    """The manifest of an APK. Raises BadBuild, OSError."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open("AndroidManifest.xml") as file:
            data = file.read(MANIFEST_BYTES)
        attributes = next(_elements(data))
    except (zipfile.BadZipFile, KeyError, StopIteration, struct.error, UnicodeDecodeError, IndexError) as error:
        raise BadBuild(f"{path.name} is no APK: {error}") from None
    package = attributes.get("package", "")
    if not package:
        raise BadBuild(f"the manifest of {path.name} names no package")
    return About(package, attributes.get("versionName", ""))


def _elements(data: bytes) -> Iterator[dict[str, str]]:
    """The attributes of each element that are texts; chunks are (kind, head size, size), little endian."""
    strings: list[str] = []
    at = 8
    while at < len(data):
        kind, _, size = struct.unpack_from("<HHI", data, at)
        if kind == STRINGS:
            strings = list(_strings(data, at))
        elif kind == ELEMENT:
            begin, each, count = struct.unpack_from("<HHH", data, at + 24)
            places = (at + 16 + begin + each * number for number in range(count))
            yield dict(text for place in places if (text := _attribute(data, place, strings)))
        at += max(size, 8)


def _attribute(data: bytes, at: int, strings: list[str]) -> tuple[str, str] | None:
    """Its name and text; None for one that is a number or a reference."""
    _, name, raw, _, _, kind, value = struct.unpack_from("<IIIHBBI", data, at)
    text = raw if raw != NOTHING else value if kind == TEXT else NOTHING
    return None if text == NOTHING else (strings[name], strings[text])


def _strings(data: bytes, at: int) -> Iterator[str]:
    count, _, flags, begin = struct.unpack_from("<IIII", data, at + 8)
    for offset in struct.unpack_from(f"<{count}I", data, at + 28):
        yield _string(data, at + begin + offset, utf8=bool(flags & UTF8))


def _string(data: bytes, at: int, *, utf8: bool) -> str:
    """A string of the pool; its length stands before it, in one unit or, marked by the highest bit, in two."""
    if utf8:
        at += 2 if data[at] & 0x80 else 1  # so many characters
        size, at = (((data[at] & 0x7F) << 8) | data[at + 1], at + 2) if data[at] & 0x80 else (data[at], at + 1)
        return data[at : at + size].decode()
    (units,) = struct.unpack_from("<H", data, at)
    at += 2
    if units & 0x8000:
        units, at = ((units & 0x7FFF) << 16) | struct.unpack_from("<H", data, at)[0], at + 2
    return data[at : at + 2 * units].decode("utf-16-le")
