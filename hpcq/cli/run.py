"""`hpcq run`: submit, watch, report."""

import asyncio
import os
from collections import Counter
from contextlib import ExitStack
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import click

from hpcq.cli.calls import Code, json_option, refused, remote, stopped, verdict
from hpcq.cli.display import FEW, Display
from hpcq.cli.follow import ending, follow, writer
from hpcq.cli.gather import counts, kept_options, lines_of_tests
from hpcq.cli.options import DURATION
from hpcq.cli.output import busy, many, print_json, say
from hpcq.cli.outputs import Outputs, refuse_targets
from hpcq.cli.queues import unserved
from hpcq.cli.refusal import NotRun, is_split, notes_on, ready_to_split, refusal
from hpcq.cli.report import complete_tests, results
from hpcq.cli.sent import Sent, cause
from hpcq.cli.specs import Spec, job_options
from hpcq.cli.submit import prepared
from hpcq.cli.testjobs import options_of_tests
from hpcq.cli.watch import FINAL, Change, Watch

if TYPE_CHECKING:
    from hpcq.client import Client, Job

RUN_TAG = "run"
DEFAULT_OUT = ""
STOPPED = (Code.INTERRUPTED, Code.TERMINATED, Code.HUNG_UP)


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
@click.option("--junit", type=click.Path(path_type=Path), metavar="FILE", help="Write the results as JUnit XML.")
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
    refuse_targets(options)
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
        self._sent = Sent(client, specs, None if self._single else _mark(specs, options["idempotency_key"]))
        self._outputs = Outputs(options, self._started)
        self._failures = 0
        self._too_many = asyncio.Event()
        self._queues: frozenset[str] = frozenset()
        self._changed: set[str] = set()  # queues of ours that somebody has changed meanwhile
        self._since: int | None = None

    async def go(self) -> int:
        """Submit, watch, report; the exit code."""
        try:
            code, why = await self._until_end(), ""
        except NotRun as error:
            code, why = error.code, str(error)
            say(f"hpcq: {why}")
        jobs = await self._sent.last(hurry=code is not None)
        why = why or ("" if jobs else "the run ended before the server said which its jobs are")
        await self._complete(jobs)
        if code is None:
            code = self._verdict(jobs) if self._sent.fresh else Code.NO_SERVER
        self._show(jobs, code)
        self._outputs.write(jobs, self._content(jobs, code, why), why)
        if jobs and (code not in STOPPED or self._cancels):
            await self._outputs.fetch(self._client, jobs if self._sent.fresh else None)
        if code is Code.OK and self._outputs.failed:
            code = Code.NOT_WRITTEN
            self._outputs.again(self._content(jobs, code, why))
        if self._options["as_json"]:
            print_json(self._content(jobs, code, why))
        return code

    async def _until_end(self) -> Code | None:
        """None: all jobs have ended, and say themselves how. Raises NotRun."""
        from hpcq.client import NoServer, Problem

        try:
            async with asyncio.timeout(self._options["limit_s"]):
                await self._submit()
                await (self._watch_one() if self._single else self._watch_many())
        except TimeoutError:
            say(f"hpcq: gave up watching after {self._options['limit_s']:g} s")
            await self._sent.leave(cancels=self._cancels)
            return Code.GAVE_UP
        except NoServer as error:
            if not self._sent.begun:
                raise
            self._client.hurry(0)
            self._sent.lost(error)
            return Code.NO_SERVER
        except Problem as problem:
            if not self._sent.ids:
                raise
            self._sent.lost(problem)
            return refused(problem)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()
            await self._sent.leave(cancels=self._cancels)
            return stopped()
        return None

    @property
    def _cancels(self) -> bool:
        wanted = self._options["cancel_on_exit"]
        return bool(os.environ.get("CI")) if wanted is None else bool(wanted)

    # Before.

    async def _submit(self) -> None:
        """Raises NotRun where the server, or the project, does not let it."""
        from hpcq.client import Problem

        queues = {str(queue["name"]): queue for queue in await self._client.queues()}
        for spec in self._specs:
            if is_split(spec):
                ready_to_split(queues.get(str(spec["queue"])))
        try:
            await (self._submit_one(queues) if self._single else self._submit_many(queues))
        except Problem as problem:
            if self._sent.ids:  # it is about the jobs that have been made
                raise
            raise refusal(problem) from problem

    async def _submit_one(self, queues: dict[str, Any]) -> None:
        name = str(self._specs[0].get("queue"))
        why = (unserved(queues[name]) if name in queues else None) or notes_on(queues, self._options).get(name)
        if why:
            say(f"hpcq: queue {name}: {why}")
        await self._sent.send(self._only())

    async def _only(self) -> list[str]:
        job = await self._client.submit(self._specs[0])
        self._sent.remember(job)
        return [job["id"]]

    async def _submit_many(self, queues: dict[str, Any]) -> None:
        wanted = Counter(str(spec.get("queue")) for spec in self._specs)
        self._queues = frozenset(wanted)
        self._display.header(self._client.url, queues, wanted, split=self._split, notes=notes_on(queues, self._options))
        if len(self._specs) <= FEW:
            self._since = int((await self._client.stats())["last_seq"])
        with busy(f"submitting {many(len(self._specs), 'job')}"):
            await self._sent.send(self._client.submit_many(self._specs, key=self._options["idempotency_key"]))
        self._display.sent(self._sent.ids, await self._sent.jobs() if self._split else self._specs, split=self._split)

    # Meanwhile.

    async def _watch_one(self) -> None:
        write = writer(raw=self._options["raw"], stderr=self._options["as_json"], unread=True)
        with ExitStack() as quiet:
            quiet.enter_context(busy(f"job {self._sent.ids[0]} has printed nothing yet"))

            def show(chunk: bytes) -> None:
                quiet.close()
                write(chunk)

            job = await follow(self._client, self._sent.ids[0], show)
        self._sent.remember(job)
        say(ending(job))

    async def _watch_many(self) -> None:
        watch = Watch(
            self._client,
            self._sent.ids,
            self._sent.which,
            self._change,
            on_queue=self._changed.add,
            since=self._since,
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
                self._display.say(f"{many(self._failures, 'failure')}: cancelling the rest")
                await self._sent.cancel()
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
        self._sent.states[change.job_id] = change.state
        self._display.change(change)
        self._failures += change.state == "failed"
        if self._options["max_failures"] and self._failures >= self._options["max_failures"]:
            self._too_many.set()

    # Afterwards.

    async def _complete(self, jobs: "list[Job]") -> None:
        from hpcq.client import ClientError

        try:
            await complete_tests(self._client, jobs)
        except ClientError as error:
            say(f"hpcq: not all tests are known: {cause(error)}")

    def _verdict(self, jobs: "list[Job]") -> Code:
        """What we have cancelled after too many failures says nothing: the failures do. No end that we do not know is
        a success, or the job's fault."""
        missing = self._sent.missing
        known = [job for job in jobs if job["id"] not in missing or job["state"] in FINAL]
        code = verdict(job for job in known if not (self._too_many.is_set() and job["state"] == "cancelled"))
        if code is Code.OK and missing:
            return Code.NOT_ITS_FAULT
        return Code.FAILED if code is Code.OK and self._options["fail_on_flaky"] and counts(jobs)["flaky"] else code

    def _show(self, jobs: "list[Job]", code: Code) -> None:
        if not self._single and jobs:
            self._display.results(jobs, (datetime.now().astimezone() - self._started).total_seconds())
        for line in lines_of_tests(jobs):
            self._display.say(line)
        if jobs and code is Code.FAILED and verdict(jobs) is Code.OK:
            flaky = many(counts(jobs)["flaky"], "test")
            self._display.say(f"exit code 1, as --fail-on-flaky wants it: {flaky} passed only in a further try")

    def _content(self, jobs: "list[Job]", code: Code, why: str) -> dict[str, Any]:
        ended = datetime.now().astimezone()
        return results(jobs, server=self._client.url, started=self._started, ended=ended, code=code, why=why)


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
