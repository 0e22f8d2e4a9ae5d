"""Which farm builds may be at the farm: so that none is lost when an answer, or the server, is."""

import time
from typing import NamedTuple

from hpcq.plugin.types import Log, State
from hpcq_runners.device_farm.api import FarmError
from hpcq_runners.device_farm.credentials import NoCredentials
from hpcq_runners.device_farm.farm import Builds, Farm, Framework

STATE = "builds"
KEPT_S = 3 * 86_400.0  # a note of a build that nobody came back to
LATE_S = 600.0  # so long after it was submitted a build may still turn up at the farm


class Note(NamedTuple):
    """A build that is at the farm, or may be; `at` is wall time, `unwanted`: to be stopped."""

    framework: Framework
    build: str | None
    at: float
    unwanted: bool = False

    @property
    def age_s(self) -> float:
        return time.time() - self.at


class Notes:
    """Which builds may be at the farm: noted before they are submitted, by the attempt's key."""

    def __init__(self, farm: Farm, state: State, log: Log) -> None:
        self._farm = farm
        self._state = state
        self._log = log
        self._known: dict[str, Note] = {}

    async def open(self) -> None:
        """Those of earlier lives."""
        kept = await self._state.get(STATE) or {}
        notes = {key: Note(*note) for key, note in kept.items()}
        self._known = {key: note for key, note in notes.items() if note.age_s < KEPT_S}

    async def note(self, key: str, framework: Framework, build: str | None) -> None:
        self._known[key] = Note(framework, build, time.time())
        await self._save()

    async def drop(self, key: str) -> None:
        """It is over."""
        if self._known.pop(key, None) is not None:
            await self._save()

    async def find(self, key: str, builds: Builds) -> str | None:
        """The build of an attempt of an earlier life. Where it is not found, it is looked for later, to be stopped."""
        if key not in self._known:
            return None
        note = self._known[key]
        if note.build is not None:
            return note.build
        try:
            build = await builds.find(note.framework, key)
        except (FarmError, NoCredentials) as error:
            self._log.warning("the build of %s cannot be looked for now: %s", key, error)
            build = None
        if build is None:
            await self.give_up(key)
        else:
            await self.note(key, note.framework, build)
        return build

    async def give_up(self, key: str) -> None:
        """It may still run at the farm, or come to, and nobody wants it."""
        if key in self._known:
            self._known[key] = self._known[key]._replace(unwanted=True)
            await self._save()

    async def stop_strays(self) -> None:
        """Stop what nobody wants. What cannot be done now is done at the next call."""
        builds = self._farm.builds
        if builds is None:
            return
        for key in sorted(key for key, note in self._known.items() if note.unwanted):
            note = self._known.get(key)
            if note is None:  # somebody else has just stopped it
                continue
            try:
                build = note.build or await builds.find(note.framework, key)
                if build:
                    await builds.stop(note.framework, build)
            except (FarmError, NoCredentials) as error:
                self._log.warning("the build of %s cannot be stopped now: %s", key, error)
                continue
            if build or note.age_s > LATE_S:
                await self.drop(key)

    async def _save(self) -> None:
        await self._state.put(STATE, {key: list(note) for key, note in self._known.items()})
