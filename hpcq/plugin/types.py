"""What passes between the server and a runner. Frozen; times in seconds, sizes in MiB."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

JSON = Any  # what json.loads can return
Handle = dict[str, JSON]  # at most 64 KiB of JSON

FailureType = Literal["exit", "signal", "timeout", "oom", "rejected", "exception", "infra"]
TestStatus = Literal["passed", "failed", "flaky", "skipped"]


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended: `code`, or the `signal` that killed it; its peak memory and CPU, children included."""

    code: int | None
    signal: int | None
    max_rss_mb: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed."""

    type: FailureType
    message: str
    exit_code: int | None = None
    signal: int | None = None
    retry_after_s: float | None = None  # at least this long before the next try; at most a year
    worker_died: bool = False  # the runner's own worker, not the job's command, was killed; three in a row are the end


@dataclass(frozen=True, slots=True)
class Usage:
    """What an attempt used."""

    max_rss_mb: float | None = None
    cpu_s: float | None = None


@dataclass(frozen=True, slots=True)
class TestCase:
    """The verdict on one test of a test job. `id` is stable over runs: the server keeps the history by it.

    Two projects may have tests of the same id: a `suite`, such as the project's name, keeps them apart.
    """

    __test__ = False  # not one of pytest's

    id: str
    title: str
    file: str
    line: int
    status: TestStatus
    duration_s: float
    retries: int = 0
    error: str | None = None
    suite: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended: a `result` (JSON, at most 64 KiB), or an `error`."""

    result: JSON = None
    error: Failure | None = None
    tests: Sequence[TestCase] = ()
    usage: Usage | None = None
    commit: str | None = None  # the git commit that the tests were run on, if the runner knows


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a runner could run a job now; if not, what is missing and what mends it."""

    ready: bool
    message: str = ""


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot that a runner offers with `context.set_slots`.

    A slot with a `device` is shown by `GET /v1/devices`: small JSON, such as {"serial", "avd", "battery", "app"}.
    """

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    state: Literal["ready", "held"] = "ready"
    reason: str = ""
    device: Mapping[str, JSON] | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """One of the jobs that a job with `split` becomes: the `file` its tests are in, and the params that run it.

    `suite`: what its `TestCase`s will say.
    """

    file: str
    params: Mapping[str, JSON]
    suite: str = ""


class Process(Protocol):
    """A child that the server started for a runner; it and all below it die with their scope."""

    @property
    def pid(self) -> int: ...

    async def wait(self) -> Exit:
        """Its end. May be called any number of times; cancelling it never stops the process."""

    async def terminate(self, grace_s: float) -> None:
        """SIGTERM to its tree now, SIGKILL after `grace_s`. Twice, or after its end: nothing happens."""


class Spawn(Protocol):
    """Starts a child. It never inherits a descriptor of the server; stdin is empty unless given."""

    async def __call__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | str | None = None,
        stdin: bytes | Path | None = None,
        output: Path | None = None,
    ) -> Process:
        """Raises FileNotFoundError or PermissionError as exec would, NotADirectoryError for a bad cwd.

        `env` is the whole environment; None means the scope's own (`request.env`). `output` takes stdout and
        stderr, appended; None means the scope's own (`request.output`).
        """


class State(Protocol):
    """Small JSON values that a runner keeps over restarts, one store for each queue."""

    async def get(self, key: str) -> JSON: ...
    async def put(self, key: str, value: JSON) -> None: ...


class Log(Protocol):
    """A part of logging.Logger."""

    def info(self, message: str, *args: object) -> None: ...
    def warning(self, message: str, *args: object) -> None: ...
    def error(self, message: str, *args: object) -> None: ...


class SlotView(Protocol):
    """The slot that a session lives on."""

    @property
    def name(self) -> str: ...
    @property
    def labels(self) -> Mapping[str, str]: ...
    @property
    def spawn(self) -> Spawn:
        """Its children live as long as the slot's session."""


class Context(Protocol):
    """A queue, as its runner sees it; given to `open` and valid until `close` has returned. Thread-safe."""

    @property
    def queue(self) -> str: ...
    @property
    def settings(self) -> Any:
        """An instance of the runner's `settings` model."""

    @property
    def data_dir(self) -> Path:
        """A folder of the queue's own, kept over restarts."""

    @property
    def state(self) -> State: ...
    @property
    def spawn(self) -> Spawn:
        """Its children live until `close`."""

    @property
    def log(self) -> Log: ...
    def set_slots(self, slots: Sequence[Slot]) -> None:
        """Offer exactly these slots from now on; the config's `slots` caps them.

        Never called: as many as the config says. Raises TypeError, ValueError for what is no list of distinct slots.
        """

    def pause(self, reason: str) -> None:
        """Pause the queue, with a sentence that says why; somebody has to resume it. Raises TypeError."""

    def resume(self, reason: str) -> None:
        """End the pause that was asked for with this very sentence; one that somebody else asked for stays."""


class Request(Protocol):
    """One attempt, as its runner sees it. Thread-safe."""

    @property
    def key(self) -> str:
        """`server-job-attempt`, saved before `start`: the name to give to a remote's work."""

    @property
    def job_id(self) -> str: ...
    @property
    def attempt(self) -> int: ...
    @property
    def params(self) -> Any:
        """An instance of the runner's `params` model."""

    @property
    def resources(self) -> Mapping[str, float]: ...
    @property
    def slot(self) -> SlotView: ...
    @property
    def work_dir(self) -> Path:
        """This attempt's own folder; gone at its end."""

    @property
    def job_dir(self) -> Path:
        """Kept over attempts, for checkpoints."""

    @property
    def artifacts_dir(self) -> Path: ...
    @property
    def output(self) -> Path:
        """The attempt's output file; append only."""

    @property
    def deadline(self) -> float | None:
        """Wall time at which the server will stop the attempt; None: never."""

    @property
    def previous(self) -> Sequence[Outcome]:
        """The outcomes of earlier attempts, oldest first."""

    @property
    def env(self) -> Mapping[str, str]:
        """The whole environment of the job's children."""

    @property
    def spawn(self) -> Spawn:
        """Its children live until the attempt's end."""

    def artifact(self, job_id: str, name: str) -> Path:
        """The file of an artifact of an earlier job that this one depends on. Raises FileNotFoundError."""

    def blob(self, name: str) -> Path:
        """An uploaded file that the params name: by its SHA-256, or by the `app_version_id` it had at submit.

        Read only. Raises FileNotFoundError for what was never uploaded, or was not named by the params; with a
        `filename` for what was uploaded, and is gone.
        """

    def report(self, done: float, total: float | None = None, message: str = "") -> None:
        """Progress; at most one a second is passed on."""
