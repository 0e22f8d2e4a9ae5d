"""The scenes of the demo: what is submitted, and what must have come of it."""

import asyncio
import hashlib
import io
import os
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpcq.client import Client, Job

Spec = dict[str, Any]
Check = Callable[["Client", "list[Job]"], Awaitable[str]]
Play = Callable[["Client", Sequence[Spec]], Awaitable[list[str]]]

GONE_S = 5.0  # promised: nothing of a job lives longer after its end


class Wrong(Exception):
    """A verification failed; says what was found and what was expected."""


async def together(client: "Client", specs: Sequence[Spec]) -> list[str]:
    """Submit all at once."""
    return await client.submit_many(specs)


@dataclass(frozen=True)
class Scene:
    """Jobs that belong together. `check` returns what it saw, or raises Wrong."""

    title: str
    specs: tuple[Spec, ...]
    check: Check
    play: Play = together


def expect(good: bool, sentence: str) -> None:
    """Raise Wrong with the sentence unless `good`."""
    if not good:
        raise Wrong(sentence)


def succeeded(*jobs: "Job") -> None:
    """All of them."""
    for job in jobs:
        expect(job["state"] == "succeeded", f"#{job['number']} is {job['state']}, not succeeded: {job.get('error')}")


def failed(job: "Job", kind: str) -> str:
    """It failed in this way; its message."""
    error = job.get("error") or {}
    found = f"{job['state']}, error {error.get('type')}"
    expect(
        job["state"] == "failed" and error.get("type") == kind, f"#{job['number']} is {found}, not failed, error {kind}"
    )
    return str(error.get("message"))


def _product(size: int, seed: int) -> Spec:
    params = {"operation": "matmul", "size": size, "seed": seed}
    return {"queue": "compute", "name": f"product of two {size}² matrices", "params": params}


async def check_products(client: "Client", jobs: "list[Job]") -> str:
    """Against numpy, on this side of the network: the numbers of the result, and every element of the artifact."""
    succeeded(*jobs)
    for job in jobs:
        file = b"".join([chunk async for chunk in client.artifact(job["id"], job["result"]["artifact"])])
        await asyncio.to_thread(_same_product, job, file)
    return "trace, norm, checksum and every element agree with numpy"


def _same_product(job: "Job", file: bytes) -> None:
    import numpy

    params, result = job["params"], job["result"]
    rng = numpy.random.default_rng(params["seed"])
    side = (params["size"], params["size"])
    own = rng.random(side) @ rng.random(side)
    theirs = numpy.load(io.BytesIO(file), allow_pickle=False)
    for name, mine in (("trace", numpy.trace(own)), ("frobenius_norm", numpy.linalg.norm(own))):
        expect(bool(numpy.isclose(result[name], mine, rtol=1e-9)), f"{name} is {result[name]}, numpy says {mine}")
    checksum = hashlib.sha256(numpy.ascontiguousarray(theirs).tobytes()).hexdigest()
    expect(
        checksum == result["checksum"], f"the artifact's SHA-256 is {checksum}, the result says {result['checksum']}"
    )
    expect(
        theirs.shape == own.shape and bool(numpy.allclose(theirs, own)), "the artifact's elements differ from numpy's"
    )


async def check_sums(_: "Client", jobs: "list[Job]") -> str:
    """1 + 4 + 9 + 16 + 25, and the cubes."""
    succeeded(*jobs)
    values = [job["result"]["value"] for job in jobs]
    expect(values == [55, 225], f"the values are {values}, not [55, 225]")
    return "55 and 225"


async def check_output(client: "Client", jobs: "list[Job]") -> str:
    """All that was printed, and the result file."""
    succeeded(*jobs)
    printed = b"".join([chunk async for chunk in client.output(jobs[0]["id"])]).decode()
    expect(printed == "line 1\nline 2\nline 3\n", f"the output is {printed!r}")
    expect(jobs[1]["result"] == {"answer": 42}, f"the result is {jobs[1]['result']}, not {{'answer': 42}}")
    return "the output is complete, and the result file came back"


async def check_flaky(client: "Client", jobs: "list[Job]") -> str:
    """Twice wrong, then right."""
    succeeded(*jobs)
    states = [attempt["state"] for attempt in await client.attempts(jobs[0]["id"])]
    expect(states == ["failed", "failed", "succeeded"], f"its attempts are {states}")
    return "failed, failed, succeeded"


async def check_chain(_: "Client", jobs: "list[Job]") -> str:
    """Each began after the one before had ended; what waited for a failure ran, what waited for success did not."""
    *links, broken, mourner, heir = jobs
    succeeded(*links, mourner)
    for before, after in pairwise(links):
        ended, began = before["finished_at"] or "", after["started_at"] or ""
        expect(ended <= began, f"#{after['number']} began at {began}, before #{before['number']} ended at {ended}")
    failed(broken, "exit")
    failed(heir, "dependency")
    expect(heir["attempt"] == 0, f"#{heir['number']} ran although what it depends on failed")
    return "each link waited for the one before; a failure took only its own branch along"


