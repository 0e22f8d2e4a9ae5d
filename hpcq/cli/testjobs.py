"""`--test`: specs of AppWright or Playwright as jobs. Uploads what the server lacks of the project and of the build."""

import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import click

from hpcq.cli.output import busy, clean, say
from hpcq.cli.projectfiles import absolute, commit_of, kept_back, left_out
from hpcq.cli.specs import Spec, is_here, parameters, treatment

if TYPE_CHECKING:
    from hpcq.client import Client

ENDINGS = ("ts", "js", "mts", "mjs", "cts", "cjs")
CONFIGS = tuple(f"{name}.config.{ending}" for name in ("appwright", "playwright") for ending in ENDINGS)
SPEC = re.compile(r"\.[cm]?[jt]sx?$")  # what a file of tests ends with, where it cannot be looked at
URL = re.compile(r"[a-z][a-z0-9+.-]*://")

TESTS = (
    click.option(
        "--test",
        "tests",
        multiple=True,
        metavar="PATH",
        help="Run this spec file, or each in this folder as a job; may be repeated.",
    ),
    click.option(
        "--project-dir",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="Upload the project in this folder.  [default: run it where it is]",
    ),
    click.option("--include-ignored", is_flag=True, help="Upload also what git ignores in --project-dir."),
    click.option("--project", help="Only this one of the projects in Playwright's config."),
    click.option("--grep", metavar="REGEX", help="Only tests whose title matches."),
    click.option("--app", help="The build under test: a file, which is uploaded, or an address."),
    click.option("--app-version-id", help="Its name; with --app FILE, the name that the file gets."),
)


