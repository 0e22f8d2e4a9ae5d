"""Uploaded projects: unpacked by a child, within bounds, and never anywhere else."""

import gzip
import io
import os
import re
import signal
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hpcq.engine.launcher import Launcher
from hpcq.plugin import Exit, Infra, Rejected
from hpcq_runners.appwright import unpack_main, uploads
from hpcq_runners.appwright.settings import AppwrightSettings
from hpcq_runners.appwright.uploads import Place
from tests.support.testruns import PlainContext

SHA256 = "0123456789abcdef" * 4


@pytest.fixture
async def context(tmp_path: Path) -> AsyncIterator[PlainContext]:
    launcher = await Launcher.open()
    (tmp_path / "data").mkdir()
    yield PlainContext(tmp_path / "data", launcher=launcher)
    await launcher.close()


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


async def unpack(context: PlainContext, archive: Path, name: str = "upload") -> Path:
    place = Place(context.data_dir / name, context.spawn)
    return await uploads.unpack(SHA256, place, context.settings, lambda _: archive)


@pytest.mark.parametrize("prefix", ["", "./", "shop/"])
async def test_a_project_is_unpacked_with_or_without_a_folder_of_its_own(
    context: PlainContext, tmp_path: Path, prefix: str
) -> None:
    archive = packed(tmp_path / "a", file(f"{prefix}playwright.config.js"), file(f"{prefix}tests/a.spec.js"))
    folder = await unpack(context, archive)
    assert sorted(path.name for path in folder.iterdir()) == ["playwright.config.js", "tests"]


async def test_the_server_itself_never_reads_a_tar(
    context: PlainContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = packed(tmp_path / "a", file("playwright.config.js"), file("a"))

    def read(*_: object, **__: object) -> None:
        raise AssertionError("a tar was opened in the server's process")

    monkeypatch.setattr(tarfile, "open", read)
    monkeypatch.setattr(tarfile, "TarFile", read)
    assert sorted(path.name for path in (await unpack(context, archive)).iterdir()) == ["a", "playwright.config.js"]


async def test_a_tar_that_wants_much_memory_is_refused(context: PlainContext, tmp_path: Path) -> None:
    header, mib = tarfile.TarInfo("x"), gzip.compress(bytes(1 << 20))
    header.type, header.size = tarfile.XHDTYPE, 1 << 30
    (tmp_path / "a").write_bytes(gzip.compress(header.tobuf()) + 1024 * mib)
    context.settings = AppwrightSettings(upload_files=10)
    with pytest.raises(Rejected, match="MiB of memory"):
        await unpack(context, tmp_path / "a")


@pytest.mark.parametrize(
    ("exit_", "kind", "words"),
    [
        (Exit(None, signal.SIGXCPU, 1.0, 120.0), Rejected, "more than 120 s"),
        (Exit(None, signal.SIGKILL, 1.0, 1.0), Infra, "the child ended with 9"),
        (Exit(74, None, 1.0, 1.0), Infra, "No space left"),
    ],
    ids=["too slow", "killed", "no room"],
)
def test_the_tar_or_the_machine_is_to_blame(tmp_path: Path, exit_: Exit, kind: type[Exception], words: str) -> None:
    (tmp_path / "said").write_text("No space left on device: x" if exit_.code else "")
    with pytest.raises(kind, match=words):
        uploads._judged(exit_, tmp_path / "said", SHA256)


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
async def test_nothing_is_written_outside(
    context: PlainContext, tmp_path: Path, evil: tuple[tarfile.TarInfo, bytes]
) -> None:
    archive = packed(tmp_path / "a", file("playwright.config.js"), evil)
    with pytest.raises(Rejected, match="no tar that can be unpacked"):
        await unpack(context, archive)
    assert sorted(os.listdir(tmp_path)) == ["a", "data"]
    assert os.listdir(context.data_dir) == ["upload"]
    left = [path for path in (context.data_dir / "upload").rglob("*") if path.name not in ("project", "said")]
    assert [path.name for path in left] == ["playwright.config.js"]


@pytest.mark.parametrize(
    ("evil", "words"),
    [
        (file("../evil"), "'../evil' leads out of the project"),
        (link("a/evil", "../../outside"), "'a/evil' is a link to '../outside', out of the project"),
        (link("evil\nname", "/etc/passwd"), r"'evil\nname' is a link to '/etc/passwd', out of the project"),
        (link("a/evil", "../outside", tarfile.LNKTYPE), "'a/evil' is a link to '../outside', out of the project"),
        (link("evil", "", tarfile.FIFOTYPE), "'evil' is neither a file nor a folder nor a link"),
    ],
)
async def test_what_leads_out_is_named_as_in_the_archive(
    context: PlainContext, tmp_path: Path, evil: tuple[tarfile.TarInfo, bytes], words: str
) -> None:
    with pytest.raises(Rejected) as refused:
        await unpack(context, packed(tmp_path / "a", file("playwright.config.js"), evil))
    assert str(refused.value) == f"the uploaded project is no tar that can be unpacked: {words}"
    with pytest.raises(ValueError, match=re.escape(words)):  # where tarfile has no filter of its own
        unpack_main._harmless(evil[0], tmp_path / "project")


async def test_what_is_no_tar_is_rejected(context: PlainContext, tmp_path: Path) -> None:
    whole = packed(tmp_path / "b", file("a", os.urandom(9999)), mode="w").read_bytes()
    packed_well = gzip.compress(whole)
    for number, data in enumerate((b"PK\x03\x04", whole[:5000], packed_well[:5000], packed_well[:20])):
        (tmp_path / "a").write_bytes(data)
        with pytest.raises(Rejected, match="no tar"):
            await unpack(context, tmp_path / "a", f"upload-{number}")


@pytest.mark.parametrize(
    ("members", "settings"),
    [
        ([file(str(number)) for number in range(5)], {"upload_files": 4}),
        ([file("zeros", b"\0" * (1 << 20)), file("more")], {"upload_mb": 1}),
    ],
    ids=["files", "bytes"],
)
async def test_an_upload_has_bounds(
    context: PlainContext, tmp_path: Path, members: list[tuple[tarfile.TarInfo, bytes]], settings: dict[str, int]
) -> None:
    context.settings = AppwrightSettings(**settings)  # type: ignore[arg-type]
    with pytest.raises(Rejected, match="leave node_modules out"):
        await unpack(context, packed(tmp_path / "a", *members))


async def test_an_upload_that_is_gone_is_said_to_be(context: PlainContext) -> None:
    def blob(name: str) -> Path:
        raise FileNotFoundError(name)

    with pytest.raises(Rejected, match="upload it again"):
        await uploads.unpack(SHA256, Place(context.data_dir / "upload", context.spawn), context.settings, blob)
