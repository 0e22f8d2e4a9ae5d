"""Runs the tests of one job: Playwright's own command line, from start to what its end means. The seam of all queues
that take AppWright jobs: each says by a Target what is its own."""

import asyncio
import contextlib
import os
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hpcq.plugin import JSON, Context, Exit, Failure, Infra, Outcome, Process, Request, Usage
from hpcq_runners.appwright import junit, npm, project, report, unreported, verdict, wrapper
from hpcq_runners.appwright.builds import build_of
from hpcq_runners.appwright.commit import commit_of
from hpcq_runners.appwright.params import AppwrightParams
from hpcq_runners.appwright.reading import read_end
from hpcq_runners.appwright.remaining import read_begun, remaining, write_last_run
from hpcq_runners.appwright.settings import AppwrightSettings
from hpcq_runners.appwright.tools import find_node
from hpcq_runners.appwright.uploads import Place
from hpcq_runners.appwright.words import relative
from hpcq_runners.command import environment
from hpcq_runners.fields import Blob
from hpcq_runners.reports import Progress

POLL_S = 0.5  # how often the progress is looked at
LOG_BYTES = 64 << 10
LATE_S = 0.2  # a stop so shortly before the deadline is that of the deadline: the clocks are two
COMPILED = "compiled"
OVERRIDES = ("PLAYWRIGHT_JSON_OUTPUT", "PLAYWRIGHT_BLOB_OUTPUT")  # variables that would lead our reports elsewhere


@dataclass(frozen=True, slots=True)
class Target:
    """What a queue adds to the project's own config."""

    device: Mapping[str, JSON] | None = None  # takes the place of `use.device`
    build: str | None = None  # takes the place of `use.buildPath`: a file, or an address such as bs://…
    env: Mapping[str, str] = field(default_factory=dict)  # above the job's own
    preload: tuple[Path, ...] = ()  # modules for `node --require`, in every process of the run
    path: tuple[Path, ...] = ()  # folders in front of PATH
    workers: int | None = None  # tests at a time; None: as the job and the project's config say


