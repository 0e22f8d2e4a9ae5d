"""Uploaded projects: unpacked once, within bounds, and never anywhere else."""

import asyncio
import io
import os
import tarfile
import time
from pathlib import Path

import pytest

from hpcq.plugin import Rejected
from hpcq_runners.appwright.settings import AppwrightSettings
from hpcq_runners.appwright.uploads import unpacked

SETTINGS = AppwrightSettings()
SHA256 = "0123456789abcdef" * 4


def packed(path: Path, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for member, data in members:
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def file(name: str, data: bytes = b"x") -> tuple[tarfile.TarInfo, bytes]:
    return tarfile.TarInfo(name), data


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member, b""


async def unpack(tmp_path: Path, archive: Path, settings: AppwrightSettings = SETTINGS) -> Path:
    return await unpacked(SHA256, tmp_path / "data", settings, lambda _: archive)


@pytest.mark.parametrize("prefix", ["", "./", "shop/"])
async def test_a_project_is_unpacked_with_or_without_a_folder_of_its_own(tmp_path: Path, prefix: str) -> None:
    archive = packed(tmp_path / "a", file(f"{prefix}playwright.config.js"), file(f"{prefix}tests/a.spec.js"))
    folder = await unpack(tmp_path, archive)
    assert sorted(path.name for path in folder.iterdir()) == ["playwright.config.js", "tests"]


async def test_equal_uploads_are_unpacked_once(tmp_path: Path) -> None:
    asked: list[str] = []
    archive = packed(tmp_path / "a", file("playwright.config.js"), file("a"))

    def blob(name: str) -> Path:
        asked.append(name)
        return archive

    folders = await asyncio.gather(*(unpacked(SHA256, tmp_path / "data", SETTINGS, blob) for _ in range(5)))
    assert len(set(folders)) == 1
    assert asked == [SHA256]


@pytest.mark.parametrize(
    "evil",
    [
        file("../evil"),
        link("evil", "/etc/passwd"),
        link("evil", "../../outside"),
        link("evil", "../../outside", tarfile.LNKTYPE),
        link("evil", "", tarfile.CHRTYPE),
        link("evil", "", tarfile.FIFOTYPE),
    ],
    ids=["a way out", "a link to a file", "a link out", "a hard link out", "a device", "a pipe"],
)
async def test_nothing_is_written_outside_and_nothing_is_kept_of_such_a_tar(
    tmp_path: Path, evil: tuple[tarfile.TarInfo, bytes]
) -> None:
    archive = packed(tmp_path / "a", file("playwright.config.js"), evil)
    with pytest.raises(Rejected, match="no tar that can be unpacked"):
        await unpack(tmp_path, archive)
    assert sorted(os.listdir(tmp_path)) == ["a", "data"]
    assert not list((tmp_path / "data" / "projects").iterdir())


async def test_what_is_no_tar_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"PK\x03\x04")
    with pytest.raises(Rejected, match="no tar"):
        await unpack(tmp_path, tmp_path / "a")
    whole = packed(tmp_path / "b", file("a", os.urandom(9999)), mode="w").read_bytes()
    (tmp_path / "c").write_bytes(whole[:5000])
    with pytest.raises(Rejected, match="no tar"):
        await unpack(tmp_path, tmp_path / "c")


@pytest.mark.parametrize(
    ("members", "settings"),
    [
        ([file(str(number)) for number in range(5)], {"upload_files": 4}),
        ([file("zeros", b"\0" * (1 << 20)), file("more")], {"upload_mb": 1}),
    ],
    ids=["files", "bytes"],
)
async def test_an_upload_has_bounds(
    tmp_path: Path, members: list[tuple[tarfile.TarInfo, bytes]], settings: dict[str, int]
) -> None:
    with pytest.raises(Rejected, match="leave node_modules out"):
        await unpack(tmp_path, packed(tmp_path / "a", *members), AppwrightSettings(**settings))  # type: ignore[arg-type]
    assert not list((tmp_path / "data" / "projects").iterdir())


async def test_an_upload_that_is_gone_is_said_to_be(tmp_path: Path) -> None:
    def blob(name: str) -> Path:
        raise FileNotFoundError(name)

    with pytest.raises(Rejected, match="upload it again"):
        await unpacked(SHA256, tmp_path / "data", SETTINGS, blob)


async def test_node_modules_of_the_config_lie_beside_the_projects(tmp_path: Path) -> None:
    modules = tmp_path / "shop" / "node_modules"
    modules.mkdir(parents=True)
    archive = packed(tmp_path / "a", file("playwright.config.js"), file("a"))
    folder = await unpack(tmp_path, archive, AppwrightSettings(project_dir=tmp_path / "shop"))
    assert (folder.parent / "node_modules").resolve() == modules
    other = tmp_path / "other"
    other.mkdir()
    await unpack(tmp_path, archive, AppwrightSettings(node_modules=other))
    assert (folder.parent / "node_modules").resolve() == other


async def test_what_nobody_has_used_for_long_goes(tmp_path: Path) -> None:
    projects = tmp_path / "data" / "projects"
    for name, days in (("old", 8), ("recent", 6)):
        (projects / name).mkdir(parents=True)
        at = time.time() - days * 86400
        os.utime(projects / name, (at, at))
    await unpack(tmp_path, packed(tmp_path / "a", file("playwright.config.js"), file("a")))
    assert sorted(path.name for path in projects.iterdir()) == [SHA256, "recent"]