async def overtake(client: "Client", specs: Sequence[Spec]) -> list[str]:
    """The critical one comes last, to a queue that is closed; then the queue is opened."""
    await client.change_queue("lane", paused=True)
    try:
        ids = await client.submit_many(specs[:-1])
        return [*ids, (await client.submit(specs[-1]))["id"]]
    finally:
        await client.change_queue("lane", paused=False)


async def check_overtaking(client: "Client", jobs: "list[Job]") -> str:
    """By the order of starts, as the events tell it."""
    succeeded(*jobs)
    starts = []
    for job in jobs:
        starts += [
            (event["seq"], job) for event in await client.job_events(job["id"]) if event["type"] == "job.started"
        ]
    order = [job["number"] for _, job in sorted(starts, key=lambda start: start[0])]
    lows, critical = [job["number"] for job in jobs[:-1]], jobs[-1]["number"]
    expect(order == [critical, *lows], f"they started in the order {order}, not {[critical, *lows]}")
    return f"#{critical} came last and started first; the others in their order"


async def check_too_large(_: "Client", jobs: "list[Job]") -> str:
    """Refused by the runner, with the reason, never tried again."""
    why = failed(jobs[0], "rejected")
    expect("max_size" in why and "20000" in why, f"the reason does not name the limit: {why!r}")
    expect(jobs[0]["attempt"] == 1, f"it was tried {jobs[0]['attempt']} times")
    return why


async def check_stubborn(client: "Client", jobs: "list[Job]") -> str:
    """Its processes ignore SIGTERM, one in a session of its own; none may be left."""
    failed(jobs[0], "timeout")
    printed = b"".join([chunk async for chunk in client.output(jobs[0]["id"])]).decode()
    pids = [int(pid) for pid in re.findall(r"pid (\d+)", printed)]
    expect(len(pids) == 2, f"the job should print the pids of its two processes; it printed {printed!r}")
    ends = time.monotonic() + GONE_S
    while left := [pid for pid in pids if _lives(pid)]:
        expect(time.monotonic() < ends, f"processes {left} still live {GONE_S:g} s after the job's end")
        await asyncio.sleep(0.05)
    return f"killed after its second; processes {pids[0]} and {pids[1]} are gone"


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # the number belongs to somebody else by now
        return False
    return True


def _shell(name: str, command: str, **more: Any) -> Spec:
    return {"queue": "local", "name": name, "params": {"command": command}, **more}


FLAKY = 'echo "try $HPCQ_ATTEMPT"; [ "$HPCQ_ATTEMPT" -ge 3 ]'
STUBBORN = "trap '' TERM; echo pid $$; setsid sh -c 'trap \"\" TERM; echo pid $$; sleep 300' & sleep 301; sleep 302"
STEPS = """\
for i in 1 2 3 4; do
    printf '{"done": %s, "total": 4, "message": "steps"}\\n' $i >> "$HPCQ_PROGRESS"; sleep 0.2
done
echo '{"answer": 42}' > "$HPCQ_RESULT"
"""
WITHOUT_PAUSE = {"max": 3, "backoff_s": 0.1, "jitter": False}


def day() -> tuple[Scene, ...]:
    """All scenes, in the order in which they are submitted; they run side by side."""
    lows = [
        {
            "queue": "lane",
            "name": f"low {n}",
            "priority": "low",
            "params": {"duration_s": 0.15, "message": f"low {n} ran"},
        }
        for n in range(1, 6)
    ]
    critical = {"queue": "lane", "name": "critical", "priority": "critical", "params": {"message": "overtook"}}
    return (
        Scene("a stubborn child is killed", (_shell("a stubborn child", STUBBORN, timeout_s=1),), check_stubborn),
        Scene("matrix products", (_product(512, 7), _product(1024, 11), _product(512, 13)), check_products),
        Scene(
            "sums of squares and cubes",
            tuple(
                {"queue": "compute", "name": operation, "params": {"operation": operation, "data": [1, 2, 3, 4, 5]}}
                for operation in ("square_sum", "cube_sum")
            ),
            check_sums,
        ),
        Scene("a matrix over the limit", (_product(20_000, 1),), check_too_large),
        Scene("the critical job overtakes", (*lows, critical), check_overtaking, overtake),
        Scene("fails twice, then passes", (_shell("flaky", FLAKY, retries=WITHOUT_PAUSE),), check_flaky),
        Scene(
            "shell commands",
            (_shell("three lines", "for i in 1 2 3; do echo line $i; done"), _shell("steps and a result", STEPS)),
            check_output,
        ),
        Scene("a chain of dependencies", _chain(), check_chain),
    )


def _chain() -> tuple[Spec, ...]:
    after: Callable[[int, str], list[Spec]] = lambda index, on: [{"index": index, "on": on}]  # noqa: E731
    return (
        _shell("build", "sleep 0.1; echo built"),
        _shell("test", "sleep 0.1; echo tested", depends_on=after(0, "success")),
        _shell("deploy", "echo deployed", depends_on=after(1, "success")),
        _shell("a broken step", "echo broken; exit 3", depends_on=after(2, "success")),
        _shell("runs on failure", "echo cleaning up", depends_on=after(3, "failure")),
        _shell("never runs", "echo no", depends_on=after(3, "success")),
    )
