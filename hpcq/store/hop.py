"""One thread that everything of one connection happens on."""

import asyncio
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")
Call = tuple[Callable[[], Any], asyncio.Future[Any], asyncio.AbstractEventLoop]


class Hop:
    """Runs functions on its own thread, in order, and hands what they return back to the caller's event loop.

    `after` runs on the thread when a result has been handed back, `idle` when nothing came for `idle_s` seconds.
    """

    def __init__(self, name: str, *, after: Callable[[], None], idle: Callable[[], None], idle_s: float) -> None:
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        self._after, self._idle, self._idle_s = after, idle, idle_s
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def run(self, function: Callable[[], T]) -> T:
        """Run a function on the thread. If the caller is cancelled meanwhile, the function still runs to its end."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._calls.put((function, future, loop))
        return await future

    def end(self) -> None:
        """Let the thread end after what it was given so far, and wait for that. Harmless when repeated."""
        self._calls.put(None)
        self._thread.join()

    def _run(self) -> None:
        idle_s: float | None = self._idle_s
        while True:
            try:
                call = self._calls.get(timeout=idle_s)
            except Empty:
                self._idle()
                idle_s = None
                continue
            if call is None:
                return
            self._answer(*call)
            del call  # a round of 100,000 jobs must not live until the next one
            self._after()
            idle_s = self._idle_s

    @staticmethod
    def _answer(function: Callable[[], Any], future: asyncio.Future[Any], loop: asyncio.AbstractEventLoop) -> None:
        answer: tuple[Callable[..., None], Any]
        try:
            answer = (future.set_result, function())
        except BaseException as error:  # the caller's, whatever it is
            answer = (future.set_exception, error)
        try:
            loop.call_soon_threadsafe(_deliver, future, *answer)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return


def _deliver(future: asyncio.Future[Any], how: Callable[..., None], what: Any) -> None:
    if not future.done():  # its caller was cancelled
        how(what)
