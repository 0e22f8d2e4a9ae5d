"""`hpcq run`: submit, watch, report."""

import asyncio
import os
from collections import Counter
from collections.abc import Coroutine
from contextlib import ExitStack, suppress
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import click

from hpcq.cli.calls import Code, json_option, remote, verdict
from hpcq.cli.display import FEW, Display
from hpcq.cli.follow import ending, follow, writer
from hpcq.cli.gather import counts, gather, kept_options, lines_of_tests, refuse_folder
from hpcq.cli.options import DURATION
from hpcq.cli.output import busy, print_json, say
from hpcq.cli.report import complete_tests, default_name, results, write_junit, write_results
from hpcq.cli.specs import Spec, job_options
from hpcq.cli.submit import left_running, prepared
from hpcq.cli.testjobs import options_of_tests
from hpcq.cli.watch import Change, Watch

if TYPE_CHECKING:
    from hpcq.client import Client, Filter, Job

RUN_TAG = "run"
CANCEL_S = 30.0  # how long to wait for the ends of what was cancelled
DEFAULT_OUT = ""


@click.command()
@job_options("--job-timeout")
@options_of_tests
@kept_options
@click.option("--timeout", "limit_s", type=DURATION, help="Give up watching after so long: exit code 124.")
@click.option("--max-failures", type=click.IntRange(1), metavar="N", help="Cancel the rest after N failures.")
@click.option(
    "--cancel-on-exit/--leave-running",
    default=None,
    help="What becomes of the jobs when we stop early.  [default: cancel where CI is set]",
)
@click.option("--out", is_flag=False, flag_value=DEFAULT_OUT, metavar="[FILE]", help="Write the results as JSON.")
@click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), help="Write the results as JUnit XML.")
@click.option("--raw", is_flag=True, help="Show a job's bytes as they are, control characters included.")
@json_option
@remote
async def run(client: "Client", **options: Any) -> int:
    """Submit jobs, show what happens to them, and exit as they did.

    \b
    hpcq run -- make test                      what it prints, as it comes
    hpcq run -f jobs.toml --out --junit r.xml  many jobs: a line for each change
    hpcq run --test tests --app app.apk --project-dir . --tag pr=12 --report report --junit r.xml
    """
    refuse_folder(options["report_dir"])
    specs = await prepared(client, options)
    return await Run(client, specs, options).go()


