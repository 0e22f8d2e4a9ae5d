"""Settings: defaults < TOML file < environment (`HPCQ_SERVER__PORT`) < flags. An unknown key is an error."""

import difflib
import math
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from hpcq import wording

# Variables that begin with HPCQ_ and are no settings: the client's, and what a job sees.
NOT_SETTINGS = frozenset(
    f"HPCQ_{name}"
    for name in (
        "URL",
        "TOKEN",
        "JOB_ID",
        "ATTEMPT",
        "QUEUE",
        "SLOT",
        "ARTIFACTS",
        "RESULT",
        "PROGRESS",
        "JOB_DIR",
        "APP_URL",
        "FARM",
    )
)


class ConfigError(Exception):
    """The configuration cannot be used; each line says where, what was found and what to do."""


class Part(BaseModel):
    """One table of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Server(Part):
    host: str = Field(default="127.0.0.1", description="Address to listen on; any but loopback needs tokens")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one")
    data_dir: Path | None = Field(
        default=None, description="Where everything is kept; unset: $STATE_DIRECTORY, else $XDG_STATE_HOME/hpcq"
    )
    same_user: bool = Field(default=True, description="On loopback, processes of the same user need no token")
    allowed_hosts: tuple[str, ...] = Field(
        default=(), description="Further names by which browsers may call this server"
    )
    compat: bool = Field(default=True, description="Also answer clients of four earlier systems: docs/fronts.md")
    drain_grace_s: float = Field(default=10.0, ge=0, description="How long running jobs may go on after SIGTERM")
    log_level: str = Field(
        default="info", pattern="^(debug|info|warning|error)$", description="debug, info, warning or error"
    )


class Retries(Part):
    max: int = Field(default=0, ge=0, le=1000, description="How many times a failed job is tried again")
    backoff_s: float = Field(default=1.0, ge=0, le=86400, description="The first pause")
    factor: float = Field(default=2.0, ge=1, le=10, description="Each further pause is that many times longer")
    max_backoff_s: float = Field(default=60.0, ge=0, le=86400, description="No pause is longer")
    jitter: bool = Field(default=True, description="Draw each pause between 0 and its full length")


def _retries(value: Any) -> Any:
    return {"max": value} if isinstance(value, int) and not isinstance(value, bool) else value


class Queue(Part):
    """A queue; keys that are not listed here belong to its runner."""

    model_config = ConfigDict(extra="allow", frozen=True)

    runner: str = Field(description="The runner that knows how to run its jobs")
    slots: int | None = Field(
        default=None, ge=0, le=10000, description="Jobs at a time; unset: one per core, or what the runner finds"
    )
    batch_size: int = Field(default=3, ge=1, le=1000, description="Jobs of one session key in a row while others wait")
    lease_s: float = Field(
        default=30.0, ge=0.5, le=3600, description="An attempt that is silent for longer is stopped, requeued"
    )
    timeout_s: float | None = Field(default=None, gt=0, description="For jobs that give none; unset: no limit")
    grace_s: float = Field(default=3.0, ge=0, le=600, description="Between SIGTERM and SIGKILL")
    prepare_timeout_s: float = Field(
        default=600.0, gt=0, description="For booting and installing, before the job's own time"
    )
    idle_s: float = Field(default=300.0, ge=0, description="A session without work for longer is released")
    paused: bool = Field(default=False, description="Take jobs but start none")
    retries: Annotated[Retries, BeforeValidator(_retries)] = Field(
        default=Retries(), description="For jobs that give none: a number, or a table as in a job"
    )

    @property
    def runner_settings(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class Limits(Part):
    body_bytes: int = Field(default=1 << 20, ge=1024, description="A request's body")
    bulk_bytes: int = Field(default=64 << 20, ge=1024, description="The body of a submit of many jobs")
    bulk_jobs: int = Field(default=100_000, ge=1, description="Jobs in one submit")
    waiting_jobs: int = Field(default=2_000_000, ge=1, description="Unfinished jobs in all; more are refused with 429")
    blob_bytes: int = Field(default=4 << 30, ge=1024, description="An uploaded file")
    output_bytes: int = Field(default=256 << 20, ge=1024, description="Output kept of one attempt")
    connections: int = Field(default=512, ge=1, description="Open connections")
    events_per_client: int = Field(default=1000, ge=1, description="Events a slow stream reader may lag behind")


class Retention(Part):
    jobs_days: float = Field(default=90, ge=0, description="Finished jobs are kept so long")
    events: int = Field(default=1_000_000, ge=1000, description="Events kept for resuming streams")
    artifacts_days: float = Field(default=14, ge=0, description="Outputs and artifacts are kept so long")
    blobs_days: float = Field(
        default=30, ge=0, description="Uploaded files are kept so long after they were last asked for or needed"
    )
    tests_days: float = Field(default=180, ge=0, description="The runs in the history of tests are kept so long")
    disk_mb: int | None = Field(
        default=None,
        ge=1,
        description="Outputs and artifacts beyond this go, oldest first; uploads do not count; unset: no cap",
    )


class Jobs(Part):
    env_deny: tuple[str, ...] = Field(
        default=(), description="Variables of the server that no job may see; * is a wildcard"
    )


def builtin_queues() -> dict[str, dict[str, Any]]:
    """The queues that exist with no configuration."""
    cores = os.cpu_count() or 1
    return {
        "local": {"runner": "shell", "slots": cores},
        "compute": {"runner": "matrix", "slots": cores},
        "emulator": {"runner": "adb", "grace_s": 10.0, "timeout_s": 1800.0, "retries": {"max": 3}},
        "device_farm": {"runner": "device_farm", "grace_s": 15.0, "timeout_s": 1800.0, "retries": {"max": 3}},
        "noop": {"runner": "noop", "slots": 16},
    }


def _with_builtin(queues: Any) -> Any:
    if not isinstance(queues, Mapping):
        return queues
    merged = builtin_queues()
    for name, table in queues.items():
        merged[name] = {**merged.get(name, {}), **table} if isinstance(table, Mapping) else table
    return merged


ResourceTotal = float | tuple[str, ...]
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")  # it becomes a folder, a variable, a label
ITEM = re.compile(r"[^,\s\x00]{1,200}")  # a job gets several of them in one variable, with commas
ITEMS_MOST = 10_000


def _name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise ValueError("is no name: letters, digits, _ . and -, a letter in front, at most 64")
    return text


def _total(value: Any) -> ResourceTotal:
    """By hand, because a union of pydantic's names its branches in its errors."""
    if isinstance(value, list | tuple):
        if len(value) > ITEMS_MOST or not all(isinstance(item, str) and ITEM.fullmatch(item) for item in value):
            raise ValueError(f"must be at most {ITEMS_MOST} texts without spaces and commas")
        if len(set(value)) < len(value):
            raise ValueError("names an item twice; each is one thing that one job can have")
        return tuple(value)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("must be a count, or a list of items")
    count = float(value)
    if not 0 <= count < math.inf:
        raise ValueError("must be a count of 0 or more")
    return count


