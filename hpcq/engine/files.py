"""Where a job's files lie: `<data>/jobs/<last two of the id>/<id>/`, and what was uploaded for it,
`<data>/blobs/<first two of the sum>/<sum>`. Folders are made when first asked for."""

import contextlib
import errno
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

MAX_ARTIFACTS = 1000
_remover = ThreadPoolExecutor(1, "hpcq-remover")  # what it was given is done before the server exits


@dataclass(frozen=True, slots=True)
class JobFolder:
    """The folder of one job."""

    path: Path

    @property
    def artifacts(self) -> Path:
        """Kept until retention takes it."""
        return self.path / "artifacts"

    @property
    def kept(self) -> Path:
        """Kept over attempts, for checkpoints."""
        return self.path / "kept"

    def attempt(self, number: int) -> Path:
        """What belongs to one attempt."""
        return self.path / f"attempt-{number}"

    def output(self, number: int) -> Path:
        """An attempt's output."""
        return self.attempt(number) / "output.log"

    def work(self, number: int) -> Path:
        """An attempt's private folder; gone at its end."""
        return self.attempt(number) / "work"

    def artifact_list(self) -> list[dict[str, object]]:
        """[{"name", "size"}] of every regular file below `artifacts`, by name."""
        return sorted(_listed(self.artifacts), key=lambda entry: str(entry["name"]))


def job_folder(data_dir: Path, job_id: str) -> JobFolder:
    """The folder of the job with this id."""
    return JobFolder(data_dir / "jobs" / job_id[-2:] / job_id)


def blob(data_dir: Path, sha256: str) -> Path:
    """Where an uploaded file lies, or would."""
    return data_dir / "blobs" / sha256[:2] / sha256


def pinned(data_dir: Path, pins: Mapping[str, str], name: str) -> Path:
    """An uploaded file, by the name that a job's params have for it, or by its SHA-256. Raises FileNotFoundError."""
    sha256 = pins.get(name) or (name if name in pins.values() else None)
    if sha256 is None:
        raise FileNotFoundError(f"nothing that the job names was uploaded as {name!r:.100}")
    path = blob(data_dir, sha256)
    if not path.is_file():
        raise FileNotFoundError(
            errno.ENOENT, "an uploaded file is gone from the data folder; upload it again", str(path)
        )
    return path


def make(path: Path) -> Path:
    """The folder, made with its parents if it is not there; nobody else may read it."""
    try:
        os.mkdir(path, 0o700)  # noqa: PTH102  (every attempt makes a few)
    except FileExistsError:
        if not path.is_dir():
            raise
    except FileNotFoundError:
        make(path.parent)
        path.mkdir(0o700, exist_ok=True)
    return path


def remove_soon(path: Path) -> None:
    """Remove a folder and all below it, on a thread: while the store writes, that may take milliseconds."""
    _remover.submit(remove, path)


def remove(path: Path) -> None:
    """Remove a folder and all below it; what cannot be removed stays."""
    try:
        path.rmdir()
    except FileNotFoundError:
        return
    except OSError:  # it is not empty
        _remove_tree(path)


def _remove_tree(path: Path) -> None:
    try:
        shutil.rmtree(path, ignore_errors=True)
    except RecursionError:  # nested deeper than Python goes
        subprocess.run(["rm", "-rf", "--", str(path)], check=False, capture_output=True)


def is_empty(path: Path) -> bool:
    """Nothing is in the folder, or it is not there."""
    try:
        with os.scandir(path) as entries:
            return next(entries, None) is None
    except FileNotFoundError:
        return True


def _listed(root: Path) -> Iterator[dict[str, object]]:
    """Regular files below a real folder, at most MAX_ARTIFACTS. What cannot be looked at is left out: jobs can put
    anything there, also what is nested too deep for a path."""
    if root.is_symlink():
        return
    folders, found = [(str(root), "")], 0
    while folders and found < MAX_ARTIFACTS:
        folder, prefix = folders.pop()
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.isprintable():  # it could be neither shown nor fetched
                    continue
                with contextlib.suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        folders.append((entry.path, f"{prefix}{entry.name}/"))
                    elif entry.is_file(follow_symlinks=False) and found < MAX_ARTIFACTS:
                        size = entry.stat(follow_symlinks=False).st_size
                        found += 1
                        yield {"name": f"{prefix}{entry.name}", "size": size}
