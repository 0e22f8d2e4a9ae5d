"""Our sessions at the farm. A test opens and closes its own; what a killed one has left open is closed here."""

import asyncio
import contextlib

from hpcq.plugin.types import Log, State
from hpcq_runners.device_farm.api import FarmError
from hpcq_runners.device_farm.credentials import NoCredentials
from hpcq_runners.device_farm.farm import Farm, Session

LOOKS = 2  # for what a killed attempt left: a request of its last moment may still be under way at the first
QUICK_S = 4.0  # at an attempt's end
STATE = "sessions"


class OurSessions:
    """Sessions are named by the key of the attempt that opened them. Keys are on disk before a session is open."""

    def __init__(self, farm: Farm, state: State, log: Log) -> None:
        self._farm = farm
        self._state = state
        self._log = log
        self._live: set[str] = set()
        self._left: dict[str, int] = {}  # keys whose attempts are over: how many looks are still to be taken
        self._looking = asyncio.Lock()

    async def open(self) -> None:
        """Attempts of earlier lives are over: close what they left."""
        self._left = dict.fromkeys(await self._state.get(STATE) or [], LOOKS)

    async def begin(self, key: str) -> None:
        """This attempt may open sessions from now on."""
        self._live.add(key)
        await self._save()

    async def end(self, key: str, *, clean: bool) -> None:
        """It is over, and nothing of it lives here; `clean`: it has closed its sessions itself."""
        self._live.discard(key)
        if not clean:
            self._left[key] = LOOKS
        await self._save()
        if not clean:
            with contextlib.suppress(TimeoutError):  # then it is done later
                async with asyncio.timeout(QUICK_S):
                    await self.close_left()

    async def close_left(self) -> None:
        """Close what attempts that are over have left open. What cannot be done now is done at the next call."""
        async with self._looking:
            if not self._left:
                return
            looked_for = set(self._left)
            try:
                found = await self._farm.sessions()
            except (FarmError, NoCredentials) as error:
                self._log.warning("sessions left open cannot be closed now: %s", error)
                return
            for session in found:
                key = _key_of(session.name)
                if key in self._left and not await self._close(session):
                    looked_for.discard(key)  # it is looked for again
            for key in looked_for:
                self._left[key] -= 1
                if self._left[key] <= 0:
                    del self._left[key]
            await self._save()

    async def _close(self, session: Session) -> bool:
        """Whether there is nothing more to be done: it is closed, or the farm will not have it."""
        try:
            await self._farm.close(session.id)
        except (FarmError, NoCredentials) as error:
            self._log.warning(
                "session %s, which %s left open, cannot be closed now: %s", session.id, session.name, error
            )
            return isinstance(error, FarmError) and error.kind == "refused"
        self._log.info("closed session %s, which %s had left open", session.id, session.name)
        return True

    async def _save(self) -> None:
        await self._state.put(STATE, sorted(self._live | self._left.keys()))


def _key_of(name: str) -> str:
    """A session is called by its attempt's key, and then maybe a test's title."""
    return name.partition(" ")[0]
