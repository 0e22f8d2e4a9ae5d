"""How a launcher makes one child: nothing is inherited but 0, 1 and 2, and every signal means what it means by default.

Standard library only, and little of it: the launcher imports this.
"""

import errno
import os
import signal
import stat

TYPE_CHECKING = False  # importing typing costs the launcher 8 ms
if TYPE_CHECKING:
    from typing import Any

DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"
DEFAULT_SIGNALS = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
OUTPUT_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK
OUTPUT_MODE = 0o600


class Refused(Exception):
    """It could not be started: `at` says which part of the order was bad ("program", "cwd", "stdin", "output")."""

    def __init__(self, at: str, number: int, path: str) -> None:
        super().__init__(at, number, path)
        self.at, self.errno, self.path = at, number, path


def open_output(path: str) -> int:
    """The descriptor; appending, so that a truncation by somebody else makes no hole."""
    try:
        return os.open(path, OUTPUT_FLAGS, OUTPUT_MODE)
    except OSError as error:
        raise Refused("output", error.errno or 0, path) from None


def spawn(order: "dict[str, Any]", output: int) -> int:
    """Start what `order` (a `spawn` message) says, with stdout and stderr to `output`; return its pid."""
    stdin = _open_stdin(order["stdin"])
    try:
        _enter(order["cwd"])
        program = find_program(order["argv"][0], order["env"].get("PATH", DEFAULT_PATH))
        return _spawn(program, order, stdin, output)
    finally:
        os.close(stdin)
        os.chdir("/")  # hold no folder of a job


def _spawn(program: str, order: "dict[str, Any]", stdin: int, output: int) -> int:
    actions = ((os.POSIX_SPAWN_DUP2, stdin, 0), (os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, output, 2))
    try:
        return os.posix_spawn(
            program,
            order["argv"],
            order["env"],
            file_actions=actions,
            setsid=True,
            setsigdef=DEFAULT_SIGNALS,
            setsigmask=(),
        )
    except OSError as error:
        raise Refused("program", error.errno or 0, program) from None


def _enter(cwd: str) -> None:
    """posix_spawn knows no cwd; this process has one thread, so it goes there itself."""
    try:
        os.chdir(cwd)
    except OSError as error:
        raise Refused("cwd", error.errno or 0, cwd) from None


def find_program(name: str, path: str) -> str:
    """What exec would run, looked up in the child's own PATH, relative to the current directory.

    Looked up first, because a failed spawn costs a process for every entry of the PATH.
    """
    if "/" in name:
        return name
    seen = errno.ENOENT
    for folder in path.split(":"):
        candidate = f"{folder or '.'}/{name}"
        if os.access(candidate, os.X_OK) and not os.path.isdir(candidate):  # noqa: PTH112  (pathlib is slow to import)
            return candidate
        if os.path.isfile(candidate):  # noqa: PTH113
            seen = errno.EACCES
    raise Refused("program", seen, name)


def _open_stdin(stdin: bytes | str | None) -> int:
    if isinstance(stdin, bytes):
        return _hold(stdin)
    path = stdin or os.devnull
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a FIFO must not hold up the launcher
        if stdin is not None and not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    except OSError as error:
        raise Refused("stdin", error.errno or 0, path) from None
    os.set_blocking(descriptor, True)
    return descriptor


def _hold(data: bytes) -> int:
    """A file in memory that is read from its beginning."""
    try:
        descriptor = os.memfd_create("stdin", os.MFD_CLOEXEC)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.lseek(descriptor, 0, os.SEEK_SET)
    except OSError as error:
        raise Refused("stdin", error.errno or 0, "stdin") from None
    return descriptor
