"""`npm ci` for uploaded projects: once for each package-lock.json, in a folder of the queue, whole or not at all."""

import asyncio
import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from hpcq.plugin import Exit, Infra, Process, Rejected
from hpcq_runners.appwright.reading import PACKAGE, PACKAGE_BYTES, read_end, read_json
from hpcq_runners.appwright.settings import AppwrightSettings
from hpcq_runners.appwright.tools import MODULES, find_node, npm_words

KEPT, FRESH, LOG = "modules", "fresh-", "npm.log"
LOCK, INSTALLED = "package-lock.json", ".package-lock.json"  # npm writes the second one into node_modules
LOCK_BYTES = 16 << 20
FILES = {PACKAGE: PACKAGE_BYTES, LOCK: LOCK_BYTES, ".npmrc": 1 << 20}  # what decides on which modules there are
UNUSED_S = 14 * 24 * 3600.0
CI = ("ci", "--ignore-scripts", "--include=dev", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error")
SCRIPTS = ("rebuild", "--include=dev", "--loglevel=error")  # also the project's own: see _copy
SAID_BYTES, SAID_LINES, SAID_CHARS = 64 << 10, 6, 800
AGAIN_S = 5.0  # until a submit is tried again
LINKED_S = 20.0  # who has no patience waits so long for what is kept for nobody
CODE = re.compile(r"^npm (?:error|ERR!) code (\S+)$", re.MULTILINE)
LINE = re.compile(r"^npm (?:error|ERR!) (?!code |A complete log|    /)[ \t]*(\S.*)$", re.MULTILINE)
# The registry cannot be reached, or the machine cannot go on: nothing that another package-lock.json would mend.
MACHINE = re.compile(
    r"E(NOTFOUND|AI_AGAIN|CONNREFUSED|CONNRESET|CONNABORTED|TIMEDOUT|IDLETIMEOUT|NETUNREACH|HOSTUNREACH|PIPE|429|5\d\d"
    r"|NOSPC|DQUOT|ROFS|ACCES|PERM|MFILE|NFILE|NOMEM)|ERR_SOCKET_TIMEOUT|CERT_\w+|\w+_CERT\w*|UNABLE_TO_VERIFY\w+"
)

Locks = WeakValueDictionary[Path, asyncio.Lock]
_locks: Locks = WeakValueDictionary()
_background: set["asyncio.Task[Path]"] = set()


@dataclass(frozen=True, slots=True)
class Npm:
    """How npm is run for one job, or for one listing."""

    spawn: Callable[[Sequence[str], Mapping[str, str], Path, Path], Awaitable[Process]]  # argv, env, cwd, output
    env: Mapping[str, str]  # the server's and the queue's: what one job's would change is kept for all
    output: Path | None = None  # appended to; None: a file beside the modules
    patience_s: float | None = None  # who waits no longer lets it go on by itself; None: it ends with who waits


async def modules_of(project: Path, data_dir: Path, settings: AppwrightSettings, npm: Npm) -> Path:
    """The node_modules that the project's package-lock.json names. Raises Rejected, Infra."""
    _bounded(project)
    lock = await asyncio.to_thread(read_lock, project / LOCK)
    if lock is not None and any(package.get("link") for package in packages(lock).values()):
        return await _linked(project, settings, npm)
    node = find_node(settings, npm.env.get("PATH"))
    place = data_dir / KEPT / await asyncio.to_thread(_key, project, settings, node)
    work = asyncio.ensure_future(_kept(project, place, lock, settings, npm))
    if npm.patience_s is None:
        return await work
    _background.add(work)
    work.add_done_callback(_forget)
    await asyncio.wait({work}, timeout=npm.patience_s)
    if not work.done():
        raise Infra("npm still installs what this package-lock.json names: submit again in some seconds", AGAIN_S)
    return work.result()


async def _linked(project: Path, settings: AppwrightSettings, npm: Npm) -> Path:
    """Workspaces and `file:` folders are the project itself, of this upload."""
    limit_s = None if npm.patience_s is None else LINKED_S
    try:
        await asyncio.wait_for(_ci(project, settings, npm), limit_s)
    except TimeoutError:
        why = f"`npm ci` takes longer than {limit_s:g} s for this project, which is installed for each upload anew"
        raise Infra(f"{why} as it has workspaces or links: submit its spec files one by one, without a split") from None
    return project / MODULES


def _forget(work: "asyncio.Task[Path]") -> None:
    _background.discard(work)
    if not work.cancelled():
        work.exception()  # nobody may be left whom it concerns


async def _kept(project: Path, place: Path, lock: Any, settings: AppwrightSettings, npm: Npm) -> Path:
    if not _used(place):
        async with _locks.setdefault(place, asyncio.Lock()):
            if not _used(place):  # whoever came first may have installed it
                if not await asyncio.to_thread(has_lock, project):
                    raise Infra("the upload was removed while it waited for npm")  # nobody is left whom it concerns
                await _install(project, place, lock, settings, npm)
                await asyncio.to_thread(prune, place.parent)
    return place / MODULES


def _used(place: Path) -> bool:
    """It is there, and `prune` shall leave it."""
    try:
        os.utime(place)
    except FileNotFoundError:
        return False
    return True


async def _install(project: Path, place: Path, lock: Any, settings: AppwrightSettings, npm: Npm) -> None:
    place.parent.mkdir(exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=place.parent, prefix=FRESH))
    try:
        await asyncio.to_thread(_copy, project, fresh, lock)
        await _ci(fresh, settings, npm)
        _finish(fresh, place, lock)  # here, as a thread would go on when this is cancelled, beside the removal
    finally:
        await asyncio.to_thread(shutil.rmtree, fresh, ignore_errors=True)


