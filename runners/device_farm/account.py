"""The account at the farm: its credentials, and what happens when the farm does not take them."""

from hpcq.plugin import Context
from hpcq_runners.device_farm import credentials
from hpcq_runners.device_farm.credentials import Credentials, NoCredentials
from hpcq_runners.device_farm.settings import DeviceFarmSettings

STATE = "refused"


class Account:
    """Read anew each time: a changed file counts at once, a changed environment after a restart."""

    def __init__(self, context: Context, title: str, variables: tuple[str, str]) -> None:
        self._context = context
        self._title = title
        self._variables = variables
        self._refused: str | None = None  # the account that the farm refused last

    async def open(self) -> None:
        """Remember what earlier lives were told."""
        self._refused = await self._context.state.get(STATE)

    def credentials(self) -> Credentials:
        """Raises NoCredentials."""
        settings: DeviceFarmSettings = self._context.settings
        return credentials.find(self._variables, settings.credentials_file, self._title)

    @property
    def reason(self) -> str:
        """Why the queue is paused, once the farm has refused the credentials."""
        settings: DeviceFarmSettings = self._context.settings
        if settings.credentials_file:
            mend = f"correct them in {settings.credentials_file} and the queue goes on by itself"
        else:
            mend = f"correct {' and '.join(self._variables)} for the server and restart it"
        resume = f"if they are right, run: hpcq queues resume {self._context.queue}"
        return f"{self._title} refused the credentials (401); {mend}; {resume}"

    @property
    def changed(self) -> bool:
        """There are other credentials than those that the farm refused."""
        try:
            return self._refused is not None and self.credentials().account != self._refused
        except NoCredentials:
            return False

    async def refused(self) -> None:
        """The farm said 401: nothing can be run until somebody acts."""
        try:
            account = self.credentials().account
        except NoCredentials:
            return
        self._context.pause(self.reason)
        if account != self._refused:
            self._refused = account
            await self._context.state.put(STATE, account)

    async def accepted(self) -> None:
        """The farm has answered. Other credentials than those it refused end the pause; for the same, somebody must."""
        if self._refused is None:
            return
        if self.changed:
            self._context.resume(self.reason)
        self._refused = None
        await self._context.state.put(STATE, None)
