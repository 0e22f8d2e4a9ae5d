"""Keywords about the server itself."""

import asyncio
import signal

from robot.api.deco import keyword

from .house import GONE_S, House
from .session import Session


class Serving(Session):
    """Start, stop, kill."""

    @keyword
    async def start_server(self, *options: str, config: str = "") -> str:
        """Start a server on a free port with a data folder of its own; returns its address.

        ``options`` are those of ``hpcq serve``, such as ``--rehearse``. ``config`` is the text of its configuration
        file: TOML.
        """
        self._house = House(config, options)
        url = await asyncio.to_thread(self._house.start)
        await self.connect(url)
        return url

    @keyword
    async def use_server(self, url: str, token: str | None = None) -> None:
        """Talk to a server that somebody else has started, and will stop."""
        await self.connect(url, token)

    @keyword
    async def stop_server(self) -> int:
        """SIGTERM, and wait for the end; returns the exit status."""
        await self.disconnect()
        return await asyncio.to_thread(self.house.end, signal.SIGTERM)

    @keyword
    async def kill_server(self) -> None:
        """``kill -9``: nothing is said, nothing is put away. None of its processes is alive 5 s later."""
        await self.disconnect()
        await asyncio.to_thread(self.house.end, signal.SIGKILL)
        self._none_alive(await asyncio.to_thread(self.house.survivors))

    @keyword
    async def start_server_again(self) -> str:
        """Start the server that was stopped or killed: the same data folder, the same port."""
        url = await asyncio.to_thread(self.house.start)
        await self.connect(url)
        return url

    @keyword
    async def nothing_should_be_left(self) -> None:
        """Of the stopped server and its jobs there is no process, no open port, no temporary file, no held lock."""
        house = self.house
        assert not house.runs, "the server still runs: use the keyword Stop Server first"
        self._none_alive(await asyncio.to_thread(house.survivors))
        assert not house.open_port(), f"somebody still listens at {house.url}"
        left = house.left_files()
        assert not left, f"files are left in {house.folder}: {left}"

    @keyword
    async def stop_server_and_see_that_nothing_is_left(self) -> None:
        """For the end of a suite: `Stop Server`, `Nothing Should Be Left`, and its folder is removed."""
        if self._house is None:
            return
        if self._house.runs:
            status = await self.stop_server()
            assert status == 0, f"the server ended with {status}:\n{self._house.said()}"
        await self.nothing_should_be_left()
        self._house.remove()

    @staticmethod
    def _none_alive(survivors: list[str]) -> None:
        assert not survivors, f"still alive {GONE_S:g} s after the end of the server: {survivors}"