PLAIN = Target()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that can be started."""

    project: project.Project
    argv: Sequence[str]
    env: Mapping[str, str]
    outputs: wrapper.Outputs
    left: int  # so many tests of earlier attempts are left to run; 0: all are run
    commit: str | None


class TestRun:
    """Tests under way. `outcome` goes on when whoever waits for it stops waiting: await it under a shield."""

    __test__ = False  # not one of pytest's

    def __init__(self, request: Request, prepared: Prepared, process: Process) -> None:
        self._request = request
        self._prepared = prepared
        self._process = process
        self._pidfd = _pidfd(process.pid)  # a number could be another's by the time of a stop
        self._may_interrupt = True
        self._over = False  # the attempt's time was, when it was stopped
        self._progress = Progress(prepared.outputs.progress)
        self._timer = asyncio.get_running_loop().call_later(POLL_S, self._poll)
        self.report: report.Report | None = None  # once there is an outcome, and if there was one
        self.outcome: asyncio.Future[Outcome] = asyncio.ensure_future(self._see_through())

    @property
    def pid(self) -> int:
        return self._process.pid

    def log_text(self) -> str:
        """The end of what it has printed, at most 64 KiB."""
        try:
            return read_end(self._request.output, LOG_BYTES)
        except OSError:
            return ""

    async def stop(self, grace_s: float) -> None:
        """SIGINT to Playwright, which then ends its tests and writes its report; after the grace, all is killed."""
        if self._may_interrupt:
            deadline = self._request.deadline
            self._over = deadline is not None and time.time() >= deadline - LATE_S
        self._interrupt()
        ended = asyncio.ensure_future(self._process.wait())
        try:
            await asyncio.wait([ended], timeout=grace_s)
            if not ended.done():
                await self._process.terminate(0.0)
        finally:
            ended.cancel()

    def _interrupt(self) -> None:
        """Once: a second SIGINT would not let it finish."""
        if not self._may_interrupt:
            return
        self._may_interrupt = False
        with contextlib.suppress(ProcessLookupError):
            if self._pidfd is not None:
                signal.pidfd_send_signal(self._pidfd, signal.SIGINT)
            else:  # a system that has none
                os.kill(self.pid, signal.SIGINT)

    async def _see_through(self) -> Outcome:
        try:
            exit_ = await self._process.wait()
        finally:
            self._timer.cancel()
            self._may_interrupt = False
            if self._pidfd is not None:
                os.close(self._pidfd)
        self._tell()
        return await asyncio.to_thread(self._judge, exit_)

    def _judge(self, exit_: Exit) -> Outcome:
        outputs, params, about = self._prepared.outputs, self._request.params, self._prepared.project
        usage, commit = Usage(exit_.max_rss_mb, exit_.cpu_s), self._prepared.commit
        try:
            known = report.About(about.folder, read_begun(outputs.begun), about.suite, self._over)
            found = report.read(outputs.report, known)
        except report.BadReport as bad:
            if not self._over or not known.begun:
                error = verdict.without_report(exit_, str(bad), relative(self.log_text(), about.folder))
                return Outcome(error=error, usage=usage, commit=commit)
            found = unreported.read(outputs.events, known)
        finally:
            _tidy(outputs)
        self.report = found
        failure = verdict.failure(exit_, found, params, retried=self._prepared.left)
        try:
            junit.write(outputs.report.with_name("junit.xml"), found.tests)
        except OSError as error:
            failure = failure or Failure("infra", f"cannot write the artifact junit.xml: {error.strerror}")
        return Outcome(verdict.counts(found), failure, found.tests, usage, commit)

    def _poll(self) -> None:
        self._tell()
        self._timer = asyncio.get_running_loop().call_later(POLL_S, self._poll)

    def _tell(self) -> None:
        news = self._progress.news()
        if news is not None:
            self._request.report(*news)


async def find(request: Request, context: Context) -> project.Project:
    """The project of the tests that `request.params` (AppwrightParams) name; `context.settings` is an
    AppwrightSettings. An upload is unpacked first, into a folder of the attempt's own, which may take its time. Raises
    Rejected and Infra with a sentence."""
    params: AppwrightParams = request.params
    place = Place(request.work_dir / f"upload-{request.attempt}", request.spawn)

    async def run_npm(words: Sequence[str], env: Mapping[str, str], cwd: Path, output: Path) -> Process:
        return await request.spawn(words, env=env, cwd=cwd, output=output)

    how = npm.Npm(run_npm, environment(request.env, context.settings.env), request.output)
    return await project.find(params, context, request.blob, place, how)


async def start(
    request: Request, context: Context, target: Target = PLAIN, found: project.Project | None = None
) -> TestRun:
    """Begin the tests. `found`: their project, where `find` has been asked already. Raises as `find`."""
    found = found or await find(request, context)
    prepared = await asyncio.to_thread(_prepare, request, context, target, found)
    try:
        process = await request.spawn(prepared.argv, env=prepared.env, cwd=found.folder)
    except (OSError, ValueError) as error:
        raise Infra(f"cannot run {prepared.argv[0]}: {error}") from None
    return TestRun(request, prepared, process)


def cache_env(params: AppwrightParams, data_dir: Path, own: Path) -> dict[str, str]:
    """Where Playwright keeps what it has compiled; else that would be left in the machine's temporary folder. It goes
    by the files' places: that of an upload is of use to nobody else, and goes into a folder of its `own`."""
    return {"PWTEST_CACHE_DIR": str((own if isinstance(params.cwd, Blob) else data_dir) / COMPILED)}


def clear(data_dir: Path) -> None:
    """Remove what an earlier life of the queue has left; for a runner's `open`."""
    for path in (data_dir / COMPILED, *data_dir.glob("listing-*")):
        shutil.rmtree(path, ignore_errors=True)
    npm.clear(data_dir)