Name = Annotated[str, AfterValidator(_name)]
Total = Annotated[ResourceTotal, PlainValidator(_total)]


class Settings(BaseSettings):
    """Everything that can be configured."""

    model_config = SettingsConfigDict(env_prefix="HPCQ_", env_nested_delimiter="__", extra="forbid", frozen=True)

    server: Server = Server()
    jobs: Jobs = Jobs()
    limits: Limits = Limits()
    retention: Retention = Retention()
    resources: dict[Name, Total] = Field(
        default={},
        description="What jobs can ask for: a count, or a list of items; cpus and memory_mb are detected when absent",
    )
    queues: Annotated[dict[Name, Queue], BeforeValidator(_with_builtin)] = Field(default={}, validate_default=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (env_settings, init_settings)


def find_file(explicit: Path | None) -> Path | None:
    """The configuration file in use, or None. An explicit one must exist."""
    if explicit is not None:
        if not explicit.is_file():
            raise ConfigError(f"{explicit}: no such file; give the path of a TOML file to --config")
        return explicit
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    candidates = (Path("hpcq.toml"), home / "hpcq" / "hpcq.toml", Path("/etc/hpcq/hpcq.toml"))
    return next((path for path in candidates if path.is_file()), None)


def load(path: Path | None = None, flags: Mapping[str, Mapping[str, Any]] | None = None) -> Settings:
    """The settings from the file at `path` (or the one that is found), the environment and `flags` (by table).

    Raises ConfigError with a line for each thing that is wrong.
    """
    file = find_file(path)
    tables = _read(file) if file else {}
    problems = [_unknown_variable(name) for name in _unknown_variables()]
    if problems:
        raise ConfigError("\n".join(problems))
    try:
        settings = Settings(**tables)
    except ValidationError as error:
        raise ConfigError("\n".join(_sentences(error, file))) from None
    return _with_flags(settings, flags or {})


def _with_flags(settings: Settings, flags: Mapping[str, Mapping[str, Any]]) -> Settings:
    changes: dict[str, Any] = {}
    for table, values in flags.items():
        given = {key: value for key, value in values.items() if value is not None}
        part: BaseModel = getattr(settings, table)
        try:
            changes[table] = type(part)(**{**part.model_dump(), **given})
        except ValidationError as error:
            raise ConfigError("\n".join(_sentences(error, None))) from None
    return settings.model_copy(update=changes)


def data_dir(settings: Settings) -> Path:
    """The folder in which everything is kept."""
    if settings.server.data_dir:
        return settings.server.data_dir.expanduser().absolute()
    if state := os.environ.get("STATE_DIRECTORY"):
        return Path(state.split(":")[0])
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "hpcq"


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from None
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from None


def _unknown_variables() -> Iterator[str]:
    known = {f"HPCQ_{name.upper()}" for name in Settings.model_fields}
    for name in os.environ:
        if name.startswith("HPCQ_") and not name.startswith("HPCQ_RESOURCE_") and name not in NOT_SETTINGS:
            table = name.split("__")[0]
            if table not in known or not _names_a_setting(name):
                yield name


def _names_a_setting(variable: str) -> bool:
    table, *rest = variable.removeprefix("HPCQ_").lower().split("__")
    if table in ("queues", "resources") or not rest:
        return True
    part = Settings.model_fields[table].annotation
    return isinstance(part, type) and issubclass(part, BaseModel) and rest[0] in part.model_fields


def _unknown_variable(name: str) -> str:
    parts = {t: f.annotation for t, f in Settings.model_fields.items()}
    known = [
        f"HPCQ_{table}__{key}".upper()
        for table, part in parts.items()
        if isinstance(part, type) and issubclass(part, BaseModel)
        for key in part.model_fields
    ]
    return f"environment: {name} is not a setting{_nearest(name, known)}"


def _nearest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else f"; known are {', '.join(sorted(known))}"


def _sentences(error: ValidationError, file: Path | None) -> Iterator[str]:
    for problem in error.errors(include_url=False):
        place = ".".join(str(part) for part in problem["loc"] if part != "[key]")
        where = f"{file}: {place}" if file else place
        if problem["type"] == "extra_forbidden":
            yield f"{where} is not a setting{_nearest(str(problem['loc'][-1]), _known_beside(problem['loc']))}"
        else:
            yield f"{where}: {wording.said(problem)}"


def _known_beside(loc: tuple[int | str, ...]) -> list[str]:
    model: Any = Settings
    for part in loc[:-1]:
        if model is Settings and part == "queues":
            return list(Queue.model_fields)
        field = model.model_fields.get(part)
        model = field.annotation if field else None
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            return []
    return list(model.model_fields)
