"""`Client`: one method for each thing that the API can do."""

import asyncio
import json
import re
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from hpcq.client import lists, streams, uploads
from hpcq.client.errors import Ambiguous, NoServer, NotFound, Problem
from hpcq.client.shapes import FINAL, Event, Filter, Job, Summary
from hpcq.client.transport import READ_S, Answer, OnOutage, Query, Transport

DEFAULT_URL = "http://127.0.0.1:8000"
SLICE_S = 30  # a long wait is asked for in slices, so that a dead connection is noticed
AT_ONCE = 16  # requests in flight when many jobs are asked for
PREFIX_PAGES = 20  # how far back a prefix is looked for

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class Client:
    """A connection to one server. Raises Problem for what the server refuses, NoServer when nobody answers."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        token: str | None = None,
        *,
        patience_s: float = 60.0,
        on_outage: OnOutage | None = None,
    ) -> None:
        self._transport = Transport(url, token, patience_s, on_outage)
        self.url = self._transport.url

    @property
    def silent(self) -> bool:
        """Whether the server has answered once, and does no more."""
        return self._transport.silent

    def hurry(self, patience_s: float) -> None:
        """From now on a server that has gone away is tried for no longer."""
        self._transport.patience_s = min(patience_s, self._transport.patience_s)

    async def __aenter__(self) -> Self:
        await self._transport.open()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._transport.close()

    # Jobs

    async def submit(self, spec: Mapping[str, Any], *, key: str | None = None, wait_s: float | None = None) -> Job:
        """Submit one job; with `wait_s` (at most 300) the answer is held until it is final, or the time is over."""
        query = [("wait", f"{wait_s:g}")] if wait_s is not None else []
        headers = {} if spec.get("idempotency_key") else {"Idempotency-Key": key or uuid.uuid4().hex}
        answer = await self._transport.request(
            "POST", "/v1/jobs", query=query, body=_dump(spec), headers=headers, read_s=READ_S + (wait_s or 0)
        )
        return _job(answer)

    async def submit_many(self, specs: Iterable[Mapping[str, Any]], *, key: str | None = None) -> list[str]:
        """Submit up to 100,000 jobs, all or none; their ids, in order."""
        body = b"\n".join(_dump(spec) for spec in specs)
        headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": key or uuid.uuid4().hex}
        answer = await self._transport.request("POST", "/v1/jobs", body=body, headers=headers, read_s=300)
        return list(answer.json()["ids"])

    async def job(self, job_id: str, *, wait_s: float | None = None) -> Job:
        """The job; with `wait_s` the answer is held until it is final, or the time is over."""
        query = [("wait", f"{wait_s:g}")] if wait_s is not None else []
        return _job(await self._get(f"/v1/jobs/{_part(job_id)}", query, READ_S + (wait_s or 0)))

    async def jobs(
        self, which: Filter | None = None, *, limit: int | None = None, oldest_first: bool = False
    ) -> AsyncIterator[Job]:
        """The jobs that a filter finds, newest first, page by page."""
        query = (which or Filter()).query() + ([("order", "asc")] if oldest_first else [])
        async for job in lists.items(self._transport, "/v1/jobs", "jobs", query, limit):
            yield job

    async def wait(
        self, ids: Collection[str], timeout_s: float | None = None, *, on_final: Callable[[Job], None] | None = None
    ) -> list[Job]:
        """The jobs, once all are final, in the order asked for. Raises TimeoutError."""
        todo = iter(dict.fromkeys(ids))
        ended: dict[str, Job] = {}

        async def take() -> None:
            for job_id in todo:
                job = await self.job(job_id)
                while job["state"] not in FINAL:
                    job = await self.job(job_id, wait_s=SLICE_S)
                ended[job_id] = job
                if on_final is not None:
                    on_final(job)

        takers = [asyncio.create_task(take()) for _ in range(min(AT_ONCE, len(ids)))]
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.gather(*takers)
        finally:
            for taker in takers:
                taker.cancel()
        return [ended[job_id] for job_id in ids]

    async def cancel(self, job_id: str) -> Job:
        """End the job, also a running one; Problem 409 when it is final already."""
        return _job(await self._act(job_id, "cancel"))

    async def retry(self, job_id: str) -> Job:
        """Queue a final job again under the same id; Problem 409 for any other."""
        return _job(await self._act(job_id, "retry"))

    async def edit(self, job_id: str, patch: Mapping[str, Any]) -> Job:
        """Change a job that is not final."""
        return _job(await self._transport.request("PATCH", f"/v1/jobs/{_part(job_id)}", body=_dump(patch)))

    async def act(self, action: str, which: Filter, patch: Mapping[str, Any] | None = None) -> int:
        """`cancel`, `retry` or `patch` all that a filter finds; how many it did."""
        body: dict[str, Any] = {"action": action, "filter": which.body()}
        if patch is not None:
            body["patch"] = patch
        answer = await self._transport.request("POST", "/v1/jobs/actions", body=_dump(body), repeatable=False)
        return int(answer.json()["count"])

    async def summary(self, which: Filter, *, wait_s: float | None = None) -> Summary:
        """Counts by state; with `wait_s` held until all are final, or the time is over."""
        query = which.query() + ([("wait", f"{wait_s:g}")] if wait_s is not None else [])
        found: Summary = (await self._get("/v1/jobs/summary", query, READ_S + (wait_s or 0))).json()
        return found

    async def wait_all(
        self, which: Filter, timeout_s: float | None = None, *, on_change: Callable[[Summary], None] | None = None
    ) -> Summary:
        """The summary, once all that the filter finds are final. Raises TimeoutError."""
        ends = time.monotonic() + timeout_s if timeout_s is not None else None
        wait_s = 0.0
        while True:
            found = await self.summary(which, wait_s=wait_s)
            if on_change is not None:
                on_change(found)
            if found["final"]:
                return found
            left_s = SLICE_S if ends is None else ends - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            wait_s = min(left_s, 2.0 if on_change else SLICE_S)

    async def find(self, text: str) -> str:
        """The id of the job that goes by an id, a unique prefix of one, or a number (`7` or `#7`)."""
        word = text.strip().lower()
        if UUID.fullmatch(word):
            return word
        if re.fullmatch(r"#?[1-9][0-9]{0,17}", word):
            found = [job["id"] async for job in self.jobs(Filter(number=int(word.removeprefix("#"))), limit=3)]
        elif re.fullmatch(r"[0-9a-f-]{4,35}", word):
            found = await self._with_prefix(word)
        else:
            raise NotFound(f"{text!r} is no job id: give an id, the beginning of one, or a job's number")
        if not found:
            raise NotFound(f"no job {text!r}")
        if len(found) > 1:
            raise Ambiguous(f"{text!r} may be any of: {', '.join(found[:5])}")
        return found[0]

    async def _with_prefix(self, prefix: str) -> list[str]:
        """Ids grow with time, so a list, newest first, need not be read beyond where the prefix would stand."""
        found: list[str] = []
        async for job in self.jobs(limit=lists.PAGE * PREFIX_PAGES):
            if job["id"].startswith(prefix):
                found.append(job["id"])
            elif job["id"] < prefix:
                break
        return found

    # What a job left behind

    async def result(self, job_id: str) -> Any:
        """What the job returned."""
        return (await self._get(f"/v1/jobs/{_part(job_id)}/result")).json()

    async def output(
        self, job_id: str, *, attempt: int | None = None, offset: int = 0, follow: bool = False
    ) -> AsyncIterator[bytes]:
        """What an attempt (the newest) printed; `follow` goes on until it ends, over the server's restarts."""
        query = [("attempt", str(attempt))] if attempt is not None else []
        query += [("follow", "1")] if follow else []
        path = f"/v1/jobs/{_part(job_id)}/output"
        async for chunk in streams.output(self._transport, path, query, offset):
            yield chunk

    async def attempts(self, job_id: str) -> list[dict[str, Any]]:
        """Every try at the job, the first first."""
        return _list(await self._get(f"/v1/jobs/{_part(job_id)}/attempts"), "attempts")

    async def job_events(self, job_id: str) -> list[Event]:
        """What happened to the job, the oldest first."""
        return _list(await self._get(f"/v1/jobs/{_part(job_id)}/events"), "events")

    async def artifacts(self, job_id: str) -> list[dict[str, Any]]:
        """The files that the job left: `{name, size}`."""
        return _list(await self._get(f"/v1/jobs/{_part(job_id)}/artifacts"), "artifacts")

    def artifact(self, job_id: str, name: str) -> AsyncIterator[bytes]:
        """One of those files."""
        return streams.file(self._transport, f"/v1/jobs/{_part(job_id)}/artifacts/{quote(name, safe='/')}")

    async def job_tests(self, job_id: str) -> list[dict[str, Any]]:
        """What the job's tests reported, over all of its attempts."""
        return _list(await self._get(f"/v1/jobs/{_part(job_id)}/tests"), "tests")

    async def tests(self, *, limit: int | None = None, **which: Any) -> AsyncIterator[dict[str, Any]]:
        """Tests and their history, by suite, file and title.

        `which`: `suite` ("": those of none), `file`, `text`, `flaky` (bool), `org_id`.
        """
        query = [(name, str(value)) for name, value in which.items() if value is not None]
        async for test in lists.items(self._transport, "/v1/tests", "tests", query, limit):
            yield test

    async def explain(self, job_id: str) -> dict[str, Any]:
        """Every reason why the job is not running."""
        return _dict(await self._get(f"/v1/jobs/{_part(job_id)}/explain"))

    # Uploads

    async def upload(
        self,
        path: str | Path,
        *,
        leave_out: Collection[str] = uploads.LEFT_OUT,
        on_sent: uploads.Sent | None = None,
    ) -> str:
        """Send a file, or a folder as a tar, unless the server has it; its SHA-256, for `{"blob": sha256}` in params.

        `leave_out`: names in a folder, at any depth, or `/paths` from it. `on_sent(bytes, of)` is called as
        it goes. Raises ClientError for what cannot be read.
        """
        place = Path(path)
        if await asyncio.to_thread(place.is_dir):
            return await uploads.send_folder(self._transport, place, leave_out, on_sent)
        return await uploads.send(self._transport, place, on_sent)

    async def has_blob(self, sha256: str) -> bool:
        """Whether the server has this file."""
        return await uploads.has(self._transport, sha256)

    def blob(self, sha256: str) -> AsyncIterator[bytes]:
        """An uploaded file."""
        return streams.file(self._transport, f"/v1/blobs/{_part(sha256)}")

    async def name_app(self, app_version_id: str, sha256: str, *, org_id: str | None = None) -> dict[str, Any]:
        """From now on this `app_version_id` stands for an uploaded file; jobs submitted before keep theirs."""
        body = {"blob": sha256, **({"org_id": org_id} if org_id else {})}
        return _dict(await self._transport.request("PUT", f"/v1/apps/{_part(app_version_id)}", body=_dump(body)))

    def apps(self, *, limit: int | None = None) -> AsyncIterator[dict[str, Any]]:
        """Names of builds, those given last first."""
        return lists.items(self._transport, "/v1/apps", "apps", [], limit)

    # Queues, runners, schedules

    async def queues(self) -> list[dict[str, Any]]:
        """All queues, with their slots and counts."""
        return _list(await self._get("/v1/queues"), "queues")

    async def queue(self, name: str) -> dict[str, Any]:
        """One queue."""
        return _dict(await self._get(f"/v1/queues/{_part(name)}"))

    async def change_queue(self, name: str, **changes: Any) -> dict[str, Any]:
        """`paused=bool`, `slots=n`, or `slots=None` for what the config says."""
        return _dict(await self._transport.request("PATCH", f"/v1/queues/{_part(name)}", body=_dump(changes)))

    async def devices(self) -> list[dict[str, Any]]:
        """All devices of all queues."""
        return _list(await self._get("/v1/devices"), "devices")

    async def change_device(self, name: str, *, state: str) -> dict[str, Any]:
        """`ready`: it is fit again."""
        return _dict(await self._transport.request("PATCH", f"/v1/devices/{_part(name)}", body=_dump({"state": state})))

    async def runners(self) -> list[dict[str, Any]]:
        """All runners, also broken ones, with what they lack."""
        return _list(await self._get("/v1/runners"), "runners")

    async def schedules(self) -> list[dict[str, Any]]:
        """All schedules."""
        return _list(await self._get("/v1/schedules"), "schedules")

    async def schedule(self, schedule_id: str) -> dict[str, Any]:
        """One schedule, with its last 20 runs."""
        return _dict(await self._get(f"/v1/schedules/{_part(schedule_id)}"))

    async def create_schedule(self, schedule: Mapping[str, Any]) -> dict[str, Any]:
        """Submit jobs at the times that a cron line gives."""
        answer = await self._transport.request("POST", "/v1/schedules", body=_dump(schedule), repeatable=False)
        return _dict(answer)

    async def change_schedule(self, schedule_id: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Change some of its fields."""
        answer = await self._transport.request("PATCH", f"/v1/schedules/{_part(schedule_id)}", body=_dump(changes))
        return _dict(answer)

    async def delete_schedule(self, schedule_id: str) -> None:
        """Forget it; its jobs stay."""
        await self._transport.request("DELETE", f"/v1/schedules/{_part(schedule_id)}", repeatable=False)

    async def run_schedule(self, schedule_id: str) -> dict[str, Any]:
        """Submit its jobs now."""
        path = f"/v1/schedules/{_part(schedule_id)}/run"
        return _dict(await self._transport.request("POST", path, body=b"{}", repeatable=False))

    # The server

    async def events(
        self, since: int | None = None, *, on_open: Callable[[bool], None] | None = None
    ) -> AsyncGenerator[Event, None]:
        """Every change from now on, or after `since` (0: all that is kept); goes on over the server's restarts.

        `on_open(gap)` is called whenever the stream stands; `gap` says that changes may have been missed."""
        async for event in streams.events(self._transport, since, on_open):
            yield event

    async def stats(self) -> dict[str, Any]:
        """Figures about the server's work."""
        return _dict(await self._get("/v1/stats"))

    async def prune(self, *, dry_run: bool) -> dict[str, Any]:
        """Remove what the server's retention does not keep; `dry_run`: only say how much that is."""
        return _dict(await self._transport.request("POST", "/v1/prune", body=_dump({"dry_run": dry_run})))

    async def health(self) -> dict[str, Any]:
        """Its parts and whether they work; also of a server that takes no jobs just now."""
        try:
            return _dict(await self._transport.request("GET", "/health", patient=False))
        except Problem as problem:
            if isinstance(problem.body.get("status"), str):  # a problem document's is a number
                return dict(problem.body)
            raise

    async def ready(self, timeout_s: float = 30.0) -> dict[str, Any]:
        """Wait until the server answers: for who has just started one. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while True:
                try:
                    return await self.health()
                except NoServer:
                    await asyncio.sleep(0.05)

    async def _get(self, path: str, query: Query = (), read_s: float = READ_S) -> Answer:
        return await self._transport.request("GET", path, query=query, read_s=read_s)

    async def _act(self, job_id: str, verb: str) -> Answer:
        return await self._transport.request("POST", f"/v1/jobs/{_part(job_id)}/{verb}", body=b"{}", repeatable=False)


def _dump(value: Any) -> bytes:
    """JSON, one line; ValueError for NaN and infinities, which JSON does not have."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


def _part(text: str) -> str:
    return quote(text, safe="")


def _job(answer: Answer) -> Job:
    job: Job = answer.json()
    return job


def _dict(answer: Answer) -> dict[str, Any]:
    return dict(answer.json())


def _list(answer: Answer, name: str) -> list[Any]:
    body = answer.json()
    return list(body[name] if isinstance(body, dict) else body)