def artifacts_of(request: Request) -> Path:
    """Where this attempt's artifacts go: those of the attempts of a job lie beside each other."""
    folder = request.artifacts_dir / f"attempt-{request.attempt}"
    folder.mkdir(exist_ok=True)
    return folder


def _prepare(request: Request, context: Context, target: Target, found: project.Project) -> Prepared:
    params: AppwrightParams = request.params
    node = find_node(context.settings, request.env.get("PATH"))
    first = request.job_dir / "begun.json"
    left = remaining(request.previous, read_begun(first))
    kept = artifacts_of(request)
    outputs = wrapper.Outputs(
        report=kept / "report.json",
        begun=request.work_dir / "begun.json" if left else first,
        events=request.work_dir / "events.ndjson",
        tests=kept / "test-results",
        blob=kept / "blob-report",
        blob_name=f"report-{request.job_id}-{request.attempt}.zip",
        videos=kept / "videos",
        progress=request.work_dir / "progress.ndjson",
    )
    if left:
        write_last_run(outputs.tests, left)
    build = target.build or build_of(request, found.folder)
    use = {name: value for name, value in (("build", build), ("device", target.device)) if value}
    config = wrapper.write(request.work_dir, found, params.project, outputs, use)
    argv = [str(node), str(found.cli), "test", found.file_filter, "--config", str(config)]
    argv += _options(params, target, again=bool(left))
    given = {**environment(request.env, variables(params, context.settings)), **target.env}
    env = {**_environment(given, target, node), **cache_env(params, context.data_dir, request.work_dir)}
    # A checkout around the folder that an upload was unpacked into is another one.
    commit = params.commit or (None if isinstance(params.cwd, Blob) else commit_of(found.folder))
    return Prepared(found, argv, env, outputs, len(left or ()), commit)


def chosen(params: AppwrightParams, *, again: bool) -> list[str]:
    """The job's own options. `again`: which tests are to be run is known already, and no share of them is meant."""
    words = ["--project", params.project] if params.project else []  # two words: AppWright looks for them
    if params.grep:
        words.append(f"--grep={params.grep}")
    return words + (_without_shard(params.args) if again else params.args)


def _options(params: AppwrightParams, target: Target, *, again: bool) -> list[str]:
    words = chosen(params, again=again)
    if target.workers is not None:
        words.append(f"--workers={target.workers}")
    return [*words, "--last-failed"] if again else words


def _without_shard(args: Sequence[str]) -> list[str]:
    """The tests that are left are the ones to run, and not a share of them."""
    words = [word for word in args if not word.startswith("--shard=")]
    if "--shard" in words:
        place = words.index("--shard")
        del words[place : place + 2]
    return words


def variables(params: AppwrightParams, settings: AppwrightSettings) -> dict[str, str]:
    """Those of the job, on top of the queue's."""
    return {**settings.env, **params.env}


def _environment(given: Mapping[str, str], target: Target, node: Path) -> dict[str, str]:
    env = without_overrides(given)
    env["PLAYWRIGHT_HTML_OPEN"] = "never"  # else a report is served for ever
    env["PATH"] = os.pathsep.join([*map(str, target.path), *filter(None, [env.get("PATH")]), str(node.parent)])
    if target.preload:
        words = [env.get("NODE_OPTIONS", ""), *(f'--require "{_quoted(path)}"' for path in target.preload)]
        env["NODE_OPTIONS"] = " ".join(filter(None, words))
    return env


def without_overrides(env: Mapping[str, str]) -> dict[str, str]:
    """Of the variables those that leave our reports where they belong."""
    return {name: value for name, value in env.items() if not name.startswith(OVERRIDES)}


def _quoted(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace('"', '\\"')


def _tidy(outputs: wrapper.Outputs) -> None:
    """Playwright's notes to itself, and folders that nothing was put into, are no artifacts."""
    (outputs.tests / ".last-run.json").unlink(missing_ok=True)
    for folder in (outputs.tests, outputs.videos):
        with contextlib.suppress(OSError):
            folder.rmdir()


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None