def options_of_tests(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that describe tests."""
    for option in reversed(TESTS):
        function = option(function)
    return function


@dataclass(frozen=True)
class Project:
    """Where the tests are: a folder here, if it is one, and what the job says of it."""

    folder: Path | None
    cwd: Any = None  # a folder on the server's machine, a project of its config, an upload; None: as the queue says
    commit: str | None = None


async def specs_of_tests(client: "Client", options: Mapping[str, Any]) -> list[Spec]:
    """A job for each `--test`; of a folder the server makes one for each file. Raises click.UsageError."""
    project = project_of(options, client.url)
    paths = paths_of(options, project)
    names = kept_back(options, paths) if options["project_dir"] else ()
    build = await build_params(client, options)
    if options["project_dir"]:
        blob = await upload(client, options["project_dir"], names)
        project = replace(project, cwd={"blob": blob})
    return specs_of(options, client.url, project, paths, build)


def specs_of(options: Mapping[str, Any], url: str, project: Project, paths: Sequence[str], build: Spec) -> list[Spec]:
    """The jobs, once it is known how project and build are named."""
    common = {
        "cwd": project.cwd,
        "commit": project.commit,
        "project": options["project"],
        "grep": options["grep"],
    }
    base = parameters({**options, "command": (), "cwd": None}, url)
    if os.environ.get("CI"):  # configs ask for it: `forbidOnly: !!process.env.CI`
        base["env"] = {"CI": os.environ["CI"], **(base.get("env") or {})}
    common = {**base, **{name: value for name, value in common.items() if value is not None}, **build}
    given = {"queue": "local", **treatment(options)}
    if len(paths) > 1 and not build and "batch_key" not in given:
        given["batch_key"] = _common_key(options["idempotency_key"])  # with a build, the runner's own key is by that
    return [{**given, "params": {"test_path": path, **common, **_split(path, project.folder)}} for path in paths]


async def build_params(client: "Client", options: Mapping[str, Any]) -> Spec:
    """What --app and --app-version-id say of a job; uploads the file. Raises click.UsageError."""
    app, name = options.get("app"), options.get("app_version_id")
    params: Spec = {"app_version_id": name} if name else {}
    if app and URL.match(app):
        return {**params, "app": app}
    if app:
        blob = await upload(client, _file(app))
        params["app"] = {"blob": blob}
        if name:
            await client.name_app(name, blob, org_id=options["org_id"])
    return params


def _file(app: str) -> Path:
    path = Path(app)
    if not path.is_file():
        raise click.UsageError(f"--app {app}: no such file here, and no address")
    return path


async def upload(client: "Client", path: Path, leave_out: Collection[str] = ()) -> str:
    """Send a file or a folder unless the server has it, and say which; its SHA-256."""
    name, size = clean(absolute(path).name), 0
    with busy(f"looking at {name}") as words:

        def show(sent: int, whole: int) -> None:
            nonlocal size
            size = whole
            words[0] = f"sending {name}, {sent / max(1, whole):.0%} of {whole / 1e6:.1f} MB"

        blob = await client.upload(path, leave_out=leave_out, on_sent=show)
    say(f"{name}: {f'uploaded, {size / 1e6:.1f} MB' if size else 'the server has it'}")
    return blob


def _common_key(idempotency_key: str | None) -> str:
    """The same idempotency key needs the same jobs."""
    text = sha256(idempotency_key.encode()).hexdigest() if idempotency_key else uuid4().hex
    return f"tests-{text[:12]}"


def refuse_alone(options: Mapping[str, Any]) -> None:
    """Options that say nothing without --test. Raises click.UsageError."""
    for name in ("project_dir", "include_ignored", "project", "grep"):
        if options.get(name):
            raise click.UsageError(f"--{name.replace('_', '-')} goes with --test")
    if options.get("file") and (options.get("app") or options.get("app_version_id")):
        raise click.UsageError("-f brings its own jobs: name the build in their params")


def project_of(options: Mapping[str, Any], url: str) -> Project:
    """Where the tests are; what is to be uploaded has no `cwd` yet."""
    if options["project_dir"]:
        return Project(options["project_dir"], commit=commit_of(options["project_dir"], left_out(options)))
    cwd, here = options["cwd"], is_here(url)
    if cwd and here and Path(cwd).expanduser().is_dir():
        folder = Path(cwd).expanduser().absolute()
        return Project(folder, str(folder))
    if cwd is None and here and any(Path(name).is_file() for name in CONFIGS):
        return Project(Path.cwd(), str(Path.cwd()))
    return Project(None, cwd or None)


def paths_of(options: Mapping[str, Any], project: Project) -> list[str]:
    """The tests, as they are called in the project. Raises click.UsageError for what cannot be meant."""
    for name, option in (("file", "-f"), ("each", "--each"), ("stdin", "--stdin"), ("artifacts", "--artifact")):
        if options[name]:
            raise click.UsageError(f"{option} goes with commands, not with --test")
    if options["include_ignored"] and not options["project_dir"]:
        raise click.UsageError("--include-ignored goes with --project-dir: nothing else is uploaded")
    if options["project_dir"] and options["cwd"]:
        raise click.UsageError("give --project-dir, which is uploaded, or --cwd, which is on the server; not both")
    return [_inside(word, project.folder) for word in (*options["tests"], *options["command"])]


def _inside(word: str, folder: Path | None) -> str:
    """The path relative to the project's folder, however it was written."""
    if not word.strip():
        raise click.UsageError("--test '': name a spec file, or a folder; `--test .` is the whole project")
    if folder is None:
        return word
    top = absolute(folder)
    for path in (absolute(top / word), absolute(Path(word))):
        if path.exists() and path.is_relative_to(top):
            return path.relative_to(top).as_posix()
        if path.exists():
            raise click.UsageError(f"--test {word}: not inside the project's folder {folder}")
    raise click.UsageError(f"--test {word}: no such file or folder in {folder}")


def _split(path: str, folder: Path | None) -> Spec:
    """A folder becomes a job for each file."""
    is_folder = (folder / path).is_dir() if folder else not SPEC.search(path)
    return {"split": "file"} if is_folder else {}
