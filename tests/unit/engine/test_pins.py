"""What a job's names of uploads stand for is decided at submit, and kept with the job."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from hpcq.config import Retention
from hpcq.engine.admission import Submission
from hpcq.engine.alarm import now
from hpcq.engine.blobs import Blobs
from hpcq.engine.errors import BadSpec, Conflict
from hpcq.engine.files import pinned
from hpcq.engine.spec import JobPatch
from hpcq.store.rows import AppRow
from tests.support.schedule_house import House, opened

DAY = 86_400.0
MATRIX = {"operation": "m:f"}
PAUSED = {"compute": {"runner": "matrix", "slots": 1, "paused": True}}


class Site:
    """A house with uploads."""

    def __init__(self, house: House, folder: Path) -> None:
        self.house, self.engine = house, house.engine
        self.blobs = Blobs(house.engine.writer, house.engine.reader, folder)

    async def put(self, data: bytes, org: str | None = None) -> str:
        async def body() -> AsyncIterator[bytes]:
            yield data

        return (await self.blobs.receive(org, hashlib.sha256(data).hexdigest(), body())).sha256

    async def name(self, name: str, sha256: str, org_id: str = "default") -> None:
        await self.blobs.name(None, AppRow(org_id, name, sha256, now().wall))

    async def submit(self, *specs: Any, org: str | None = None, key: str | None = None) -> Submission:
        prepared = await self.engine.intake.accept(specs, org=org, bulk=True)
        return await self.engine.submit(prepared, org=org, key=key, bulk=True)

    async def refused(self, *specs: Any, org: str | None = None) -> list[str]:
        with pytest.raises(BadSpec) as caught:
            await self.submit(*specs, org=org)
        return [error.pointer for error in caught.value.errors]

    async def pins(self, job_id: str) -> dict[str, str]:
        row = await self.engine.reader.job(None, job_id)
        assert row is not None
        found: dict[str, str] = orjson.loads(row.spec).get("blobs", {})
        return found


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with opened(tmp_path, config=PAUSED) as house:
        yield Site(house, tmp_path)


def kernel(**args: Any) -> dict[str, Any]:
    return {"queue": "compute", "params": {**MATRIX, "args": args}}


def build(name: str) -> dict[str, Any]:
    return {"queue": "local", "params": {"test_path": "a.spec.js", "cwd": "/tmp", "app_version_id": name}}


async def test_unknown_files_are_refused_by_their_place_in_the_array(site: Site) -> None:
    known = await site.put(b"known")
    bad = kernel(x={"blob": "0" * 64}, y=[1], z={"blob": "1" * 64})
    places = await site.refused(kernel(x={"blob": known}), bad)
    assert sorted(places) == ["/1/params/args/x/blob", "/1/params/args/z/blob"]
    assert not await site.house.jobs(), "all or none"


async def test_a_name_that_is_given_to_another_file_does_not_change_what_a_waiting_job_will_run(
    site: Site, tmp_path: Path
) -> None:
    first, second = await site.put(b"first"), await site.put(b"second")
    await site.name("rc", first)
    before = (await site.submit(build("rc"))).ids[0]
    await site.name("rc", second)
    after = (await site.submit(build("rc"))).ids[0]
    assert await site.pins(before) == {"rc": first}
    assert await site.pins(after) == {"rc": second}
    assert pinned(tmp_path, await site.pins(before), "rc").read_bytes() == b"first"


async def test_a_name_that_was_never_given_is_a_label(site: Site) -> None:
    job_id = (await site.submit(build("just a label"))).ids[0]
    assert await site.pins(job_id) == {}


async def test_an_orgs_name_is_its_own_and_its_files_too(site: Site) -> None:
    private, public = await site.put(b"red's own", "red"), await site.put(b"an admin's")
    await site.name("rc", private, "red")
    assert await site.pins((await site.submit(build("rc"), org="red")).ids[0]) == {"rc": private}
    assert await site.pins((await site.submit(build("rc"), org="blue")).ids[0]) == {}
    assert await site.refused(kernel(x={"blob": private}), org="blue") == ["/0/params/args/x/blob"]
    assert (await site.submit(kernel(x={"blob": public}), org="blue")).created


async def test_the_same_request_is_the_same_job_though_the_name_stands_for_something_else_now(site: Site) -> None:
    await site.name("rc", await site.put(b"first"))
    one = await site.submit({**build("rc"), "idempotency_key": "k"})
    await site.name("rc", await site.put(b"second"))
    again = await site.submit({**build("rc"), "idempotency_key": "k"})
    assert (again.ids, again.created) == (one.ids, False)


async def test_an_edit_keeps_what_the_names_stand_for(site: Site) -> None:
    await site.name("rc", first := await site.put(b"first"))
    job_id = (await site.submit(build("rc"))).ids[0]
    await site.engine.edit(None, job_id, JobPatch.model_validate({"tags": {"a": "b"}}))
    assert await site.pins(job_id) == {"rc": first}


async def test_a_job_whose_file_is_gone_is_not_retried_until_it_is_there_again(site: Site) -> None:
    sha256 = await site.put(b"gone soon")
    job_id = (await site.submit(kernel(x={"blob": sha256}))).ids[0]
    month = Retention(blobs_days=30)
    later = now().wall + 31 * DAY
    assert (await site.blobs.prune(month, at=later, dry_run=False)).blobs == 0, "it waits"
    await site.engine.cancel(None, job_id)
    assert (await site.blobs.prune(month, at=later, dry_run=False)).blobs == 1
    with pytest.raises(Conflict, match=sha256):
        await site.engine.retry(None, job_id)
    assert await site.refused(kernel(x={"blob": sha256})) == ["/0/params/args/x/blob"]
    await site.put(b"gone soon")
    await site.engine.retry(None, job_id)


async def test_a_build_whose_file_is_gone_is_refused_and_not_taken_for_a_label(site: Site) -> None:
    await site.name("rc", await site.put(b"old"))
    await site.blobs.prune(Retention(blobs_days=30), at=now().wall + 31 * DAY, dry_run=False)
    assert await site.refused(build("rc")) == ["/0/params/app_version_id"]


async def test_a_file_can_be_asked_for_only_by_a_job_that_names_it(tmp_path: Path) -> None:
    sha256 = hashlib.sha256(b"x").hexdigest()
    path = tmp_path / "blobs" / sha256[:2] / sha256
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    assert pinned(tmp_path, {"rc": sha256}, "rc") == path
    assert pinned(tmp_path, {"rc": sha256}, sha256) == path
    with pytest.raises(FileNotFoundError, match="names"):
        pinned(tmp_path, {}, sha256)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="upload it again") as gone:
        pinned(tmp_path, {"rc": sha256}, "rc")
    assert gone.value.filename == str(path)  # by which runners know it from a mere label
