"""One job for each spec file: Playwright itself lists them, for only it knows the project's config."""

import asyncio
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from hpcq.plugin import Context, Part, Rejected
from hpcq_runners.appwright import project, report, run, wrapper
from hpcq_runners.appwright.params import AppwrightParams
from hpcq_runners.appwright.tools import find_node

SAID_BYTES = 4096


async def split(params: AppwrightParams, context: Context, blob: Callable[[str], Path]) -> Sequence[Part]:
    """The parts of a job, by file. Raises Rejected for a project in which no tests are found, and Infra."""
    found = await project.find(params, context, blob)
    with tempfile.TemporaryDirectory(dir=context.data_dir, prefix="listing-") as name:
        files = await _listed(params, context, found, Path(name))
    whole = params.model_dump(mode="json", exclude_unset=True, exclude={"split"})
    return [Part(file, {**whole, "test_path": file}) for file in files]


async def _listed(params: AppwrightParams, context: Context, found: project.Project, folder: Path) -> list[str]:
    path, output = folder / "report.json", folder / "output.log"
    node = find_node(context.settings, params.env.get("PATH", os.environ.get("PATH")))
    config = wrapper.write_listing(folder, found, path)
    argv = [str(node), str(found.cli), "test", found.file_filter, "--list", "--config", str(config)]
    argv += ["--project", params.project] if params.project else []
    argv += [f"--grep={params.grep}"] if params.grep else []
    env = {**params.env, **run.cache_env(context.data_dir)}  # on top of what the server gives its children
    words = ["env", *(f"{name}={value}" for name, value in env.items()), *argv]
    process = await context.spawn(words, cwd=found.folder, output=output)
    try:
        await process.wait()
    finally:
        await process.terminate(0.0)
    return await asyncio.to_thread(_files, path, output, found, params.test_path)


def _files(path: Path, output: Path, found: project.Project, test_path: str) -> list[str]:
    """The spec files, relative to the project's folder."""
    try:
        listed = json.loads(path.read_bytes())
    except (OSError, ValueError):
        said = report.plain(output.read_bytes()[-SAID_BYTES:].decode(errors="replace"))
        raise Rejected(f"the tests in {test_path} cannot be listed: {said}") from None
    root = listed["config"]["rootDir"]
    absolute = {os.path.normpath(Path(root, suite["file"])) for suite in listed["suites"]}
    if not absolute:
        errors = "; ".join(report.plain(error.get("message", ""), 500) for error in listed["errors"])
        raise Rejected(f"no tests found in {test_path}: {errors}")
    files = sorted(os.path.relpath(file, found.folder).replace(os.sep, "/") for file in absolute)
    outside = next((file for file in files if file.startswith("../")), None)
    if outside is not None:
        raise Rejected(f"the config's testDir leads out of the project's folder: {outside}")
    return files
