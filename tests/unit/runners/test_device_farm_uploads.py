"""A content is uploaded once: by whoever asks first, over restarts, and again when the farm has dropped it."""

import asyncio
import hashlib
import threading
import zipfile
from pathlib import Path

import pytest

from hpcq_runners.device_farm import uploads as subject
from hpcq_runners.device_farm.api import Api, FarmError
from hpcq_runners.device_farm.browserstack import BrowserStack
from hpcq_runners.device_farm.credentials import Credentials
from hpcq_runners.device_farm.form import name_of
from hpcq_runners.device_farm.settings import DeviceFarmSettings
from hpcq_runners.device_farm.uploads import Uploads
from tests.support.fake_farm.farm import FakeFarm
from tests.support.fake_farm.kept import Kept
from tests.support.wait import wait_until


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return written(tmp_path / "app.apk", b"a build")


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


async def opened(farm: FakeFarm, kept: Kept, account: str = "me") -> Uploads:
    stack = BrowserStack(
        Api("BrowserStack", lambda: Credentials(farm.user, farm.key)), DeviceFarmSettings.model_validate(farm.settings)
    )
    uploads = Uploads(stack, kept, lambda: account)
    await uploads.open()
    return uploads


async def test_the_farm_gets_the_file_whole_and_by_its_name(farm: FakeFarm, app: Path) -> None:
    url = await (await opened(farm, Kept())).ensure(app, "app")
    [upload] = farm.uploads
    assert (upload.url, upload.name) == (url, "app.apk")
    assert upload.sha256 == hashlib.sha256(b"a build").hexdigest()


async def test_what_counts_is_the_content_and_not_the_name(farm: FakeFarm, app: Path, tmp_path: Path) -> None:
    uploads = await opened(farm, Kept())
    copy = written(tmp_path / "copy.apk", b"a build")
    assert await uploads.ensure(app, "app") == await uploads.ensure(copy, "app")
    written(app, b"the next build")
    assert await uploads.ensure(app, "app") != await uploads.ensure(copy, "app")
    assert len(farm.uploads) == 2


async def test_all_who_ask_at_once_wait_for_one_upload(farm: FakeFarm, app: Path) -> None:
    uploads, farm.upload_gate = await opened(farm, Kept()), threading.Event()
    asking = [asyncio.ensure_future(uploads.ensure(app, "app")) for _ in range(20)]
    await wait_until(lambda: farm.count("POST", "upload"))
    asking[0].cancel()  # who began it gives up; the others must not notice
    farm.upload_gate.set()
    assert len(set(await asyncio.gather(*asking[1:]))) == 1
    assert len(farm.uploads) == 1


async def test_an_upload_goes_on_without_the_link_of_the_attempt_that_began_it(
    farm: FakeFarm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the content of another attempt's link is not read again."""
    read, blob = [], written(tmp_path / "blob", b"a build")
    links = [tmp_path / f"{name}.apk" for name in ("mine", "yours")]
    for link in links:
        link.symlink_to(blob)

    def sum_and_unlink(file: Path) -> str:
        read.append(file)
        links[0].unlink()
        return hashlib.sha256(file.read_bytes()).hexdigest()

    monkeypatch.setattr(subject, "_sha256", sum_and_unlink)
    uploads = await opened(farm, Kept())
    assert await uploads.ensure(links[0], "app") == await uploads.ensure(links[1], "app")
    assert [upload.name for upload in farm.uploads] == ["mine.apk"]
    assert read == [blob]


async def test_uploads_are_remembered_over_restarts(farm: FakeFarm, app: Path) -> None:
    kept = Kept()
    url = await (await opened(farm, kept)).ensure(app, "app")
    assert await (await opened(farm, kept)).ensure(app, "app") == url
    assert len(farm.uploads) == 1


async def test_what_the_farm_has_dropped_is_uploaded_again(farm: FakeFarm, app: Path) -> None:
    kept = Kept()
    uploads = await opened(farm, kept)
    url = await uploads.ensure(app, "app")
    await uploads.forget(url)
    assert await uploads.ensure(app, "app") != url
    assert await (await opened(farm, kept)).ensure(app, "app") != url


async def test_what_was_not_used_for_long_is_uploaded_again(
    farm: FakeFarm, app: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads = await opened(farm, Kept())
    url = await uploads.ensure(app, "app")
    monkeypatch.setattr(subject, "KEPT_S", 0.0)
    assert await uploads.ensure(app, "app") != url


async def test_each_account_and_purpose_has_uploads_of_its_own(farm: FakeFarm, app: Path) -> None:
    kept = Kept()
    mine = await opened(farm, kept)
    urls = {await mine.ensure(app, "app"), await mine.ensure(app, "espresso")}
    urls.add(await (await opened(farm, kept, "somebody else")).ensure(app, "app"))
    assert len(urls) == 3
    assert [upload.purpose for upload in farm.uploads] == ["app", "espresso", "app"]


async def test_an_upload_that_failed_is_tried_again_by_the_next_who_asks(farm: FakeFarm, app: Path) -> None:
    uploads = await opened(farm, Kept())
    farm.answer("POST", "upload", 500, "oops")
    with pytest.raises(FarmError):
        await uploads.ensure(app, "app")
    await uploads.ensure(app, "app")


@pytest.mark.parametrize(
    ("inside", "ending"),
    [
        ("AndroidManifest.xml", ".apk"),
        ("BundleConfig.pb", ".aab"),
        ("Payload/App.app/Info", ".ipa"),
        ("a.yaml", ".zip"),
    ],
)
def test_an_upload_without_a_name_gets_the_ending_of_what_it_holds(tmp_path: Path, inside: str, ending: str) -> None:
    path = tmp_path / ("0" * 64)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(inside, "")
    assert name_of(path, path.name) == "0" * 16 + ending
