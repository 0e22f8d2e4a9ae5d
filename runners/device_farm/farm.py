"""What the runner needs of a farm: a few calls. `browserstack.py` and `lambdatest.py` have them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from hpcq_runners.device_farm.settings import FarmDevice

Framework = Literal["espresso", "xcuitest", "maestro"]
Purpose = Literal["app", "espresso", "xcuitest", "maestro"]  # of an upload: a build, or a framework's test suite


@dataclass(frozen=True, slots=True)
class Plan:
    """How many sessions the account may have at a time, and has now, those of others included."""

    allowed: int
    running: int


@dataclass(frozen=True, slots=True)
class Session:
    """A session that is open."""

    id: str
    name: str


class Farm(Protocol):
    """A farm. Every call raises FarmError and NoCredentials."""

    title: ClassVar[str]  # for people
    variables: ClassVar[tuple[str, str]]  # that hold the user and the key
    scheme: ClassVar[str]  # of the addresses of its uploads
    builds: "Builds | None"  # None: it takes no farm builds, as far as we know it

    async def plan(self) -> Plan: ...

    async def upload(self, source: Path | str, name: str, purpose: Purpose) -> str:
        """Give it a file, or the address of one; its own address of the copy."""

    async def sessions(self) -> list[Session]:
        """All that are open, those of others included."""

    async def close(self, session_id: str) -> None:
        """End a session; one that is over stays so."""

    def hosts(self) -> Mapping[str, str]:
        """Where tests that ask for these hosts are to be sent: the addresses that the settings give."""

    def device(self, device: FarmDevice) -> dict[str, Any]:
        """A device as `use.device` of AppWright has it."""


@dataclass(frozen=True, slots=True)
class BuildState:
    """A farm build, as its status call shows it. `status` is the farm's own word."""

    status: str
    duration_s: float | None
    counts: Mapping[str, int]  # of test cases, by the farm's words: passed, failed, skipped, …
    sessions: tuple[tuple[str, str, str], ...]  # (id, device, status)


class Builds(Protocol):
    """Test suites that the farm runs by itself."""

    async def submit(self, framework: Framework, body: Mapping[str, Any], key: str) -> str:
        """Begin one and name it by the key; its id."""

    async def find(self, framework: Framework, key: str) -> str | None:
        """The id of the one with that name, if it is among the recent ones."""

    async def state(self, framework: Framework, build: str) -> BuildState: ...

    async def cases(self, framework: Framework, build: str, session: str) -> list[dict[str, Any]]:
        """A session's test cases: {"class", "name", "status", "duration"}."""

    async def stop(self, framework: Framework, build: str) -> None:
        """End one; one that is over stays so."""

    def page(self, build: str) -> str:
        """Where people see it."""
