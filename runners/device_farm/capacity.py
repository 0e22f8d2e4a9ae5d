"""The queue's slots: as many sessions as the plan has for us. Waiting is done in our queue, never in the farm's."""

import asyncio
import time
from collections import deque

from hpcq.plugin import Context, Slot
from hpcq_runners.device_farm.farm import Farm, Plan

FRESH_S = 15.0
SETTLE_S = 20.0  # the farm still counts a session so long after its end
MOST = 10_000


class Capacity:
    """Asks for the plan and offers the slots."""

    def __init__(self, farm: Farm, context: Context) -> None:
        self._farm = farm
        self._context = context
        self._plan: Plan | None = None
        self._asked = float("-inf")  # monotonic
        self._ours: dict[str, int] = {}  # sessions that a live attempt may have
        self._ended: deque[tuple[float, int]] = deque()
        self._pause = ""
        self._timer: asyncio.TimerHandle | None = None
        self._offered: list[Slot] = []

    async def ask(self, *, anew: bool = False) -> None:
        """Ask for the plan, unless the answer is still fresh. Raises FarmError and NoCredentials."""
        if not anew and self._plan and time.monotonic() - self._asked < FRESH_S:
            return
        self._plan = await self._farm.plan()
        self._asked = time.monotonic()
        self.offer()

    def begin(self, key: str, sessions: int = 1) -> None:
        """An attempt may open so many sessions from now on."""
        self._ours[key] = sessions
        if sessions > 1:
            self.offer()

    def end(self, key: str) -> None:
        """It is over."""
        sessions = self._ours.pop(key, 0)
        self._ended.append((time.monotonic(), sessions))
        if sessions > 1:
            self.offer()

    def pause(self, seconds: float, reason: str) -> None:
        """Start nothing for so long: the farm asked for that, or is full."""
        self.close()
        self._pause = reason
        self._timer = asyncio.get_running_loop().call_later(seconds, self._resume)
        self.offer()

    def _resume(self) -> None:
        self._pause, self._timer = "", None
        self._asked = float("-inf")
        self.offer()

    def offer(self) -> None:
        """Tell the server of the slots, where they are others than before."""
        slots = self._slots()
        if slots != self._offered:
            self._offered = slots
            self._context.set_slots(slots)

    def _slots(self) -> list[Slot]:
        title = self._farm.title
        if self._plan is None:
            return [self._slot(1, f"{title} has not said yet how many sessions the plan allows")]
        free, why = self._free(self._plan)
        if self._pause:
            free, why = 0, self._pause
        count = min(max(1, self._plan.allowed), MOST)
        return [self._slot(number, "" if number <= free else why) for number in range(1, count + 1)]

    def _free(self, plan: Plan) -> tuple[int, str]:
        """How many attempts may have a session, ours included, and why not more."""
        while self._ended and time.monotonic() - self._ended[0][0] > SETTLE_S:
            self._ended.popleft()
        ours = sum(self._ours.values())
        others = max(0, plan.running - ours - sum(sessions for _, sessions in self._ended))
        beyond_one = sum(sessions - 1 for sessions in self._ours.values())
        users = {"others of the account": others, "builds": beyond_one}
        taken = " and ".join(f"{number} by {who}" for who, number in users.items() if number)
        why = f"of the {plan.allowed} sessions of the {self._farm.title} plan are in use: {taken}"
        return plan.allowed - others - beyond_one, why

    def _slot(self, number: int, reason: str) -> Slot:
        labels = {"farm": self._farm.title.lower()}
        return Slot(f"{self._context.queue}-{number}", labels, "held" if reason else "ready", reason)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
