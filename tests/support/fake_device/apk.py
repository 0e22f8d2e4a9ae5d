"""Builds for the fake device: zip files with a binary manifest, as aapt writes it, and nothing that would run."""

import io
import json
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path

ABOUT = "assets/fake.json"  # what the fake device reads, which knows no binary XML
NS = 0xFFFFFFFF


def make_apk(
    path: Path,
    package: str = "com.example.app",
    *,
    version_code: int = 1,
    signer: str = "ours",
    min_sdk: int = 21,
    abis: Sequence[str] = (),
    utf8: bool = False,
) -> Path:
    """Write a build."""
    about = {
        "package": package,
        "version_code": version_code,
        "signer": signer,
        "min_sdk": min_sdk,
        "abis": list(abis),
    }
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("AndroidManifest.xml", manifest(package, f"{version_code}.0", utf8=utf8))
        archive.writestr(ABOUT, json.dumps(about))
        archive.writestr("classes.dex", b"dex\n035\0")
    path.write_bytes(data.getvalue())
    return path


def manifest(package: str, version: str, *, utf8: bool) -> bytes:
    """`<manifest package=… versionName=…/>` in Android's binary XML."""
    strings = ["package", "versionName", "manifest", package, version]
    pool = string_pool(strings, utf8=utf8)
    attributes = b"".join(struct.pack("<5I", NS, name, value, 0x03000008, value) for name, value in ((0, 3), (1, 4)))
    element = struct.pack("<II6H", NS, 2, 20, 20, 2, 0, 0, 0) + attributes
    start = struct.pack("<HHIII", 0x0102, 16, 16 + len(element), 1, NS) + element
    body = pool + start
    return struct.pack("<HHI", 0x0003, 8, 8 + len(body)) + body


def string_pool(strings: Sequence[str], *, utf8: bool) -> bytes:
    """The strings of a binary XML."""
    texts, offsets = b"", []
    for text in strings:
        offsets.append(len(texts))
        if utf8:
            raw = text.encode()
            texts += bytes([len(text), len(raw)]) + raw + b"\0"
        else:
            texts += struct.pack("<H", len(text)) + text.encode("utf-16-le") + b"\0\0"
    texts += b"\0" * (-len(texts) % 4)
    begin = 28 + 4 * len(offsets)
    head = struct.pack("<HHI5I", 0x0001, 28, begin + len(texts), len(offsets), 0, 0x100 if utf8 else 0, begin, 0)
    return head + struct.pack(f"<{len(offsets)}I", *offsets) + texts
