"""The config that Playwright is given: the project's own, with this attempt's outputs, build and device.

It lies in the attempt's folder. Neither the checkout nor another job of the same project sees anything of it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcq.plugin import JSON
from hpcq_runners.appwright.project import Project
from hpcq_runners.appwright.reading import PACKAGE, PACKAGE_BYTES, read_json

HERE = Path(__file__).resolve().parent
COMMON = "module.exports = require({ours})(require({config}), {job});\n"
MODULE = """\
import {{ createRequire }} from "node:module";
import * as own from {config};
export default createRequire(import.meta.url)({ours})(own, {job});
"""


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where one run writes."""

    report: Path  # Playwright's JSON
    begun: Path  # which tests it is going to run, by our own reporter
    events: Path  # what has begun and ended of them, by the same
    tests: Path  # what tests leave: traces, screenshots, videos
    blob: Path  # a folder of its own
    blob_name: str
    videos: Path  # AppWright's
    progress: Path


def write(folder: Path, project: Project, name: str | None, outputs: Outputs, use: Mapping[str, JSON]) -> Path:
    """Write the config into `folder`. `name`: the one of the config's projects that is run; `use`: build and device."""
    return _written(folder, project, {
        "project": name,
        "json": str(outputs.report),
        "begun": str(outputs.begun),
        "events": str(outputs.events),
        "output": str(outputs.tests),
        "blob": str(outputs.blob),
        "blobName": outputs.blob_name,
        "videos": str(outputs.videos),
        "progress": str(outputs.progress),
        "reporter": str(HERE / "reporter.cjs"),
        **use,
    })  # fmt: skip


def write_listing(
    folder: Path, project: Project, report: Path, ignored: Sequence[str], heads: str | None = None
) -> Path:
    """Write the config of a run that only lists tests, as JSON, into `report`. The files that are `ignored` are not
    read. Unless `heads` is None, projects that others depend on are left out, but not the one of that name."""
    output = str(folder / "unused")
    job = {"list": True, "json": str(report), "output": output, "ignored": list(ignored), "heads": heads}
    return _written(folder, project, job)


def _written(folder: Path, project: Project, job: dict[str, Any]) -> Path:
    folder = folder / "node_modules"  # what lies in one Playwright takes as it is, and keeps no compiled copy of
    folder.mkdir(exist_ok=True)
    job = {"config": str(project.config), "appwright": project.is_appwright, **job}
    ours, text = json.dumps(str(HERE / "overrides.cjs")), json.dumps(job, indent=2)
    if is_module(project.config):
        path, form, config = folder / "hpcq.config.mjs", MODULE, json.dumps(project.config.as_uri())
    else:
        path, form, config = folder / "hpcq.config.cjs", COMMON, json.dumps(str(project.config))
    path.write_text(form.format(ours=ours, config=config, job=text), encoding="utf-8")
    return path


def is_module(config: Path) -> bool:
    """Whether Node takes the file for an ES module: by its ending, else by the nearest package.json."""
    if config.suffix in (".mjs", ".mts"):
        return True
    if config.suffix in (".cjs", ".cts"):
        return False
    package = next((at / PACKAGE for at in config.parents if (at / PACKAGE).is_file()), None)
    said = read_json(package, PACKAGE_BYTES) if package else None
    return isinstance(said, dict) and said.get("type") == "module"
