"""The project that a job's tests belong to: its folder, its config, and which of its files the job is about."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hpcq.plugin import Context, Infra, Rejected
from hpcq_runners.appwright import modules, uploads
from hpcq_runners.appwright.npm import Npm
from hpcq_runners.appwright.params import AppwrightParams
from hpcq_runners.appwright.reading import PACKAGE, PACKAGE_BYTES, read_json
from hpcq_runners.appwright.settings import AppwrightSettings
from hpcq_runners.appwright.tools import MODULES, find_cli, no_cli
from hpcq_runners.fields import Blob

UPLOADED = "the uploaded project"
ENDINGS = ("ts", "js", "mts", "mjs", "cts", "cjs")
SUITE_CHARS = 200
CONFIGS = tuple(f"{name}.config.{ending}" for name in ("appwright", "playwright") for ending in ENDINGS)


@dataclass(frozen=True, slots=True)
class Project:
    """A project, and what of it is to be run."""

    folder: Path  # without links
    config: Path
    cli: Path  # Playwright's
    tests: Path  # the spec file or folder
    suite: str = ""  # its name, by which its tests are told from another's

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
    params: AppwrightParams, context: Context, blob: Callable[[str], Path], place: uploads.Place, npm: Npm
) -> Project:
    """The job's project; an upload is unpacked into `place` first, and gets modules. Raises Rejected with a sentence,
    and Infra."""
    if not isinstance(params.cwd, Blob):
        folder = _named(params.cwd, context.settings)
        return await asyncio.to_thread(_look, folder, params.test_path, str(folder))
    folder = await uploads.unpack(params.cwd.blob, place, context.settings, blob)
    await asyncio.to_thread(_config, folder, UPLOADED)  # before npm installs anything
    brought = (folder / MODULES).exists()
    try:
        if not brought:
            await modules.provide(folder, place.folder, context, npm)
    except OSError as error:
        raise Infra(f"the uploaded project's modules cannot be laid out: {error}") from None
    if await asyncio.to_thread(find_cli, folder) is None:
        raise modules.lack(folder, context, brought=brought)
    return await asyncio.to_thread(_look, folder, params.test_path, UPLOADED)


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


def _look(folder: Path, test_path: str, called: str) -> Project:
    """The project in a folder that people know as `called`."""
    folder = Path(os.path.realpath(folder))
    config = _config(folder, called)
    tests = Path(os.path.normpath(folder / test_path))
    real, shown = Path(os.path.realpath(tests)), test_path if test_path.isprintable() else repr(test_path)
    if not real.is_relative_to(folder):
        raise Rejected(f"test_path {shown} is a link that leads out of the project's folder {called}")
    if not real.exists():
        raise Rejected(f"test_path {shown} is not there: no such file or folder in {called}")
    cli = find_cli(folder)
    if cli is None:
        raise Rejected(no_cli(folder))
    return Project(folder, config, cli, tests, suite_of(folder))


def _config(folder: Path, called: str) -> Path:
    if not folder.is_dir():
        raise Rejected(f"the project's folder {called} is not there")
    config = next((folder / name for name in CONFIGS if (folder / name).is_file()), None)
    if config is None:
        raise Rejected(f"{called} has neither an appwright.config.* nor a playwright.config.*: it is no project")
    return config


def suite_of(folder: Path) -> str:
    """The name in the project's package.json, as plain text; "" where there is none."""
    found = read_json(folder / PACKAGE, PACKAGE_BYTES)
    name = found.get("name") if isinstance(found, dict) else None
    return "".join(filter(str.isprintable, name)).strip()[:SUITE_CHARS] if isinstance(name, str) else ""
