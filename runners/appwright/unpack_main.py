"""The child that unpacks an uploaded tar: `python -I -S unpack_main.py TAR FOLDER MIB FILES`.

A tar may keep its reader busy for minutes, or have it ask for gigabytes. Here that is the end of the child, and the
server goes on. It prints why a tar was not unpacked. Only the standard library: nothing else is there.
"""

import errno
import lzma
import os
import resource
import sys
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

REFUSED, TROUBLE = 65, 74  # exit codes: the tar is to blame, or the machine
CPU_S = 120
MEMORY, MEMORY_A_FILE = 256 << 20, 2 << 10  # bytes: a tar's members are all remembered
MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EPERM}
BAD = (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, UnicodeError, ValueError, RecursionError, OverflowError)


class TooMuch(Exception):
    """It holds more than it may."""


def main(archive: str, folder: str, mib: int, files: int) -> int:
    """Unpack `archive` to `folder`; the exit code."""
    most = MEMORY + MEMORY_A_FILE * files
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        with tarfile.open(archive) as tar:
            tar.extraction_filter = getattr(tarfile, "data_filter", None)
            tar.extractall(folder, members=_bounded(tar, folder, mib, files))  # noqa: S202  (filtered, and bounded)
    except TooMuch as error:
        why = str(error)
    except MemoryError:
        why = f"the uploaded project is no tar that can be unpacked: that takes more than {most >> 20} MiB of memory"
    except BAD as error:
        why = f"the uploaded project is no tar that can be unpacked: {_fault(error)}"
    except OSError as error:
        if error.errno in MACHINE:
            print(f"{error.strerror}: {error.filename}")
            return TROUBLE
        why = f"the uploaded project is no tar that can be unpacked: {error.strerror or error}"
    else:
        return 0
    print(why.encode(errors="replace").decode())
    return REFUSED


def _fault(error: Exception) -> str:
    """tarfile's own filter names places on this machine: here they are told as the project knows them."""
    member = getattr(error, "tarinfo", None)
    return str(error) if member is None else _out(member)


def _out(member: tarfile.TarInfo) -> str:
    """Where a member that may not be unpacked leads, or what it is."""
    if member.issym() or member.islnk():
        beside = Path() if member.islnk() else Path(member.name).parent
        return f"{member.name!r} is a link to {os.path.normpath(beside / member.linkname)!r}, out of the project"
    if member.isreg() or member.isdir():
        return f"{member.name!r} leads out of the project"
    return f"{member.name!r} is neither a file nor a folder nor a link"


def _bounded(tar: tarfile.TarFile, folder: str, mib: int, files: int) -> Iterator[tarfile.TarInfo]:
    """Its members, as long as they are within the limits: what a tar says of its own size is not trusted."""
    count, left = 0, mib << 20
    for member in tar:
        count, left = count + 1, left - member.size
        if count > files or left < 0:
            raise TooMuch(
                f"the uploaded project holds more than {files} files or {mib} MiB: leave node_modules out, or raise "
                "upload_files or upload_mb in the queue's config"
            )
        if not hasattr(tarfile, "data_filter"):
            _harmless(member, Path(folder).resolve())
        yield member


def _harmless(member: tarfile.TarInfo, root: Path) -> None:
    """What tarfile's own filter does, which came with Python 3.11.4. The members before this one are unpacked already,
    so that a way out over their links is seen. Raises ValueError."""
    if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
        raise ValueError(_out(member))
    places = [Path(member.name)]
    if member.issym():
        places.append(Path(member.name).parent / member.linkname)
    elif member.islnk():
        places.append(Path(member.linkname))
    for place in places:
        if place.is_absolute() or not (root / place).resolve().is_relative_to(root):
            raise ValueError(_out(member))
    member.uid, member.gid, member.uname, member.gname = os.getuid(), os.getgid(), "", ""
    member.mode = (member.mode & 0o755 | 0o600) if not member.isdir() else 0o755


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
