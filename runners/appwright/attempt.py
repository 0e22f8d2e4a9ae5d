"""An attempt at tests from the moment it was asked for: unpacking a project may take longer than a `start` may."""

import asyncio
import signal

from hpcq.plugin import Context, Failure, Outcome, Request
from hpcq_runners.appwright import run

STOPPED = Outcome(error=Failure("signal", "stopped before any test had begun", signal=int(signal.SIGINT)))


class Attempt:
    """`outcome` goes on when whoever waits for it stops waiting: await it under a shield. Raises Rejected, Infra."""

    def __init__(self, request: Request, context: Context, target: run.Target = run.PLAIN) -> None:
        self._stopped = False
        self._starting = asyncio.ensure_future(run.start(request, context, target))
        self.outcome = asyncio.ensure_future(self._see_through())

    async def stop(self, grace_s: float) -> None:
        """As TestRun.stop; what has not begun never will."""
        self._stopped = True
        if not self._starting.done():
            self._starting.cancel()
        elif not self._starting.cancelled() and self._starting.exception() is None:
            await self._starting.result().stop(grace_s)

    async def _see_through(self) -> Outcome:
        try:
            tests = await self._starting
        except asyncio.CancelledError:
            if not self._stopped:
                raise
            return STOPPED
        return await tests.outcome
