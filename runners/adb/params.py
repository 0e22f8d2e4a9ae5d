"""What a job on a device may ask for: AppWright tests, or a command with ANDROID_SERIAL set. Both may name a build."""

import re
from typing import Annotated, Any

from pydantic import Discriminator, Field, PlainValidator, Tag, field_validator

from hpcq_runners.appwright.params import AppwrightParams
from hpcq_runners.command_params import Argument, CommandParams
from hpcq_runners.fields import Blob, BuildName, text_or_blob, wrong
from hpcq_runners.forms import COMMAND, TESTS, form_of

ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
CLEAR = "Clear the app's data first (`pm clear`)."


def _app(value: Any) -> str | Blob:
    return text_or_blob(value, "the path of a build file")


def _no_address(app: str | Blob | None) -> str | Blob | None:
    """A farm takes addresses; here the file itself is needed."""
    if isinstance(app, str) and ADDRESS.match(app):
        raise wrong("must not be an address: a device installs files; download it, then upload it with PUT /v1/blobs/…")
    return app


class DeviceCommand(CommandParams):
    """A command that uses the device of its slot: Maestro, Espresso by Gradle, a script."""

    app: Annotated[str | Blob, PlainValidator(_app, json_schema_input_type=Argument | Blob)] | None = Field(
        None, description="The build to install: a file (absolute, or relative to cwd) or an upload."
    )
    app_version_id: BuildName | None = Field(
        None, description="The build to install: one that was uploaded under this name, or just a label."
    )
    clear_data: bool = Field(False, description=CLEAR)

    _files_only = field_validator("app")(_no_address)


class DeviceTests(AppwrightParams):
    """AppWright tests on the device of their slot."""

    clear_data: bool = Field(False, description=CLEAR)

    _files_only = field_validator("app")(_no_address)


AdbParams = Annotated[
    Annotated[DeviceCommand, Tag(COMMAND)] | Annotated[DeviceTests, Tag(TESTS)], Discriminator(form_of)
]
