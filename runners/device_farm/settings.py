"""What a queue's table says of its device farm."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from hpcq_runners.appwright.settings import AppwrightSettings, Folder


def _address(text: str) -> str:
    place = urlsplit(text)
    if place.scheme not in ("http", "https") or not place.hostname or place.path.strip("/") or place.query:
        raise ValueError("must be an address without a path, such as https://hub.browserstack.com")
    if place.username or place.password:
        raise ValueError("must hold no credentials: they come from the environment, or from credentials_file")
    return f"{place.scheme}://{place.netloc}"


Address = Annotated[str, AfterValidator(_address)]
Text = Annotated[str, Field(min_length=1, max_length=200)]


class FarmDevice(BaseModel):
    """A device of the farm, in the farm's own words."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Text = Field(description="As the farm lists it, such as Google Pixel 8")
    os_version: Text | None = Field(None, description="Such as 14.0")
    orientation: Literal["portrait", "landscape"] | None = None


class DeviceFarmSettings(AppwrightSettings):
    """Which farm, with whose credentials, on which device."""

    farm: Literal["browserstack", "lambdatest"] = Field("browserstack", description="browserstack or lambdatest")
    credentials_file: Folder | None = Field(
        None, description="A file with lines NAME=VALUE of the farm's two variables; unset: the server's environment"
    )
    device: FarmDevice | None = Field(
        None, description="A table {name, os_version} for jobs that give none; unset: as the project's config says"
    )
    poll_s: float = Field(5.0, gt=0, le=600, description="How soon a farm build is first asked for; later, up to 30 s")
    api_url: Address | None = Field(None, description="The farm's API; unset: the farm's own address")
    upload_url: Address | None = Field(None, description="Where builds are uploaded; unset: the farm's own address")
    hub_url: Address | None = Field(None, description="Where tests open their sessions; unset: the farm's own address")
