"""Credentials are taken out of what a test leaves, whatever that is, and out of what it prints while it prints it."""

import asyncio
import io
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from hpcq.plugin import Outcome, TestCase
from hpcq_runners.device_farm import hiding
from hpcq_runners.device_farm.credentials import Credentials
from hpcq_runners.device_farm.filtered import Filter, FilteredRequest
from tests.support.wait import wait_until

CREDENTIALS = Credentials("me", "secret")
CUT = """
import sys
from pathlib import Path
from hpcq_runners.device_farm.hiding import hide_in_files

class Cutting(list):
    def __iter__(self):  # while the file is being looked through
        Path(sys.argv[1]).open("r+b").truncate(0)
        return super().__iter__()

hide_in_files(Path(sys.argv[1]), Cutting([b"secret"]), print)
"""


def hide(folder: Path) -> list[str]:
    """The names of what was removed."""
    lost: list[str] = []
    CREDENTIALS.hide_in_files(folder, lambda path, _: lost.append(path.name))
    return lost


def packed(**content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in content.items():
            archive.writestr(name, text)
    return file.getvalue()


def encrypted(content: bytes) -> bytes:
    """As far as its headers say."""
    changed = bytearray(content)
    changed[6] |= 1
    changed[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(changed)


# Files.


def test_credentials_are_taken_out_of_packed_files_too(tmp_path: Path) -> None:
    (tmp_path / "report.zip").write_bytes(packed(report=b"a secret report", trace=packed(text=b"a secret trace")))
    assert not hide(tmp_path)
    with zipfile.ZipFile(tmp_path / "report.zip") as archive:
        assert archive.read("report") == b"a ****** report"
        with zipfile.ZipFile(io.BytesIO(archive.read("trace"))) as trace:
            assert trace.read("text") == b"a ****** trace"
    assert [path.name for path in tmp_path.iterdir()] == ["report.zip"]


def test_credentials_are_overwritten_in_files_without_moving_anything(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "output.log"
    file.parent.mkdir()
    file.write_text("one secret two secretsecret.\n")
    (tmp_path / "empty").touch()
    before = file.stat().st_ino
    assert not hide(tmp_path)
    assert file.read_text() == "one ****** two ************.\n"
    assert file.stat().st_ino == before


def test_credentials_in_names_are_hidden(tmp_path: Path) -> None:
    folder = tmp_path / "with-secret"
    folder.mkdir()
    (folder / "secret.txt").write_text("secret")
    hide(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.txt")] == ["with-******/******.txt"]


def test_credentials_are_found_where_one_piece_ends_and_the_next_begins(tmp_path: Path) -> None:
    file = tmp_path / "log"
    for before in (hiding.PIECE - 6, hiding.PIECE - 3, hiding.PIECE - 1, hiding.PIECE):
        file.write_bytes(b"x" * before + b"secret and")
        hide(tmp_path)
        assert file.read_bytes() == b"x" * before + b"****** and"


def test_a_file_that_is_cut_short_meanwhile_does_not_end_the_server(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"x" * 100_000)
    done = subprocess.run([sys.executable, "-c", CUT, str(file)], timeout=60, check=False)
    assert done.returncode == 0


def test_what_cannot_be_looked_into_is_removed_and_the_rest_is_cleaned(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("secret")
    (tmp_path / "locked.zip").write_bytes(encrypted(packed(text=b"a secret text")))
    (tmp_path / "read-only.txt").write_text("secret")
    (tmp_path / "read-only.txt").chmod(0o400)
    (tmp_path / "z.txt").write_text("secret")
    assert hide(tmp_path) == ["locked.zip"]
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(
        ("a.txt", "read-only.txt", "z.txt"), "******"
    )


def test_what_only_ends_like_a_packed_file_is_cleaned_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "odd").write_bytes(b"a secret text" + packed()[:4] + b"\xff" * 18)
    assert not hide(tmp_path)
    assert (tmp_path / "odd").read_bytes().startswith(b"a ****** text")


def test_a_packed_video_is_not_read_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hiding, "LARGEST", 1000)
    content = packed(video=bytes(5000))
    broken = content.replace(content[35:40], b"\xff" * 5, 1)  # whoever reads it will know
    (tmp_path / "report.zip").write_bytes(broken)
    assert not hide(tmp_path)
    assert (tmp_path / "report.zip").read_bytes() == broken


# What is printed.


def printing(tmp_path: Path) -> tuple[Path, Path, Filter]:
    printed, output = tmp_path / "printed", tmp_path / "output"
    return printed, output, Filter(printed, output, CREDENTIALS.secrets)


def say(printed: Path, text: str) -> None:
    with printed.open("a") as file:
        file.write(text)


async def test_a_secret_is_never_to_be_seen_though_it_comes_in_two_parts(tmp_path: Path) -> None:
    printed, output, shown = printing(tmp_path)
    say(printed, "the key is sec")
    await wait_until(lambda: output.read_text() == "the key is ")
    say(printed, "ret, and sec")
    await wait_until(lambda: output.read_text() == "the key is ******, and ")
    await shown.close()
    assert output.read_text() == "the key is ******, and sec"
    assert output.stat().st_mode & 0o777 == 0o600


async def test_what_is_cut_back_is_cut_back_there_too(tmp_path: Path) -> None:
    printed, output, shown = printing(tmp_path)
    say(printed, "x" * 100 + "sec")
    await wait_until(lambda: output.stat().st_size == 100)
    with printed.open("r+b") as file:
        file.truncate(50)
    await wait_until(lambda: output.stat().st_size == 50)
    say(printed, "more")
    await shown.close()
    assert output.read_text() == "x" * 50 + "more"


async def test_all_is_there_at_the_end_however_quick_it_was(tmp_path: Path) -> None:
    printed, output, shown = printing(tmp_path)
    await asyncio.sleep(0)
    say(printed, "quick secret")
    await shown.close()
    assert output.read_text() == "quick ******"


# What is said of tests.


def test_a_title_holds_no_secret() -> None:
    test = TestCase("1", "logs in with secret", "secret.spec.js", 1, "failed", 1.0, 0, "no secret")
    [hidden] = CREDENTIALS.hide_in_outcome(Outcome(tests=[test])).tests
    assert (hidden.title, hidden.file, hidden.error) == ("logs in with ********", "********.spec.js", "no ********")


def test_progress_holds_no_secret() -> None:
    class Request:
        def report(self, *given: Any) -> None:
            reports.append(given)

    reports: list[Any] = []
    given: Any = Request()
    FilteredRequest(given, Path("printed"), CREDENTIALS.hide).report(1, 2, "logs in with secret")
    assert reports == [(1, 2, "logs in with ********")]
