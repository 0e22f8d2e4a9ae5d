"""Forms for uploads; a file is streamed and never in memory."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import aiohttp

KINDS = (".apk", ".aab", ".ipa", ".zip", ".xapk", ".apks")  # the farms go by the name


def fields(texts: Mapping[str, str]) -> aiohttp.FormData:
    """Texts only."""
    form = aiohttp.FormData()
    for name, text in texts.items():
        form.add_field(name, text)
    return form


def opened(path: Path) -> BinaryIO:
    """The file, to be streamed; for `with`."""
    return path.open("rb")


def file_form(field: str, file: BinaryIO, name: str, texts: Mapping[str, str] | None = None) -> aiohttp.FormData:
    """A file, after the texts."""
    form = fields(texts or {})
    form.add_field(field, file, filename=name, content_type="application/octet-stream")
    return form


def name_of(path: Path, name: str) -> str:
    """A name by which the farm sees what the file is; an uploaded blob has none of its own. Reads the file."""
    if name.lower().endswith(KINDS):
        return name
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return f"{name[:16]}.apk"
    if "AndroidManifest.xml" in names:
        kind = ".apk"
    elif "BundleConfig.pb" in names:
        kind = ".aab"
    else:
        kind = ".ipa" if any(each.startswith("Payload/") for each in names) else ".zip"
    return f"{name[:16]}{kind}"