def _finish(fresh: Path, place: Path, lock: Any) -> None:
    wanted = any(at.startswith(MODULES) and not may_be_missing(package) for at, package in packages(lock).items())
    if wanted and not (fresh / MODULES / INSTALLED).is_file():
        told = "a setting such as dry-run in the project's .npmrc, or in `env` of the queue"
        raise Rejected(f"npm ci ended well, but has installed nothing of what {LOCK} names: look for {told}")
    (fresh / MODULES).mkdir(exist_ok=True)  # npm makes none for no packages
    fresh.rename(place)


async def _ci(folder: Path, settings: AppwrightSettings, npm: Npm) -> None:
    """Run npm in the folder. Raises Rejected, Infra."""
    node = find_node(settings, npm.env.get("PATH"))
    program = npm_words(settings, node, npm.env.get("PATH"))
    env = {**npm.env, "PATH": os.pathsep.join(filter(None, [npm.env.get("PATH"), str(node.parent)]))}
    output = npm.output or folder / LOG
    for words in (CI, SCRIPTS) if settings.npm_scripts else (CI,):
        begin = say(output, f"npm {words[0]} for the project's {LOCK}")
        try:
            process = await npm.spawn([*program, *words], env, folder, output)
        except (OSError, ValueError) as error:
            raise Infra(f"cannot run {program[0]}: {error}") from None
        try:
            exit_ = await process.wait()
        finally:
            await process.terminate(0.0)
        if exit_.code != 0:
            raise await asyncio.to_thread(_failure, exit_, output, begin, words[0])


def _failure(exit_: Exit, output: Path, begin: int, command: str) -> Rejected | Infra:
    said = read_end(output, SAID_BYTES, begin)
    codes = CODE.findall(said)
    lines = LINE.findall(said) or said.splitlines()[-SAID_LINES:]
    text = "; ".join(line.strip() for line in lines[:SAID_LINES])[:SAID_CHARS]
    if exit_.signal is not None:
        return Infra(f"npm {command} was killed by signal {exit_.signal}")
    if any(MACHINE.fullmatch(code) for code in codes):
        return Infra(f"npm {command} could not install the project's modules here: {text}")
    return Rejected(f"npm {command} cannot install what the project's {LOCK} names: {text}")