class Run:
    """One call of `hpcq run`."""

    def __init__(self, client: "Client", specs: list[Spec], options: dict[str, Any]) -> None:
        self._client = client
        self._specs = specs
        self._options = options
        self._split = any(is_split(spec) for spec in specs)
        self._single = len(specs) == 1 and not (options["file"] or options["each"] or self._split)
        if self._split and options["idempotency_key"]:
            specs[0].pop("idempotency_key", None)  # it covers the whole request
        self._display = Display(stderr=options["as_json"])
        self._started = datetime.now().astimezone()
        self._tag = ("", "") if self._single else _mark(specs, options["idempotency_key"])
        self._failures = 0
        self._too_many = asyncio.Event()
        self._queues: frozenset[str] = frozenset()
        self._changed: set[str] = set()  # queues of ours that somebody has changed meanwhile
        self._ids: list[str] = []
        self._sending: asyncio.Future[list[str]] | None = None
        self._since: int | None = None

    async def go(self) -> int:
        """Submit and watch; the exit code."""
        gave_up = False
        try:
            await self._submit()
            async with asyncio.timeout(self._options["limit_s"]):
                await (self._watch_one() if self._single else self._watch_many())
        except TimeoutError:
            gave_up = True
            say(f"hpcq: gave up watching after {self._options['limit_s']:g} s")
            await self._leave()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()
            await self._leave()
            raise
        jobs = await self._jobs()
        await complete_tests(self._client, jobs)
        code = Code.GAVE_UP if gave_up else self._verdict(jobs)
        self._report(jobs, code)
        options = self._options
        project = options["project_dir"] or Path(options["cwd"] or ".")
        await gather(self._client, jobs, options["artifacts_dir"], options["report_dir"], project)
        return code

    def _verdict(self, jobs: "list[Job]") -> Code:
        """What we have cancelled after too many failures says nothing: the failures do."""
        ended = [job for job in jobs if not (self._too_many.is_set() and job["state"] == "cancelled")]
        code = verdict(ended)
        return Code.FAILED if code is Code.OK and self._options["fail_on_flaky"] and counts(jobs)["flaky"] else code

    async def _submit(self) -> None:
        if self._single:
            await self._send(self._only())
            return
        wanted = Counter(str(spec.get("queue")) for spec in self._specs)
        self._queues = frozenset(wanted)
        self._display.header(self._client.url, await self._client.queues(), wanted)
        if len(self._specs) <= FEW:
            self._since = int((await self._client.stats())["last_seq"])
        with busy(f"submitting {len(self._specs)} jobs"):
            await self._send(self._client.submit_many(self._specs, key=self._options["idempotency_key"]))
        self._display.sent(self._ids, await self._jobs() if self._split else self._specs)

    async def _only(self) -> list[str]:
        return [(await self._client.submit(self._specs[0]))["id"]]

    async def _send(self, sending: Coroutine[Any, Any, list[str]]) -> None:
        """It goes on when we are stopped: what the server takes must be known, to be cancelled."""
        self._sending = asyncio.ensure_future(sending)
        self._ids = await asyncio.shield(self._sending)

    async def _watch_one(self) -> None:
        write = writer(raw=self._options["raw"], stderr=self._options["as_json"])
        with ExitStack() as quiet:
            quiet.enter_context(busy(f"job {self._ids[0]} has printed nothing yet"))

            def show(chunk: bytes) -> None:
                quiet.close()
                write(chunk)

            job = await follow(self._client, self._ids[0], show)
        say(ending(job))

    async def _watch_many(self) -> None:
        watch = Watch(
            self._client, self._ids, self._ours(), self._change, on_queue=self._changed.add, since=self._since
        )
        watching = asyncio.create_task(watch.until_final())
        stopping = asyncio.create_task(self._too_many.wait())
        try:
            with busy("working") as words:
                while not watching.done() and not stopping.done():
                    await asyncio.wait({watching, stopping}, timeout=0.5, return_when=asyncio.FIRST_COMPLETED)
                    await self._show_changed_queues()
                    words[0] = ", ".join(f"{count} {state}" for state, count in watch.counts.items())
            if not watching.done():
                self._display.say(f"{self._failures} failures: cancelling the rest")
                await self._cancel()
            await watching
        finally:
            watching.cancel()
            stopping.cancel()

    async def _show_changed_queues(self) -> None:
        while self._changed:
            name = self._changed.pop()
            if name in self._queues:
                self._display.queue(await self._client.queue(name))

    def _change(self, change: Change) -> None:
        self._display.change(change)
        self._failures += change.state == "failed"
        if self._options["max_failures"] and self._failures >= self._options["max_failures"]:
            self._too_many.set()

    def _ours(self) -> "Filter":
        from hpcq.client import Filter

        return Filter(tags=dict([self._tag]))

    async def _leave(self) -> None:
        """We stop before the jobs do."""
        if self._sending is not None and not self._ids:
            await self._sent(self._sending)
        if not self._ids:
            return
        if not self._cancels:
            say(f"hpcq: {left_running(self._ids, None if self._single else '='.join(self._tag))}")
            return
        say("hpcq: cancelling")
        with suppress(TimeoutError):
            async with asyncio.timeout(CANCEL_S):
                await self._cancel()
                await self._client.wait(self._ids)

    async def _sent(self, sending: asyncio.Future[list[str]]) -> None:
        from hpcq.client import ClientError

        with suppress(ClientError, TimeoutError):
            async with asyncio.timeout(CANCEL_S):
                self._ids = await asyncio.shield(sending)

    @property
    def _cancels(self) -> bool:
        wanted = self._options["cancel_on_exit"]
        return bool(os.environ.get("CI")) if wanted is None else bool(wanted)

    async def _cancel(self) -> None:
        from hpcq.client import Problem

        if not self._single:
            await self._client.act("cancel", self._ours())
            return
        with suppress(Problem):  # it has just ended
            await self._client.cancel(self._ids[0])

    async def _jobs(self) -> "list[Job]":
        """All our jobs as they are now, in the order in which they were sent."""
        if self._single:
            return [await self._client.job(self._ids[0])]
        ours = set(self._ids)
        found = {job["id"]: job async for job in self._client.jobs(self._ours()) if job["id"] in ours}
        jobs = [found[job_id] for job_id in self._ids if job_id in found]
        if len(jobs) <= FEW:
            for job in jobs:
                await self._add_slot(job)
        return jobs

    async def _add_slot(self, job: "Job") -> None:
        """A job that is final holds no slot; its last attempt did."""
        if job["attempt"] and not job.get("slot"):
            job["slot"] = (await self._client.attempts(job["id"]))[-1]["slot"]

    def _report(self, jobs: "list[Job]", code: Code) -> None:
        ended = datetime.now().astimezone()
        content = results(jobs, server=self._client.url, started=self._started, ended=ended, code=code)
        if not self._single:
            self._display.results(jobs, content["elapsed_s"])
        for line in lines_of_tests(jobs):
            self._display.say(line)
        out = self._options["out"]
        if out is not None:
            path = Path(out or default_name(self._started))
            write_results(path, content)
            say(f"results: {path}")
        if self._options["junit"]:
            write_junit(self._options["junit"], jobs, self._started)
            say(f"JUnit: {self._options['junit']}")
        if self._options["as_json"]:
            print_json(content)


def is_split(spec: Spec) -> bool:
    """The server makes several jobs of it."""
    params = spec.get("params")
    return isinstance(params, dict) and params.get("split") == "file"


def _mark(specs: list[Spec], idempotency_key: str | None) -> tuple[str, str]:
    """Give the jobs a tag that finds them again, and return it. The same idempotency key needs the same tag."""
    key = RUN_TAG if not any(RUN_TAG in (spec.get("tags") or {}) for spec in specs) else f"hpcq-{RUN_TAG}"
    if idempotency_key is None:
        value = f"{datetime.now():%m%d-%H%M}-{uuid4().hex[:6]}"
    else:
        value = sha256(idempotency_key.encode()).hexdigest()[:12]
    for spec in specs:
        spec["tags"] = {**(spec.get("tags") or {}), key: value}
    return key, value
