"""One command under way: how it is started, watched, stopped, and what its end means."""

import asyncio
import signal
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from hpcq.plugin import Exit, Failure, Outcome, Process, Request, Usage
from hpcq_runners import artifacts
from hpcq_runners.command_params import CommandParams
from hpcq_runners.reports import BadResult, Progress, read_result, read_tail

NOT_EXECUTABLE, NOT_FOUND = 126, 127  # as a shell has it
POLL_S = 0.5  # how often the progress file is looked at
GPU_ITEMS, GPUS = "HPCQ_RESOURCE_GPU", "CUDA_VISIBLE_DEVICES"


class Command:
    """The attempt's command. `outcome` is had once, and goes on when whoever waits for it stops waiting."""

    def __init__(self, request: Request, process: Process) -> None:
        self._request = request
        self._process = process
        self._progress = Progress(Path(request.env["HPCQ_PROGRESS"]))
        self._timer = asyncio.get_running_loop().call_later(POLL_S, self._poll)
        self.outcome = asyncio.ensure_future(self._see_through())

    @property
    def pid(self) -> int:
        return self._process.pid

    async def stop(self, grace_s: float) -> None:
        """SIGTERM to the tree, SIGKILL after the grace; after the end: nothing."""
        await self._process.terminate(grace_s)

    async def _see_through(self) -> Outcome:
        try:
            exit_ = await self._process.wait()
        finally:
            self._timer.cancel()
        self._report()
        failures = [failure_of(exit_)]
        result = None
        try:
            result = read_result(Path(self._request.env["HPCQ_RESULT"]))
        except BadResult as bad:
            failures.append(Failure("exception", str(bad)))
        if result is None:
            result = {"exit_code": exit_.code, "tail": read_tail(self._request.output)}
        failures.append(await self._keep_artifacts())
        error = next((failure for failure in failures if failure is not None), None)
        return Outcome(result, error, usage=Usage(exit_.max_rss_mb, exit_.cpu_s))

    async def _keep_artifacts(self) -> Failure | None:
        """Also of a command that failed: its screenshots tell why."""
        params: CommandParams = self._request.params
        if not params.artifacts:
            return None
        source = Path(params.cwd) if params.cwd else self._request.work_dir
        keep = partial(artifacts.keep, source, params.artifacts, self._request.artifacts_dir, move=params.cwd is None)
        try:
            await asyncio.to_thread(keep)
        except artifacts.NotKept as error:
            return Failure("infra" if error.infra else "exception", str(error))
        return None

    def _poll(self) -> None:
        self._report()
        self._timer = asyncio.get_running_loop().call_later(POLL_S, self._poll)

    def _report(self) -> None:
        news = self._progress.news()
        if news is not None:
            self._request.report(*news)


async def start(request: Request, extra: Mapping[str, str] = {}) -> Command | Failure:
    """Start the request's command; a Failure says why it cannot be started. Raises Infra.

    `extra`: variables of its slot, which win over the job's own.
    """
    params: CommandParams = request.params
    argv = ["/bin/sh", "-c", params.command] if isinstance(params.command, str) else params.command
    cwd = params.cwd or str(request.work_dir)
    stdin = params.stdin.encode() or None
    try:
        env = {**environment(request.env, params.env), **extra}
        process = await request.spawn(argv, env=env, cwd=cwd, stdin=stdin)
    except (OSError, ValueError) as error:
        return refusal(error, argv[0], cwd)
    return Command(request, process)


def environment(given: Mapping[str, str], own: Mapping[str, str]) -> Mapping[str, str]:
    """The job's variables on top of the server's, below the attempt's own and those of the resources it was given."""
    if not own:
        return given
    fixed = {name: value for name, value in given.items() if name.startswith("HPCQ_")}
    if GPU_ITEMS in given:
        fixed[GPUS] = given[GPUS]
    return {**given, **own, **fixed}


def failure_of(exit_: Exit) -> Failure | None:
    """None: it succeeded."""
    if exit_.signal is not None:
        return Failure("signal", f"killed by {signal_name(exit_.signal)}", signal=exit_.signal)
    if exit_.code:
        return Failure("exit", f"exit code {exit_.code}", exit_code=exit_.code)
    return None


def signal_name(number: int) -> str:
    """SIGKILL for 9; real-time signals have no names of their own."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def refusal(error: OSError | ValueError, program: str, cwd: str) -> Failure:
    """What it means that a program could not be started, in a shell's exit codes."""
    if not isinstance(error, OSError):
        return Failure("exit", f"cannot run {program}: {error}", exit_code=NOT_EXECUTABLE)
    if isinstance(error, NotADirectoryError) and error.filename == cwd:
        return Failure("exit", f"cwd {cwd} {error.strerror}")
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        return Failure("exit", f"cannot run {program}: {error.strerror}", exit_code=NOT_EXECUTABLE)
    if "/" in str(error.filename) and Path(cwd, error.filename).exists():
        message = f"cannot run {program}: the interpreter that its first line names is missing"
        return Failure("exit", message, exit_code=NOT_FOUND)
    where = "" if "/" in program else "; it is in no folder of the job's PATH"
    return Failure("exit", f"program not found: {program}{where}", exit_code=NOT_FOUND)