def say(output: Path, line: str) -> int:
    """Write a line of ours into an output; how long that is then. Raises OSError."""
    with output.open("a", encoding="utf-8") as printed:
        printed.write(f"hpcq: {line}\n")
        return printed.tell()


# What an installation is known by, and made of.


def _bounded(project: Path) -> None:
    """Raises Rejected for files that the server would not survive reading."""
    for name, most in FILES.items():
        size = (project / name).stat().st_size if (project / name).is_file() else 0
        if size > most:
            raise Rejected(f"the uploaded project's {name} has {size} bytes, at most {most >> 20} MiB are read")


def _key(project: Path, settings: AppwrightSettings, node: Path) -> str:
    about = node.resolve().stat()  # another one may not load what was compiled for this one
    found = hashlib.sha256(f"{settings.npm_scripts} {node.resolve()} {about.st_size} {about.st_mtime_ns}\n".encode())
    for name in FILES:
        text = (project / name).read_bytes() if (project / name).is_file() else b""
        found.update(b"%s %d\n" % (name.encode(), len(text)) + text)
    return found.hexdigest()


def _copy(project: Path, fresh: Path, lock: Any) -> None:
    for name in (*FILES, *_tars(project, lock)):
        if (project / name).is_file():
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(project / name, fresh / name)
    about = read_json(project / PACKAGE, PACKAGE_BYTES)
    if isinstance(about, dict):  # the project's own scripts are not for here: what they need stays behind
        about.pop("scripts", None)
        (fresh / PACKAGE).write_text(json.dumps(about), encoding="utf-8")


def _tars(project: Path, lock: Any) -> Iterator[str]:
    """Packages that the project brings itself, by `file:…tgz`; the lock says what is in them."""
    for package in packages(lock).values():
        resolved = package.get("resolved")
        if isinstance(resolved, str) and resolved.startswith("file:") and package.get("integrity"):
            path = os.path.normpath(resolved.removeprefix("file:"))
            inside = not path.startswith(("..", "/")) and (project / path).resolve().is_relative_to(project.resolve())
            if inside:
                yield path


def has_lock(project: Path) -> bool:
    """Whether `npm ci` could install the modules of the project."""
    return (project / LOCK).is_file() and (project / PACKAGE).is_file()


def read_lock(path: Path) -> Any:
    """What is in a package-lock.json; None: it is not there, or no JSON of a bearable size."""
    return read_json(path, LOCK_BYTES)


def packages(lock: Any) -> dict[str, Any]:
    """The packages in a lock by where they lie, such as `node_modules/a/node_modules/b`; none in one of npm 6."""
    found = lock.get("packages") if isinstance(lock, dict) else None
    all_ = found.items() if isinstance(found, dict) else ()
    return {place: package for place, package in all_ if isinstance(package, dict)}


def may_be_missing(package: Any) -> bool:
    """It is for another system, or only if it happens to work."""
    return bool(package.get("optional") or package.get("devOptional") or package.get("os") or package.get("peer"))


def clear(data_dir: Path) -> None:
    """Remove what was not installed wholly, and what has not been used for long; when nothing runs."""
    for place in (data_dir / KEPT).glob(f"{FRESH}*"):
        shutil.rmtree(place, ignore_errors=True)
    prune(data_dir / KEPT)


def prune(kept: Path) -> None:
    """Remove what has not been used for long."""
    oldest = time.time() - UNUSED_S
    for place in kept.glob("*"):
        with contextlib.suppress(OSError):
            if place.stat().st_mtime < oldest:
                gone = tempfile.mkdtemp(dir=kept, prefix=FRESH)  # what is removed in part only must not pass for whole
                place.rename(gone)
                shutil.rmtree(gone, ignore_errors=True)
