"""The client against servers that refuse, break off, restart and talk nonsense: real sockets, scripted answers."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from hpcq.client import Client, ClientError, Interrupted, NoServer, Problem
from tests.support.scripted import Scripted, answer, serving, stream

JOB = {"id": "i", "state": "queued"}
GOOD = answer(200, {"jobs": [], "next_cursor": None})


async def test_no_server_is_told_at_once() -> None:
    async with serving(Scripted(GOOD)) as url:
        pass
    async with Client(url) as client:
        with pytest.raises(NoServer, match="connection refused"):
            await client.stats()


async def test_a_submit_that_breaks_off_is_sent_again_under_the_same_key() -> None:
    script = Scripted(None, None, answer(201, JOB))
    async with serving(script) as url, Client(url) as client:
        client._transport.met = True
        assert (await client.submit({"queue": "q", "params": {}}))["id"] == "i"
    keys = [headers["idempotency-key"] for _, headers, _ in script.requests]
    assert len(keys) == 3
    assert len(set(keys)) == 1


async def test_two_submits_have_two_keys() -> None:
    script = Scripted(answer(201, JOB))
    async with serving(script) as url, Client(url) as client:
        await client.submit({"queue": "q", "params": {}})
        await client.submit({"queue": "q", "params": {}})
    assert len({headers["idempotency-key"] for _, headers, _ in script.requests}) == 2


async def test_a_job_with_a_key_of_its_own_gets_no_other() -> None:
    script = Scripted(answer(201, JOB))
    async with serving(script) as url, Client(url) as client:
        await client.submit({"queue": "q", "params": {}, "idempotency_key": "mine"})
    assert "idempotency-key" not in script.requests[0][1]


async def test_many_jobs_travel_as_ndjson_under_one_key() -> None:
    script = Scripted(None, answer(201, {"count": 2, "ids": ["a", "b"]}))
    async with serving(script) as url, Client(url) as client:
        client._transport.met = True
        assert await client.submit_many([{"n": 1}, {"n": 2}], key="mine") == ["a", "b"]
    for _, headers, body in script.requests:
        assert headers["content-type"] == "application/x-ndjson"
        assert headers["idempotency-key"] == "mine"
        assert [json.loads(line) for line in body.splitlines()] == [{"n": 1}, {"n": 2}]


@pytest.mark.parametrize("call", [lambda c: c.retry("i"), lambda c: c.cancel("i"), lambda c: c.run_schedule("i")])
async def test_what_might_be_done_twice_is_not_sent_twice(call: Callable[[Client], Awaitable[Any]]) -> None:
    script = Scripted(None)
    async with serving(script) as url, Client(url) as client:
        client._transport.met = True
        with pytest.raises(Interrupted, match="may or may not have been done"):
            await call(client)
    assert len(script.requests) == 1


async def test_a_server_that_restarts_is_waited_for() -> None:
    async with serving(Scripted(GOOD)) as url, Client(url) as client:
        await client.stats()
        port = int(url.rsplit(":", 1)[1])
    async with Client(url) as client:
        client._transport.met = True
        asking = asyncio.create_task(client.stats())
        await asyncio.sleep(0)
        async with serving(Scripted(answer(200, {"up": True})), port):
            assert await asking == {"up": True}


async def test_an_outage_is_told_once_and_its_end() -> None:
    told: list[str | None] = []
    heard = asyncio.Event()

    def hear(why: str | None) -> None:
        told.append(why)
        heard.set()

    async with serving(Scripted(GOOD)) as url:
        port = int(url.rsplit(":", 1)[1])
    async with Client(url, on_outage=hear) as client:
        client._transport.met = True
        asking = [asyncio.create_task(client.stats()) for _ in range(2)]
        await heard.wait()
        assert client.silent
        async with serving(Scripted(GOOD), port):
            await asyncio.gather(*asking)
        assert not client.silent
    assert told == ["connection refused", None]


async def test_https_where_there_is_none_is_said_as_that() -> None:
    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(400, {}))
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server, Client(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}") as client:
        with pytest.raises(NoServer, match=r"TLS failed: .*hpcq itself speaks plain http"):
            await client.stats()


async def test_a_file_whose_connection_breaks_is_not_taken_for_whole() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-length: 6\r\n\r\nabc"
    async with serving(Scripted(head)) as url, Client(url) as client:
        with pytest.raises(NoServer):
            assert [chunk async for chunk in client.artifact("i", "a.txt")]


async def test_patience_has_an_end() -> None:
    async with serving(Scripted(GOOD)) as url:
        pass
    async with Client(url, patience_s=0.2) as client:
        client._transport.met = True
        with pytest.raises(NoServer):
            await client.stats()


async def test_a_server_that_is_full_is_asked_again_when_it_says() -> None:
    script = Scripted(answer(503, {"title": "draining"}, "Retry-After: 0"), answer(201, JOB))
    async with serving(script) as url, Client(url) as client:
        assert (await client.submit({"queue": "q", "params": {}}))["id"] == "i"
    assert len({headers["idempotency-key"] for _, headers, _ in script.requests}) == 1


async def test_a_server_that_is_full_and_says_no_time_is_a_problem() -> None:
    async with serving(Scripted(answer(503, {"title": "full", "detail": "no"}))) as url, Client(url) as client:
        with pytest.raises(Problem) as caught:
            await client.stats()
    assert caught.value.status == 503


async def test_a_refusal_names_every_field() -> None:
    errors = [{"pointer": "/params/size", "detail": "too small"}, {"parameter": "limit", "detail": "too large"}]
    body = {"title": "Bad", "status": 422, "detail": "2 fields", "errors": errors}
    async with serving(Scripted(answer(422, body))) as url, Client(url) as client:
        with pytest.raises(Problem) as caught:
            await client.submit({"queue": "q", "params": {}})
    problem = caught.value
    assert (problem.status, problem.title, problem.detail) == (422, "Bad", "2 fields")
    assert problem.errors == [
        {"pointer": "/params/size", "detail": "too small"},
        {"pointer": "limit", "detail": "too large"},
    ]


async def test_a_refusal_of_a_stranger_keeps_its_first_line() -> None:
    async with serving(Scripted(answer(502, b"<html>\nBad Gateway"))) as url, Client(url) as client:
        with pytest.raises(Problem, match="HTTP 502: <html>"):
            await client.stats()


async def test_an_answer_that_is_not_json_is_no_hpcq_server() -> None:
    async with serving(Scripted(answer(200, b"hello"))) as url, Client(url) as client:
        with pytest.raises(ClientError, match="no hpcq server"):
            await client.stats()


async def test_health_is_told_also_while_no_job_is_taken() -> None:
    sick = {"status": "degraded", "accepting": False, "parts": {}}
    async with serving(Scripted(answer(503, sick, "Retry-After: 5"))) as url, Client(url) as client:
        assert await client.health() == sick


async def test_the_token_is_shown() -> None:
    script = Scripted(answer(200, {}))
    async with serving(script) as url, Client(url, "secret") as client:
        await client.stats()
    assert script.requests[0][1]["authorization"] == "Bearer secret"


@pytest.mark.parametrize("url", ["foo:bar", "ftp://x", "http://", "http://x:99999", "unix:///x"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ClientError, match="is no address"):
        Client(url)


async def test_numbers_that_json_lacks_are_refused_before_they_are_sent() -> None:
    async with Client("http://127.0.0.1:9") as client:
        with pytest.raises(ValueError, match="JSON compliant"):
            await client.submit({"queue": "q", "params": {"x": float("nan")}})


def event(seq: int | None, kind: str = "job.started") -> str:
    number = f"id: {seq}\n" if seq else ""
    return f"{number}event: {kind}\ndata: {json.dumps({'seq': seq, 'type': kind})}\n\n"


async def test_events_go_on_behind_the_last_one_seen() -> None:
    script = Scripted(
        stream(": hello\n\n" + event(7) + event(None, "job.progress") + event(8) + "id: 9\nda"),
        None,
        stream(event(9) + 'event: stream.overflow\ndata: {"since": 9}\n\n' + event(10)),
        None,
    )
    seen: list[Any] = []
    async with serving(script) as url, Client(url, patience_s=5) as client:
        async for one in client.events():
            seen.append(one["seq"])
            if one["seq"] == 10:
                break
    assert seen == [7, None, 8, 9, 10]
    assert [line for line, _, _ in script.requests[:3]] == [
        "GET /v1/events",
        "GET /v1/events?since=8",
        "GET /v1/events?since=8",
    ]


async def test_a_stream_that_was_away_too_long_says_that_there_is_a_gap() -> None:
    script = Scripted(stream(event(7)), answer(410, {"oldest": 100}), stream(event(200)), None)
    opened: list[bool] = []
    async with serving(script) as url, Client(url, patience_s=5) as client:
        async for one in client.events(on_open=opened.append):
            if one["seq"] == 200:
                break
    assert opened == [False, True]


async def test_an_event_may_be_longer_than_a_buffer() -> None:
    long = json.dumps({"seq": 1, "type": "x", "text": "y" * 300_000})
    async with serving(Scripted(stream(f"data: {long}\n\n"))) as url, Client(url) as client:
        async for one in client.events():
            assert len(one["text"]) == 300_000  # type: ignore[typeddict-item]
            break


async def test_an_output_that_breaks_off_goes_on_at_its_place() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n"
    script = Scripted(head.replace(b"\r\nContent-Length: 6", b"\r\nContent-length: 6") + b"abc", head + b"defghi")
    async with serving(script) as url, Client(url, patience_s=5) as client:
        assert b"".join([chunk async for chunk in client.output("i", attempt=2)]) == b"abcdefghi"
    assert [line for line, _, _ in script.requests] == [
        "GET /v1/jobs/i/output?attempt=2&offset=0",
        "GET /v1/jobs/i/output?attempt=2&offset=3",
    ]


async def test_waiting_gives_up_in_time() -> None:
    async with serving(Scripted(answer(200, {"id": "i", "state": "running"}))) as url, Client(url) as client:
        with pytest.raises(TimeoutError):
            await client.wait(["i", "j"], timeout_s=0.1)


async def test_an_id_is_quoted() -> None:
    script = Scripted(answer(200, JOB))
    async with serving(script) as url, Client(url) as client:
        await client.job("../a?b#c")
    assert script.requests[0][0] == "GET /v1/jobs/..%2Fa%3Fb%23c"
