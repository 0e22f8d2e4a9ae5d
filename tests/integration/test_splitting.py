"""`"split": "file"`: one job becomes one for each file of its tests, at submit."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import MakeServer
from tests.support.cli import Cli
from tests.support.server import Answer, ServerProcess

PLUGINS = Path(__file__).parent.parent / "support" / "plugins"
CONFIG = '[queues.e2e]\nrunner = "cases"\nslots = 2\n'
ENV = {"PYTHONPATH": str(PLUGINS)}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    server = ServerProcess(tmp_path_factory.mktemp("server"), CONFIG, env=ENV)
    yield server.start()
    server.close()


def case(file: str, goes: str = "passed", duration_s: float = 1.0) -> dict[str, Any]:
    return {"id": f"{file} works", "file": file, "goes": [goes], "duration_s": duration_s}


def spec(*files: str, **fields: Any) -> dict[str, Any]:
    tests = [{**case(file), "id": f"{file} {number}"} for number, file in enumerate(files)]
    return {"queue": "e2e", "params": {"tests": tests, "split": "file"}, **fields}


def post(server: ServerProcess, body: Any, query: str = "", **headers: str) -> Answer:
    return server.request("POST", f"/v1/jobs{query}", body, headers)


def ndjson(server: ServerProcess, *specs: dict[str, Any], **headers: str) -> Answer:
    body = "\n".join(json.dumps(one) for one in specs).encode()
    return post(server, body, **{"Content-Type": "application/x-ndjson", **headers})


def file_of(job: dict[str, Any]) -> str:
    found: str = job["params"]["tests"][0]["file"]
    return found


def jobs(server: ServerProcess, answer: Answer) -> list[dict[str, Any]]:
    assert answer.status in (200, 201), answer.body
    assert answer.json["count"] == len(answer.json["ids"])
    return [server.job(job_id) for job_id in answer.json["ids"]]


def test_a_job_becomes_one_for_each_file_with_the_rest_of_its_spec(server: ServerProcess) -> None:
    answer = post(server, spec("a.js", "b.js", "a.js", priority="high", tags={"pr": "1"}, name="nightly"), "?wait=20")
    assert answer.status == 201
    made = jobs(server, answer)
    assert [(job["name"], len(job["params"]["tests"])) for job in made] == [("nightly: a.js", 2), ("nightly: b.js", 1)]
    assert {(job["state"], job["priority"], job["tags"]["pr"]) for job in made} == {("succeeded", 10, "1")}
    assert not any("split" in job["params"] for job in made)
    assert made[0]["number"] < made[1]["number"]


def test_all_have_the_batch_key_that_was_given_or_a_common_one(server: ServerProcess) -> None:
    assert {job["batch_key"] for job in jobs(server, post(server, spec("a.js", "b.js", batch_key="mine")))} == {"mine"}
    (common,) = {job["batch_key"] for job in jobs(server, post(server, spec("a.js", "b.js")))}
    (other,) = {job["batch_key"] for job in jobs(server, post(server, spec("a.js", "b.js")))}
    assert common
    assert common != other


def test_the_longest_file_goes_first_and_an_unknown_one_counts_as_average(server: ServerProcess) -> None:
    known = [
        case("order/short.js", duration_s=1),
        case("order/long.js", duration_s=60),
        case("order/mid.js", duration_s=9),
    ]
    for _ in range(2):
        assert server.submit("e2e", {"tests": known}, wait_s=20)["state"] == "succeeded"
    names = ["order/short.js", "order/new.js", "order/mid.js", "order/long.js"]  # the average is 23
    made = jobs(server, post(server, spec(*names)))
    assert [file_of(job) for job in made] == ["order/long.js", "order/new.js", "order/mid.js", "order/short.js"]


def test_files_that_nobody_knows_keep_the_runners_order(server: ServerProcess) -> None:
    made = jobs(server, post(server, spec("order2/c.js", "order2/a.js", "order2/b.js")))
    assert [file_of(job) for job in made] == ["order2/c.js", "order2/a.js", "order2/b.js"]


def test_another_orgs_history_does_not_count(server: ServerProcess) -> None:
    known = [case("order3/a.js", duration_s=1), case("order3/b.js", duration_s=60)]
    server.submit("e2e", {"tests": known}, wait_s=20, org_id="others")
    made = jobs(server, post(server, spec("order3/a.js", "order3/b.js")))
    assert [file_of(job) for job in made] == ["order3/a.js", "order3/b.js"]


def test_another_suites_history_does_not_count(server: ServerProcess) -> None:
    known = [case("order4/a.js", duration_s=1), case("order4/b.js", duration_s=60)]
    server.submit("e2e", {"tests": [{**test, "suite": "bank"} for test in known]}, wait_s=20)
    tests = [case("order4/a.js"), case("order4/b.js")]
    for suite, first in (("shop", "a"), ("bank", "b"), ("", "a")):
        params = {"tests": [{**test, "suite": suite} for test in tests], "split": "file"}
        made = jobs(server, post(server, {"queue": "e2e", "params": params}))
        assert file_of(made[0]) == f"order4/{first}.js", suite


def test_the_same_request_is_the_same_jobs_whatever_its_files_have_become(server: ServerProcess) -> None:
    body = spec("once/a.js", "once/b.js")
    first = post(server, body, **{"Idempotency-Key": "split-once"})
    slow = [case("once/b.js", duration_s=100.0)]
    server.submit("e2e", {"tests": slow}, wait_s=20)  # now another file is the longest
    again = post(server, body, **{"Idempotency-Key": "split-once"})
    assert (first.status, again.status) == (201, 200)
    assert again.json == first.json
    other = post(server, spec("once/a.js"), **{"Idempotency-Key": "split-once"})
    assert (other.status, other.json["errors"][0]["pointer"]) == (422, "/idempotency_key")


def test_a_jobs_own_key_covers_all_that_it_becomes(server: ServerProcess) -> None:
    first = post(server, spec("own/a.js", "own/b.js", idempotency_key="own-key"))
    again = post(server, spec("own/a.js", "own/b.js", idempotency_key="own-key"))
    assert (first.status, again.status, again.json) == (201, 200, first.json)


def test_in_a_list_too_and_whoever_depends_on_it_depends_on_all_of_it(server: ServerProcess) -> None:
    before = {"queue": "noop", "params": {}}
    after = {"queue": "noop", "params": {}, "depends_on": [{"index": 1, "on": "any"}, {"index": 0}]}
    one, a, b, last = jobs(server, ndjson(server, before, spec("l/a.js", "l/b.js", depends_on=[{"index": 0}]), after))
    assert [file_of(a), file_of(b)] == ["l/a.js", "l/b.js"]
    assert a["depends_on"] == b["depends_on"] == [{"job": one["id"], "on": "success"}]
    assert last["depends_on"] == [
        {"job": a["id"], "on": "any"},
        {"job": b["id"], "on": "any"},
        {"job": one["id"], "on": "success"},
    ]
    assert server.job(last["id"], wait_s=20)["state"] == "succeeded"
    assert len(jobs(server, post(server, [before, spec("l/a.js", "l/b.js")]))) == 3


def test_in_a_list_the_key_is_the_requests(server: ServerProcess) -> None:
    refused = ndjson(server, spec("k/a.js"), spec("k/b.js", idempotency_key="k"))
    assert (refused.status, refused.json["errors"][0]["pointer"]) == (422, "/1/idempotency_key")
    first = ndjson(server, spec("k/a.js", "k/b.js"), **{"Idempotency-Key": "k"})
    again = ndjson(server, spec("k/a.js", "k/b.js"), **{"Idempotency-Key": "k"})
    assert (first.status, again.status, again.json) == (201, 200, first.json)


def test_what_cannot_be_split_is_refused_with_the_runners_words_and_nothing_is_kept(server: ServerProcess) -> None:
    total = server.get("/v1/jobs/summary")["total"]
    refused = post(server, spec("a.js", "refused"))
    assert (refused.status, refused.json["errors"]) == (
        422,
        [{"pointer": "/params/split", "detail": "nobody may run that"}],
    )
    in_list = ndjson(server, {"queue": "noop", "params": {}}, spec("refused"))
    assert (in_list.status, in_list.json["errors"][0]["pointer"]) == (422, "/1/params/split")
    nothing = post(server, spec())
    assert (nothing.status, nothing.json["errors"][0]["pointer"]) == (422, "/params/split")
    assert "nothing to run" in nothing.json["errors"][0]["detail"]
    broken = post(server, spec("broken"))
    assert broken.status == 503
    assert "the disk with the tests is gone" in broken.json["detail"]
    assert broken.headers["Retry-After"] == "7", "the runner says when to try again"
    wrong = post(server, spec("a.js", depends_on=["01a201bc-c83e-7000-958d-c15b6aaf89ff"]))
    assert wrong.status == 422
    assert server.get("/v1/jobs/summary")["total"] == total


def test_a_list_asks_for_so_many_splits_at_most(server: ServerProcess) -> None:
    refused = ndjson(server, *(spec("a.js") for _ in range(101)))
    assert (refused.status, refused.json["errors"][0]["pointer"]) == (422, "/100/params/split")


def test_a_part_that_its_own_runner_does_not_take_is_told_by_its_file(server: ServerProcess) -> None:
    refused = post(server, spec("a.js", "wrong.js"))
    assert refused.status == 422
    (error,) = refused.json["errors"]
    assert error["pointer"] == "/params/tests/0/surprise"
    assert error["detail"].startswith("in the part wrong.js: ")


@pytest.mark.parametrize(
    ("file", "word"), [("no-list", "no list of Part"), ("no-file", "no Part of a str"), ("no-suite", "the suite None")]
)
def test_a_runner_that_splits_wrongly_is_said_so(server: ServerProcess, file: str, word: str) -> None:
    answer = post(server, spec(file))
    assert answer.status == 503
    assert word in answer.json["detail"]


def test_a_runner_that_cannot_split_refuses(make_server: MakeServer) -> None:
    server = make_server('[queues.raw]\nrunner = "cases_raw"\n', env=ENV)
    answer = post(server, {"queue": "raw", "params": {"tests": [], "split": "file"}})
    assert (answer.status, answer.json["errors"][0]["detail"]) == (422, "jobs of this queue cannot be split")


def test_the_word_split_elsewhere_in_params_splits_nothing(server: ServerProcess) -> None:
    job = server.submit("local", {"command": "true", "env": {"split": "file"}}, wait_s=20)
    assert job["state"] == "succeeded"


def test_a_schedule_splits_when_it_fires(server: ServerProcess) -> None:
    made = server.request("POST", "/v1/schedules", {"name": "s", "cron": "@yearly", "job": spec("s/a.js", "s/b.js")})
    assert made.status == 201, made.body
    fired = server.request("POST", f"/v1/schedules/{made.json['id']}/run", {})
    ids = server.get(f"/v1/schedules/{made.json['id']}")["last_runs"][0]["ids"]
    assert fired.status in (200, 201)
    assert [file_of(server.job(job_id)) for job_id in ids] == ["s/a.js", "s/b.js"]


def test_a_rehearsal_has_no_files_and_keeps_the_job_whole(make_server: MakeServer) -> None:
    server = make_server(CONFIG, env=ENV, arguments=["--rehearse"])
    answer = post(server, spec("a.js", "b.js", name="smoke"), "?wait=20")
    assert (answer.status, answer.json["count"]) == (201, 1)
    job = server.job(answer.json["ids"][0], wait_s=20)
    assert (job["state"], job["name"]) == ("succeeded", "smoke")


def test_the_command_line_submits_and_runs_what_is_split(server: ServerProcess, tmp_path: Path) -> None:
    hpcq = Cli(server.url, tmp_path)
    params = json.dumps(spec("cli/a.js", "cli/b.js")["params"])
    submitted = hpcq("submit", "--queue", "e2e", "--params", params)
    assert len(submitted.out.split()) == 2
    words = ("--queue", "e2e", "--params", params, "--idempotency-key", "cli", "--junit", "r.xml")
    done = hpcq("run", *words)
    assert done.code == 0, done.err
    assert (tmp_path / "r.xml").read_text().count("<testcase ") == 2
    assert hpcq("run", *words).code == 0
