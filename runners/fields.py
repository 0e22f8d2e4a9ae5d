"""Parts of params that jobs of several runners have: uploaded files, and builds by their names."""

import re
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from pydantic_core import PydanticCustomError

from hpcq_runners.command_params import Argument

SHA256 = re.compile(r"[0-9a-f]{64}")
BuildName = Annotated[str, Field(min_length=1, max_length=200)]
_TEXT: TypeAdapter[str] = TypeAdapter(Argument)


class Blob(BaseModel):
    """An uploaded file, by its SHA-256."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    blob: str = Field(pattern=f"^{SHA256.pattern}$")


def wrong(text: str) -> PydanticCustomError:
    """What is wrong with a value, for its sender; to be raised."""
    return PydanticCustomError("params", "{text}", {"text": text})


def text_or_blob(value: Any, wanted: str) -> str | Blob:
    """For a PlainValidator; `wanted` says what a text must be.

    By hand, because a union of pydantic's names its branches, which are no places of the body, in its errors.
    """
    if isinstance(value, Blob):
        return value
    if isinstance(value, dict):
        return Blob.model_validate(value)
    if not isinstance(value, str):
        raise wrong(f'must be {wanted}, or {{"blob": sha256}}')
    if not value.strip():
        raise wrong(f"must not be blank: {wanted}")
    return _TEXT.validate_python(value)
