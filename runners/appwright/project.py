"""The project that a job's tests belong to: its folder, its config, and which of its files the job is about."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hpcq.plugin import Rejected
from hpcq_runners.appwright import uploads
from hpcq_runners.appwright.params import AppwrightParams
from hpcq_runners.appwright.settings import AppwrightSettings
from hpcq_runners.appwright.tools import find_cli
from hpcq_runners.fields import Blob

ENDINGS = ("ts", "js", "mts", "mjs", "cts", "cjs")
CONFIGS = tuple(f"{name}.config.{ending}" for name in ("appwright", "playwright") for ending in ENDINGS)


@dataclass(frozen=True, slots=True)
class Project:
    """A project, and what of it is to be run."""

    folder: Path  # without links
    config: Path
    cli: Path  # Playwright's
    tests: Path  # the spec file or folder

    @property
    def is_appwright(self) -> bool:
        return self.config.name.startswith("appwright.")

    @property
    def file_filter(self) -> str:
        """Exactly these tests, as Playwright's command line wants it: a regular expression on absolute paths."""
        end = "$" if self.tests.is_file() else "\\/"
        return f"/^{''.join(_literal(char) for char in str(self.tests))}{end}/"


def _literal(char: str) -> str:
    return char if char.isalnum() or char in "_-" or not char.isascii() else "\\" + char


async def find(
    params: AppwrightParams, settings: AppwrightSettings, blob: Callable[[str], Path], place: uploads.Place
) -> Project:
    """The job's project; an upload is unpacked into `place` first. Raises Rejected with a sentence, and Infra."""
    if isinstance(params.cwd, Blob):
        folder = await uploads.unpack(params.cwd.blob, place, settings, blob)
    else:
        folder = _named(params.cwd, settings)
    return await asyncio.to_thread(_look, folder, params.test_path)


def _named(cwd: str | None, settings: AppwrightSettings) -> Path:
    if cwd is None:
        usual = settings.usual_folder()
        if usual is None:
            raise Rejected("no project: the job names none by cwd, and the queue's config has no project_dir")
        return usual
    if cwd.startswith("/"):
        return Path(cwd)
    if cwd not in settings.projects:
        known = ", ".join(sorted(settings.projects)) or "none"
        raise Rejected(f"cwd {cwd!r} is none of the queue's projects; there are: {known}")
    return settings.projects[cwd]


def _look(folder: Path, test_path: str) -> Project:
    if not folder.is_dir():
        raise Rejected(f"the project's folder {folder} is not there")
    folder = Path(os.path.realpath(folder))
    config = next((folder / name for name in CONFIGS if (folder / name).is_file()), None)
    if config is None:
        raise Rejected(f"{folder} has neither an appwright.config.* nor a playwright.config.*: it is no project")
    tests = Path(os.path.normpath(folder / test_path))
    real = Path(os.path.realpath(tests))
    if not real.is_relative_to(folder):
        raise Rejected(f"test_path {test_path} is a link that leads out of the project's folder {folder}")
    if not real.exists():
        raise Rejected(f"test_path {test_path} is not there: no such file or folder in {folder}")
    return Project(folder, config, find_cli(folder), tests)
