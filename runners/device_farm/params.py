"""What a job of a device farm's queue may ask for: AppWright tests, or a build that the farm runs by itself."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, PlainValidator, Tag

from hpcq_runners.appwright.params import URLS, AppwrightParams
from hpcq_runners.command_params import MAX_VARIABLES, Argument, Name
from hpcq_runners.device_farm.farm import Framework
from hpcq_runners.device_farm.settings import FarmDevice, Text
from hpcq_runners.fields import Blob, BuildName, text_or_blob, wrong

SECRETS = re.compile(r"(BROWSERSTACK|LAMBDATEST|LT)_(USERNAME|ACCESS_KEY)")
OURS = ("app", "testSuite", "devices", "project", "customBuildName", "buildTag")  # of a build's request
MOST_DEVICES = 50


def _no_credentials(name: str) -> str:
    if SECRETS.fullmatch(name):
        raise wrong("is the server's to give: a job holds no credentials")
    return name


def _file(value: Any) -> str | Blob:
    wanted = "an absolute path on the server's machine or an address (http…, bs://…)"
    found = text_or_blob(value, wanted)
    if isinstance(found, str) and not found.startswith(("/", *URLS)):
        raise wrong(f'must be {wanted}, or {{"blob": sha256}}')
    return found


def _options(given: dict[str, Any]) -> dict[str, Any]:
    ours = sorted(set(given) & set(OURS))
    if ours:
        raise wrong(f"{', '.join(ours)} cannot be given here: the job's own fields, or the server, say it")
    return given


EnvName = Annotated[Name, AfterValidator(_no_credentials)]
Source = Annotated[str | Blob, PlainValidator(_file, json_schema_input_type=Argument | Blob)]


class FarmTestParams(AppwrightParams):
    """AppWright tests that open their sessions at the farm."""

    env: dict[EnvName, Argument] = Field(
        default_factory=dict, max_length=MAX_VARIABLES, description="On top of the server's environment."
    )
    device: FarmDevice | None = Field(
        None, description="The farm's device; without it the queue's, else that of the project's config."
    )


class FarmBuildParams(BaseModel):
    """A test suite that the farm runs by itself, on devices of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["farm_build"]
    framework: Framework
    app: Source | None = Field(None, description="The build: a file, an address, or an upload.")
    app_version_id: BuildName | None = Field(
        None, description="The build: one that was uploaded under this name; a label where `app` is given."
    )
    test_suite: Source = Field(description="The suite: an .apk, or a .zip of it; as `app`.")
    devices: Annotated[list[Text], Field(min_length=1, max_length=MOST_DEVICES)] = Field(
        description="In the farm's words, such as Google Pixel 8-14.0; each takes a session of the plan."
    )
    project: Text | None = Field(None, description="The farm's project, which its dashboard shows it under.")
    options: Annotated[dict[str, Any], AfterValidator(_options)] = Field(
        default_factory=dict, description="Further fields of the farm's own, such as shards or deviceLogs."
    )


def _form(value: Any) -> str:
    kind = value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)
    return "<build>" if kind == "farm_build" else "<tests>"


# Tags stand in angle brackets: they are in pydantic's error locations, but no part of a body.
FarmParams = Annotated[
    Annotated[FarmTestParams, Tag("<tests>")] | Annotated[FarmBuildParams, Tag("<build>")], Discriminator(_form)
]
