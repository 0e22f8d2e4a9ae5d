"""A folder as a tar: the same folder is the same file, whoever packs it and when."""

import os
import socket
import tarfile
from pathlib import Path

import pytest

from hpcq.client.uploads import pack, sum_of


def project(folder: Path) -> Path:
    (folder / "tests").mkdir(parents=True)
    (folder / "tests" / "a.spec.js").write_text("test")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "empty").mkdir()
    (folder / "link").symlink_to("tests/a.spec.js")
    os.link(folder / "run.sh", folder / "same.sh")
    return folder


def packed(folder: Path, target: Path) -> tuple[str, list[str]]:
    pack(folder, target)
    with tarfile.open(target) as tar:
        return sum_of(target)[0], tar.getnames()


def test_equal_folders_have_equal_sums(tmp_path: Path) -> None:
    one, two = project(tmp_path / "one"), project(tmp_path / "two")
    os.utime(two / "run.sh", (1, 1))
    (two / "tests" / "a.spec.js").chmod(0o600)
    first, second = packed(one, tmp_path / "one.tar"), packed(two, tmp_path / "two.tar")
    assert first == second
    assert first[1] == ["empty", "link", "run.sh", "same.sh", "tests", "tests/a.spec.js"]
    (two / "run.sh").write_text("#!/bin/bash\n")
    assert packed(two, tmp_path / "three.tar")[0] != first[0]


def test_what_comes_out_is_what_went_in(tmp_path: Path) -> None:
    pack(project(tmp_path / "in"), tmp_path / "in.tar")
    with tarfile.open(tmp_path / "in.tar") as tar:
        tar.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.4 brought it
        tar.extractall(tmp_path / "out")
    out = tmp_path / "out"
    assert (out / "tests" / "a.spec.js").read_text() == "test"
    assert (out / "same.sh").read_text() == "#!/bin/sh\n"
    assert os.access(out / "run.sh", os.X_OK)
    assert (out / "link").readlink() == Path("tests/a.spec.js")
    assert (out / "empty").is_dir()


def test_what_tools_made_and_what_cannot_be_sent_is_left_out(tmp_path: Path) -> None:
    folder = project(tmp_path / "in")
    (folder / ".git").mkdir()
    (folder / "tests" / "test-results").mkdir()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(folder / "s"))
        names = packed(folder, tmp_path / "in.tar")[1]
    assert not {".git", "tests/test-results", "s"} & set(names)
    pack(folder, tmp_path / "less.tar", leave_out=("tests",))
    with tarfile.open(tmp_path / "less.tar") as tar:
        assert tar.getnames() == [".git", "empty", "link", "run.sh", "same.sh"]


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError):
        pack(tmp_path / "nothing", tmp_path / "x.tar")
