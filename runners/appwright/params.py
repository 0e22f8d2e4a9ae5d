"""What an AppWright job may ask for. Every error names a real place of the body, such as `/params/test_path`."""

import re
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator, ValidationInfo

from hpcq_runners.appwright.settings import AppwrightSettings
from hpcq_runners.command_params import MAX_VARIABLES, Argument, Name
from hpcq_runners.fields import Blob, BuildName, text_or_blob, wrong

PATTERN = re.compile(r"[*?|^\\]|\{[^}]*,[^}]*\}|\$$")  # [id].spec.ts is the name of a file
MAX_ARGS = 100
URLS = ("http://", "https://", "bs://", "lt://")
# What the runner itself says to Playwright, or what would have it do something else than run the job's tests to an end.
OURS = {
    "-c": "the config is the project's own",
    "--config": "the config is the project's own",
    "--reporter": "set reporters in the project's config",
    "--output": "files go to the job's artifacts",
    "--list": "it runs nothing",
    "--last-failed": "a retry of the job does that",
    "--only-changed": "give test_path",
    "--ui": "nobody could see it",
    "--ui-host": "nobody could see it",
    "--ui-port": "nobody could see it",
    "--debug": "nobody could answer it",
    "--project": "give project",
    "--grep": "give grep",
    "-g": "give grep",
    "--pass-with-no-tests": "a job without tests is a mistake",
    "--help": "it runs nothing",
    "-h": "it runs nothing",
    "--test-list": "give test_path",
}
# Options of Playwright that a job may give: with a value of their own, and without.
VALUED = (
    "--global-timeout", "--grep-invert", "-gv", "-G", "--max-failures", "--repeat-each", "--retries", "--shard",
    "--timeout", "--trace", "--tsconfig", "--workers", "-j", "--browser", "--update-source-method",
)  # fmt: skip
BARE = (
    "-x", "--forbid-only", "--fully-parallel", "--fail-on-flaky-tests", "--ignore-snapshots", "--no-deps", "--quiet",
    "--headed", "--update-snapshots", "-u",
)  # fmt: skip


def _inside(text: str) -> str:
    """One path below the project's folder, and nothing that Playwright could take for something else."""
    if not text.strip():
        raise wrong("must not be blank: it says which spec file or folder to run")
    if text.startswith("-"):
        raise wrong("must not begin with '-': it is a path, never an option")
    path = PurePosixPath(text)
    if path.is_absolute():
        raise wrong("must be relative to the project's folder; name the folder with cwd")
    if ".." in path.parts:
        raise wrong("must stay inside the project's folder: no '..'")
    if PATTERN.search(text):
        raise wrong("must be exactly one file or folder, no pattern")
    return text


def _project_name(text: str) -> str:
    if text.startswith("-") or "*" in text:
        raise wrong("must be the name of one of the config's projects: no option, no pattern")
    return text


def _project_folder(value: Any, info: ValidationInfo) -> str | Blob:
    found = text_or_blob(value, "an absolute path on the server's machine, the name of one of the queue's projects")
    if isinstance(found, Blob) or found.startswith("/"):
        return found
    settings = _settings(info)
    if settings is not None and found not in settings.projects:
        known = ", ".join(sorted(settings.projects)) or "none"
        raise wrong(f"is no absolute path, and no project of this queue's config; its projects: {known}")
    return found


def _app(value: Any) -> str | Blob:
    return text_or_blob(value, "a build file (absolute, or relative to the project's folder) or an address")


def _as_json(value: str | Blob) -> Any:
    return value.model_dump() if isinstance(value, Blob) else value


AsJson = PlainSerializer(_as_json, return_type=Any)  # pydantic would make JSON of what already is
Folder = Annotated[str | Blob, PlainValidator(_project_folder, json_schema_input_type=Argument | Blob), AsJson]
Build = Annotated[str | Blob, PlainValidator(_app, json_schema_input_type=Argument | Blob), AsJson]


def _args(words: list[str]) -> list[str]:
    """Options only: a further path would add tests to those that the job is about."""
    places = iter(range(len(words)))
    for place in places:
        name, equals, _ = words[place].partition("=")
        if name in OURS:
            raise wrong(f"{name} (argument {place}) cannot be given: {OURS[name]}")
        if name in VALUED:
            if not equals and next(places, None) is None:
                raise wrong(f"{name} (argument {place}) needs a value")
        elif not (name in BARE and not equals) and not re.fullmatch(r"-j\d+%?", name):
            raise wrong(f"{words[place]!r:.100} (argument {place}) is no option of Playwright that a job can give")
    return words


def _settings(info: ValidationInfo) -> AppwrightSettings | None:
    """Those of the queue, where they are known."""
    found = (info.context or {}).get("settings")
    return found if isinstance(found, AppwrightSettings) else None


class AppwrightParams(BaseModel):
    """AppWright (or plain Playwright) tests: which, of which project, against which build."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    test_path: Annotated[Argument, AfterValidator(_inside)] = Field(
        description="Exactly one spec file or folder, relative to the project's folder."
    )
    app_version_id: BuildName | None = Field(
        default=None, description="The build under test: one that was uploaded under this name, or just a label."
    )
    cwd: Folder | None = Field(
        default=None, description="The project: a folder, a project of the queue's config by name, or an uploaded tar."
    )
    project: Annotated[Argument, Field(min_length=1), AfterValidator(_project_name)] | None = Field(
        default=None, description="One of the config's projects, by name."
    )
    grep: Annotated[Argument, Field(min_length=1)] | None = Field(
        default=None, description="Run only tests whose title matches this regular expression."
    )
    app: Build | None = Field(
        default=None, description="The build under test: a file, an address, or an upload. It wins over app_version_id."
    )
    args: Annotated[list[Argument], Field(max_length=MAX_ARGS), AfterValidator(_args)] = Field(
        default_factory=list, description="Further options for Playwright, such as --retries=1."
    )
    env: dict[Name, Argument] = Field(
        default_factory=dict, max_length=MAX_VARIABLES, description="On top of the server's environment."
    )
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{7,64}$")] | None = Field(
        default=None,
        description="The git commit of the project, where its folder is no checkout: it marks the tests' history.",
    )
    split: Literal["file"] | None = Field(default=None, description="`file`: make one job of each spec file.")
