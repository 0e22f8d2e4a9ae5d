"""`hpcq.client` against a real server: pages, waits, streams, and what a restart does to them."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from hpcq.client import Ambiguous, Client, Filter, NotFound, Problem
from tests.support.cli import free_port
from tests.support.server import ServerProcess

MakeServer = Callable[..., ServerProcess]
NOOP = {"queue": "noop", "params": {}}


@pytest.fixture
async def client(server: ServerProcess) -> AsyncIterator[Client]:
    async with Client(server.url) as opened:
        yield opened


async def test_many_jobs_come_back_in_order_over_many_pages(client: Client) -> None:
    ids = await client.submit_many([NOOP] * 2500)
    assert [job["id"] async for job in client.jobs(oldest_first=True)] == ids
    assert [job["id"] async for job in client.jobs(limit=1200)] == ids[:-1201:-1]


async def test_waiting_answers_with_the_final_jobs_in_the_order_asked_for(client: Client) -> None:
    ids = [(await client.submit({"queue": "noop", "params": {"duration_s": s}}))["id"] for s in (0.3, 0, 0.1)]
    ended: list[str] = []
    jobs = await client.wait(ids, on_final=lambda job: ended.append(job["id"]))
    assert [job["id"] for job in jobs] == ids
    assert {job["state"] for job in jobs} == {"succeeded"}
    assert sorted(ended) == sorted(ids)


async def test_one_key_is_one_job(client: Client) -> None:
    assert await client.submit_many([NOOP], key="k") == await client.submit_many([NOOP], key="k")
    assert (await client.summary(Filter()))["total"] == 1


async def test_a_filter_finds_the_same_jobs_for_listing_counting_and_acting(client: Client) -> None:
    await client.change_queue("noop", paused=True)
    await client.submit_many([{**NOOP, "tags": {"a": "1", "b": str(n % 2)}} for n in range(10)])
    which = Filter(states=("queued",), queues=("noop",), tags={"a": "1", "b": "0"})
    assert len([job async for job in client.jobs(which)]) == 5
    assert (await client.summary(which))["counts"]["queued"] == 5
    assert await client.act("patch", which, {"priority": 7}) == 5
    assert await client.act("cancel", which) == 5
    cancelled = [job async for job in client.jobs(Filter(states=("cancelled",)))]
    assert [job["priority"] for job in cancelled] == [7] * 5


async def test_a_job_is_found_by_number_and_by_prefix(client: Client) -> None:
    one, two = await client.submit_many([NOOP, NOOP])
    assert await client.find("2") == two
    assert await client.find(one[:20]) == one
    with pytest.raises(Ambiguous):
        await client.find(one[:6])
    for word in ("3", "ffff", "nonsense", ""):
        with pytest.raises(NotFound):
            await client.find(word)


async def test_a_final_job_cannot_be_cancelled(client: Client) -> None:
    job = await client.submit(NOOP, wait_s=20)
    assert job["state"] == "succeeded"
    with pytest.raises(Problem) as caught:
        await client.cancel(job["id"])
    assert caught.value.status == 409


async def test_events_of_the_past_and_the_present_come_in_one_stream(client: Client) -> None:
    await client.submit(NOOP, wait_s=20)
    seqs: list[int] = []
    async for event in client.events(since=0):
        seqs.append(event["seq"])
        if event["type"] == "job.succeeded" and event["number"] == 1:
            await client.submit(NOOP)
        if event["type"] == "job.succeeded" and event["number"] == 2:
            break
    assert seqs == list(range(1, len(seqs) + 1))


async def test_submits_and_events_outlive_a_crash_without_loss_or_repetition(make_server: MakeServer) -> None:
    server = make_server(arguments=["--port", str(free_port())])
    async with Client(server.url) as client:
        await client.stats()
        seen: list[str] = []

        async def listen() -> None:
            async for event in client.events(since=0):
                if event["type"] == "job.succeeded":
                    seen.append(event["job"])
                    if len(seen) == 40:
                        return

        listening = asyncio.create_task(listen())
        ids = await submit_one_by_one(client, 20)
        restarting = asyncio.create_task(asyncio.to_thread(restart, server))
        ids += await asyncio.wait_for(submit_one_by_one(client, 20), 60)
        await restarting
        await asyncio.wait_for(listening, 60)
        assert len(set(ids)) == 40
        assert sorted(seen) == sorted(ids)
        assert (await client.summary(Filter()))["total"] == 40


async def submit_one_by_one(client: Client, count: int) -> list[str]:
    return [(await client.submit(NOOP))["id"] for _ in range(count)]


def restart(server: ServerProcess) -> None:
    server.kill()
    server.start()
