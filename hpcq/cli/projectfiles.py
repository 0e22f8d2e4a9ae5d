"""Which files of a project are uploaded, at which commit they are, and which cannot be sent."""

import os
import re
import subprocess
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from hpcq.cli.output import clean, many, say

OUTPUTS = ("artifacts_dir", "report_dir", "out", "junit")  # options that name what we write ourselves
# Of a project, beside what of no folder is uploaded: what is made anew where it runs, what editors and systems keep.
MADE_ANEW = (
    "node_modules", ".hg", ".svn", ".venv", ".cache", ".nyc_output", ".gradle", ".idea", ".vscode", ".DS_Store",
    "Thumbs.db",
)  # fmt: skip
GIT_S = 30.0
# A checkout may be somebody else's, as in a container of CI. With these `ls-files` runs nothing that it names.
HARMLESS = ("-c", "core.fsmonitor=false", "-c", "safe.directory=*")


class GitFailed(Exception):
    """Git is not there, or says no: why."""


def absolute(path: Path) -> Path:
    """Absolute, without `..`; links stay what they are."""
    return Path(os.path.normpath(path.absolute()))


def left_out(options: Mapping[str, Any]) -> tuple[str, ...]:
    """Of the project to be uploaded: also what we write, and the build, so that the same project has the same sum."""
    from hpcq.client.uploads import LEFT_OUT

    ours = [options[name] for name in OUTPUTS if options.get(name)]
    written = [absolute(Path(str(path))) for path in (*ours, options["app"]) if path]
    top = absolute(options["project_dir"])
    inside = [path for path in written if path != top and path.is_relative_to(top)]
    return (*LEFT_OUT, *MADE_ANEW, *(f"/{path.relative_to(top).as_posix()}" for path in inside))


def kept_back(options: Mapping[str, Any], tests: Sequence[str]) -> tuple[str, ...]:
    """All that is not uploaded of the project, what git ignores included; says how much that is.

    Raises click.UsageError for what cannot be sent, and for `tests` that would not be."""
    from hpcq.client.uploads import below

    folder, names = options["project_dir"], left_out(options)
    if not options["include_ignored"]:
        ignored = ignored_in(folder)
        for test in tests:
            if any(f"/{test}/".startswith(f"{name}/") for name in ignored):
                raise click.UsageError(
                    f"--test {test}: git ignores it, so it is not uploaded without --include-ignored"
                )
        everything = _files(folder, below(folder, names))
        names = (*names, *ignored)
        count = len(everything - _files(folder, below(folder, names))) if ignored else 0
        if count:
            say(f"left out {many(count, 'file')} that git ignores (--include-ignored sends them)")
    refuse_unsendable(folder, below(folder, names))
    return names


def _files(folder: Path, names: Iterable[str]) -> set[str]:
    return {name for name in names if not (folder / name).is_dir()}


def ignored_in(folder: Path) -> tuple[str, ...]:
    """`/paths` of what git ignores in a folder; nothing outside a checkout, or where it ignores the folder itself.

    Git does not look into a repository that lies within: that is uploaded whole. Raises click.UsageError where git does
    not say it: secrets are among what it ignores."""
    if not _is_in_checkout(folder):
        return ()
    words = ("ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory")
    try:
        said = _git(folder, *HARMLESS, *words)
    except GitFailed as error:
        raise click.UsageError(
            f"--project-dir {clean(folder)}: it is in a git checkout, but what git ignores there is not known: "
            f"{clean(error)}; mend that, or upload everything with --include-ignored"
        ) from error
    names = [os.fsdecode(name) for name in said.split(b"\0") if name]
    return () if "./" in names else tuple(f"/{name.rstrip('/')}" for name in names)


def refuse_unsendable(folder: Path, names: Iterable[str]) -> None:
    """The server would refuse the whole project for one of these. Raises click.UsageError."""
    top = os.path.realpath(folder)
    for name in names:
        shown = clean(folder / name)
        if not name.isprintable() and re.search("[\n\r\ud800-\udfff]", name):
            raise click.UsageError(f"--project-dir: {shown}: a file's name must be UTF-8, and one line; rename it")
        path = folder / name
        if not path.is_symlink():
            continue
        target = path.readlink()
        if target.is_absolute() or not Path(os.path.realpath(path)).is_relative_to(top):
            why = f"a link that leads out of the project, to {clean(target)}"
            raise click.UsageError(
                f"--project-dir: {shown} is {why}: put there what it stands for, or have git ignore it"
            )


def commit_of(folder: Path, leave_out: Collection[str]) -> str | None:
    """What is checked out there, as the tests' history wants to know; an upload has no `.git`. None as well with
    changes to what is uploaded: a test that fails for their sake is not flaky on the commit."""
    ours = [
        f":(exclude,literal){name[1:]}" if name.startswith("/") else f":(exclude,glob)**/{name}/**"
        for name in leave_out
    ]
    files = [f":(exclude,glob)**/{name}" for name in leave_out if not name.startswith("/")]
    try:
        commit = _git(folder, "rev-parse", "--verify", "HEAD").decode("ascii", "replace").strip()
        if not re.fullmatch(r"[0-9a-f]{40,64}", commit):
            return None
        changes = _git(folder, "status", "--porcelain", "--untracked-files=all", "--", ".", *ours, *files)
    except GitFailed:
        return None
    return None if changes.strip() else commit


def _is_in_checkout(folder: Path) -> bool:
    real = Path(os.path.realpath(folder))
    return any(os.path.lexists(above / ".git") for above in (real, *real.parents))


def _git(folder: Path, *words: str) -> bytes:
    """What git says of the folder, and not of the repository that a hook of another one names in GIT_DIR.
    Raises GitFailed."""
    env = {name: value for name, value in os.environ.items() if not re.match("GIT_(?!CONFIG_)", name)}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, env=env, timeout=GIT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise GitFailed(f"git took longer than {GIT_S:g} s") from error
    except OSError as error:
        raise GitFailed(f"git cannot be run: {error.strerror or error}") from error
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise GitFailed(lines[-1].strip() if lines else f"git ended with {done.returncode}")
    return done.stdout
