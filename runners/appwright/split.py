"""One job for each spec file: Playwright itself lists them, for only it knows the project's config."""

import asyncio
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcq.plugin import Context, Part, Rejected
from hpcq_runners.appwright import project, report, run, wrapper
from hpcq_runners.appwright.params import AppwrightParams
from hpcq_runners.appwright.tools import find_node
from hpcq_runners.appwright.uploads import Place

SAID_BYTES = 4096
WITH_ENV = Path(__file__).with_name("with_env.py")
FRAME = re.compile(r"^\s+at (?:.*? \()?(?:file://)?(/.*?):\d+:\d+\)?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Listing:
    """What is listed, and with what."""

    params: AppwrightParams
    context: Context
    project: project.Project
    folder: Path  # of this listing alone


async def split(params: AppwrightParams, context: Context, blob: Callable[[str], Path]) -> Sequence[Part]:
    """The parts of a job, by file. Raises Rejected for a project in which no tests are found, and Infra."""
    folder = Path(tempfile.mkdtemp(dir=context.data_dir, prefix="listing-"))
    try:
        found = await project.find(params, context.settings, blob, Place(folder / "upload", context.spawn))
        files = await _files(Listing(params, context, found, folder))
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    whole = params.model_dump(mode="json", exclude_unset=True, exclude={"split"})
    return [Part(file, {**whole, "test_path": file}) for file in files]


async def _files(listing: Listing) -> list[str]:
    """The spec files, relative to the project's folder. One that cannot be read hides all others from Playwright: it
    is left out of a further listing, and becomes a job that fails and says why."""
    said = await _list(listing, ())
    first, broken = said["errors"], set[str]()
    while not said["suites"] and (culprits := _culprits(said["errors"], listing.project.tests) - broken):
        broken |= culprits
        said = await _list(listing, broken)
    if not said["suites"]:
        errors = "; ".join(report.plain(error.get("message", ""), 500) for error in first)
        raise Rejected(f"no tests found in {listing.params.test_path}: {errors}")
    return _relative(said, broken, listing.project.folder)


def _relative(said: Mapping[str, Any], broken: Collection[str], folder: Path) -> list[str]:
    root = said["config"]["rootDir"]
    absolute = {os.path.normpath(Path(root, suite["file"])) for suite in said["suites"]}
    files = sorted(os.path.relpath(file, folder).replace(os.sep, "/") for file in absolute.union(broken))
    outside = next((file for file in files if file.startswith("../")), None)
    if outside is not None:
        raise Rejected(f"the config's testDir leads out of the project's folder: {outside}")
    return files


def _culprits(errors: Sequence[Mapping[str, Any]], tests: Path) -> set[str]:
    """The spec files that could not be read: those that had the others read, if an error's place is in another."""
    found = set()
    for error in errors:
        frames = FRAME.findall(error.get("stack") or "")
        places = [*reversed(frames), (error.get("location") or {}).get("file") or ""]
        found.update([place for place in places if Path(place).is_relative_to(tests)][:1])
    return found


async def _list(listing: Listing, broken: Collection[str]) -> Any:
    """Playwright's list of tests, as JSON, without the files that are `broken`."""
    params, context, found, folder = listing.params, listing.context, listing.project, listing.folder
    path, output = folder / "report.json", folder / "output.log"
    path.unlink(missing_ok=True)
    node = find_node(context.settings, params.env.get("PATH", os.environ.get("PATH")))
    config = wrapper.write_listing(folder, found, path, sorted(broken))
    argv = [str(node), str(found.cli), "test", found.file_filter, "--list", "--config", str(config)]
    argv += run.chosen(params, again=True)  # a share of the files would be shared out once more
    env = {**run.without_overrides(params.env), **run.cache_env(params, context.data_dir, folder)}
    words = [sys.executable, "-I", "-S", str(WITH_ENV), *argv]
    process = await context.spawn(words, cwd=found.folder, output=output, stdin=json.dumps(env).encode())
    try:
        await process.wait()
    finally:
        await process.terminate(0.0)
    return await asyncio.to_thread(_read, path, output, params.test_path)


def _read(path: Path, output: Path, test_path: str) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        said = report.plain(output.read_bytes()[-SAID_BYTES:].decode(errors="replace"))
        raise Rejected(f"the tests in {test_path} cannot be listed: {said}") from None
