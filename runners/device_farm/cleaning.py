"""The credentials are taken out of what an attempt left: at its end, and after the server's death by the next life."""

import asyncio
import contextlib
from pathlib import Path

from hpcq.plugin import Request
from hpcq.plugin.types import Log, State
from hpcq_runners.device_farm.account import Account
from hpcq_runners.device_farm.credentials import Credentials, NoCredentials
from hpcq_runners.device_farm.filtered import PRINTED

STATE = "unclean"


class Cleaning:
    """Notes, before an attempt's tests begin, where they may write the credentials that they are given."""

    def __init__(self, account: Account, state: State, log: Log) -> None:
        self._account = account
        self._state = state
        self._log = log
        self._noted: dict[str, tuple[str, str]] = {}  # by the attempt's key: what it printed, its artifacts
        self._left: set[str] = set()  # keys of earlier lives

    async def open(self) -> None:
        """What earlier lives did not come to."""
        self._noted = {key: (printed, artifacts) for key, (printed, artifacts) in (await self._kept()).items()}
        self._left = set(self._noted)

    async def begin(self, request: Request) -> Path:
        """From now on it may write them; the file that it is to print into."""
        printed = request.work_dir / PRINTED
        self._noted[request.key] = (str(printed), str(request.artifacts_dir))
        await self._save()
        return printed

    async def end(self, key: str, credentials: Credentials) -> None:
        """Nothing of it writes any more."""
        printed, artifacts = self._noted[key]
        await asyncio.to_thread(self._clean, Path(printed), Path(artifacts), credentials)
        del self._noted[key]
        await self._save()

    async def clean_left(self) -> None:
        """Do what earlier lives did not come to. What cannot be done now is done at the next call."""
        with contextlib.suppress(NoCredentials):
            for key in sorted(self._left):
                await self.end(key, self._account.credentials())
                self._left.discard(key)

    def _clean(self, printed: Path, artifacts: Path, credentials: Credentials) -> None:
        def lost(path: Path, error: Exception) -> None:
            where, why = credentials.hide(str(path)), credentials.hide(f"{type(error).__name__}: {error}")
            self._log.warning("removed %s: whether it holds the farm's credentials cannot be seen: %s", where, why)

        credentials.hide_in_files(artifacts, lost)
        with contextlib.suppress(OSError):
            printed.unlink(missing_ok=True)

    async def _kept(self) -> dict[str, tuple[str, str]]:
        return await self._state.get(STATE) or {}

    async def _save(self) -> None:
        await self._state.put(STATE, self._noted)
