"""One job for each spec file: Playwright itself lists them, for only it knows the project's config."""

import asyncio
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hpcq.plugin import Context, Part, Process, Rejected
from hpcq_runners.appwright import npm, project, run, verdict, words, wrapper
from hpcq_runners.appwright.params import AppwrightParams
from hpcq_runners.appwright.reading import read_end, read_json
from hpcq_runners.appwright.tools import find_node
from hpcq_runners.appwright.uploads import Place

SAID_BYTES = 64 << 10
CAUSES = 2  # so many errors are told
NPM_S = 5.0  # a submit waits so long for npm, which then goes on by itself: others wait for their turn behind it
WITH_ENV = Path(__file__).with_name("with_env.py")
FRAME = re.compile(r"[ \t]+at (?:.*? \()?(?:file://)?(/.*?):\d+:\d+\)?$")
REPORT_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Listing:
    """What is listed, and with what."""

    params: AppwrightParams
    context: Context
    project: project.Project
    folder: Path  # of this listing alone
    whole: bool = False  # also the files of projects that others depend on, which run in each job of those


async def split(params: AppwrightParams, context: Context, blob: Callable[[str], Path]) -> Sequence[Part]:
    """The parts of a job, by file. Raises Rejected for a project in which no tests are found, and Infra."""
    folder = Path(tempfile.mkdtemp(dir=context.data_dir, prefix="listing-"))
    try:
        how = npm.Npm(_in_environment(context), _environment(context.settings.env), patience_s=NPM_S)
        found = await project.find(params, context, blob, Place(folder / "upload", context.spawn), how)
        files = await _files(Listing(params, context, found, folder))
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    whole = params.model_dump(mode="json", exclude_unset=True, exclude={"split"})
    return [Part(file, {**whole, "test_path": file}, found.suite) for file in files]


async def _files(listing: Listing) -> list[str]:
    """The spec files, relative to the project's folder. One that cannot be read hides all others from Playwright: it
    is left out of a further listing, and becomes a job that fails and says why."""
    said = await _list(listing, ())
    if not said["suites"] and not _causes(said):  # only what other tests depend on is there, perhaps
        listing = replace(listing, whole=True)
        said = await _list(listing, ())
    first, broken = said, set[str]()
    while not said["suites"] and (culprits := _culprits(said["errors"], listing.project.tests) - broken):
        broken |= culprits
        said = await _list(listing, broken)
    if not said["suites"]:
        raise Rejected(_nothing(first, listing))
    return _relative(said, broken, listing.project)


def _causes(said: Mapping[str, Any]) -> list[str]:
    texts = [error.get("message") or "" for error in said["errors"]]
    return [text for text in texts if text and verdict.NONE_FOUND not in text]


def _nothing(said: Mapping[str, Any], listing: Listing) -> str:
    """Why there is nothing to run."""
    causes = "; ".join(words.brief(words.relative(text, listing.project.folder)) for text in _causes(said)[:CAUSES])
    if not causes:
        return verdict.no_tests(listing.params)
    return f"the tests in {listing.params.test_path} cannot be listed: {causes}"


def _relative(said: Mapping[str, Any], broken: Collection[str], found: project.Project) -> list[str]:
    root = said["config"]["rootDir"]
    absolute = {os.path.normpath(Path(root, suite["file"])) for suite in said["suites"]}.union(broken)
    asked = {file for file in absolute if Path(file).is_relative_to(found.tests)}  # others are run along with these
    files = sorted(os.path.relpath(file, found.folder).replace(os.sep, "/") for file in asked or absolute)
    outside = next((file for file in files if file.startswith("../")), None)
    if outside is not None:
        raise Rejected(f"the config's testDir leads out of the project's folder: {outside}")
    return files


def _culprits(errors: Sequence[Mapping[str, Any]], tests: Path) -> set[str]:
    """The spec files that could not be read: those that had the others read, if an error's place is in another."""
    found = set()
    for error in errors:
        stack = words.lines_of(error.get("stack") or "")
        frames = [frame[1] for frame in map(FRAME.match, stack) if frame]
        places = [*reversed(frames), (error.get("location") or {}).get("file") or ""]
        found.update([place for place in places if Path(place).is_relative_to(tests)][:1])
    return found


async def _list(listing: Listing, broken: Collection[str]) -> Any:
    """Playwright's list of tests, as JSON, without the files that are `broken`."""
    params, context, found, folder = listing.params, listing.context, listing.project, listing.folder
    path, output = folder / "report.json", folder / "output.log"
    path.unlink(missing_ok=True)
    node = find_node(context.settings, os.environ.get("PATH"))
    whole = listing.whole or "--no-deps" in params.args
    config = wrapper.write_listing(folder, found, path, sorted(broken), None if whole else params.project or "")
    argv = [str(node), str(found.cli), "test", found.file_filter, "--list", "--config", str(config)]
    argv += run.chosen(params, again=True)  # a share of the files would be shared out once more
    given = run.without_overrides(run.variables(params, context.settings))
    env = {**given, **run.cache_env(params, context.data_dir, folder)}
    process = await _in_environment(context)(argv, env, found.folder, output)
    try:
        await process.wait()
    finally:
        await process.terminate(0.0)
    return await asyncio.to_thread(_read, path, output, listing)


def _environment(own: Mapping[str, str]) -> dict[str, str]:
    """What npm is given on top of the server's variables: the queue's; PATH, which we look at, always."""
    path = os.environ.get("PATH")
    return {**({"PATH": path} if path else {}), **own}


def _in_environment(context: Context) -> Callable[[Sequence[str], Mapping[str, str], Path, Path], Awaitable[Process]]:
    """Starts programs of the queue with further variables, which no command line shows."""

    async def spawn(argv: Sequence[str], env: Mapping[str, str], cwd: Path, output: Path) -> Process:
        whole = [sys.executable, "-I", "-S", str(WITH_ENV), *argv]
        return await context.spawn(whole, cwd=cwd, output=output, stdin=json.dumps(dict(env)).encode())

    return spawn


def _read(path: Path, output: Path, listing: Listing) -> Any:
    found = read_json(path, REPORT_BYTES)
    if found is None:
        why = verdict.said(words.relative(read_end(output, SAID_BYTES), listing.project.folder))
        raise Rejected(f"the tests in {listing.params.test_path} cannot be listed: {words.brief(why)}")
    return found
