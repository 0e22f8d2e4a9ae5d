"""Finds runners by the entry-point group `hpcq.runners`.

A wrong or broken one is reported, and never takes the server down.
"""

from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pydantic import TypeAdapter

from hpcq.plugin import Runner

GROUP = "hpcq.runners"
API_MAJOR = Runner.API_VERSION.split(".")[0]
OURS = "hpcq"  # the distribution whose runners share the server's loop


@dataclass(frozen=True, slots=True)
class Found:
    """One entry point: a runner class, or why there is none."""

    name: str
    distribution: str
    version: str
    runner: type[Runner] | None = None
    problem: str | None = None

    @property
    def foreign(self) -> bool:
        """Another distribution's: it runs on a thread of its own unless it chose otherwise."""
        return self.distribution != OURS


def find_runners() -> dict[str, Found]:
    """All runners that are installed, by name. Two of one name: both are refused."""
    found: dict[str, Found] = {}
    for point in entry_points(group=GROUP):
        this = _load(point)
        other = found.get(point.name)
        if other is not None and other.distribution != this.distribution:
            problem = f"two distributions offer it: {other.distribution} and {this.distribution}; uninstall one"
            this = Found(point.name, this.distribution, this.version, problem=problem)
        found[point.name] = this
    return found


def _load(point: EntryPoint) -> Found:
    distribution = point.dist.name if point.dist else "unknown"
    version = point.dist.version if point.dist else "?"
    try:
        thing = point.load()
    except BaseException as error:  # a plugin's module may raise anything, SystemExit included
        if isinstance(error, KeyboardInterrupt):
            raise
        problem = f"importing {point.value} raised {type(error).__name__}: {error}"
        return Found(point.name, distribution, version, problem=problem)
    wrong = wrong_with(thing)
    return Found(point.name, distribution, version, None if wrong else thing, wrong)


def wrong_with(thing: Any) -> str | None:
    """What keeps `thing` from being a runner class, or None."""
    if not (isinstance(thing, type) and issubclass(thing, Runner)):
        return f"{thing!r} is not a subclass of hpcq.plugin.Runner"
    version = str(getattr(thing, "API_VERSION", ""))
    if version.partition(".")[0] != API_MAJOR:
        return (
            f"it speaks runner API {version or 'unknown'}, this server {Runner.API_VERSION}; install a matching version"
        )
    missing = [name for name in ("start", "wait", "stop") if getattr(thing, name) is getattr(Runner, name)]
    if missing:
        return f"it does not define {', '.join(missing)}"
    try:
        TypeAdapter(thing.params).json_schema()
        thing.settings.model_json_schema()
    except Exception as error:
        return f"its params or settings have no JSON schema: {error}"
    return None
