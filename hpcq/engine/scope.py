"""Scopes of processes: all that is started in one dies with it.

Each has a launcher of its own, opened when first needed.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from hpcq.engine.launcher import Child, Launcher
from hpcq.plugin import Exit

T = TypeVar("T")
END_S = 5.0  # for a launcher to end all that lives in it


class Scope:
    """A runner's, a session's or a slot's processes."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, over_memory: Callable[[], None] | None = None, *, shared: bool = False
    ) -> None:
        """`shared`: its children are unrelated (a device, a tool's daemon): ending one spares the others."""
        self.loop = loop
        self._shared = shared
        self._launcher: Launcher | None = None
        self._opening = asyncio.Lock()
        self._over_memory = over_memory

    @property
    def used(self) -> bool:
        return self._launcher is not None

    async def launcher(self) -> Launcher:
        """The scope's launcher; a dead one is replaced."""
        async with self._opening:
            if self._launcher is None or not self._launcher.is_open:
                self._launcher = await Launcher.open(shared=self._shared)
                self._launcher.on_over_memory = self._over
            return self._launcher

    def _over(self, _child: Child) -> None:
        if self._over_memory:
            self._over_memory()

    async def end(self) -> None:
        """Kill all that lives in the scope; it can be used again."""
        launcher = self._launcher
        if launcher is None or launcher.is_empty:
            return
        try:
            await asyncio.wait_for(launcher.end(), END_S)
        except TimeoutError:  # stopped, or worse: by force
            await launcher.kill()

    async def alive(self) -> bool:
        """The launcher answers, and no child of it is stopped."""
        return self._launcher is None or await self._launcher.ping()

    async def close(self) -> None:
        """Kill all that lives in the scope, and its launcher."""
        launcher, self._launcher = self._launcher, None
        if launcher is not None:
            await launcher.close()


class ScopedProcess:
    """A child, as a runner sees it; may be used from any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, child: Child) -> None:
        self._loop = loop
        self.child = child

    @property
    def pid(self) -> int:
        return self.child.pid

    async def wait(self) -> Exit:
        return await on_loop(self._loop, self.child.wait())

    async def terminate(self, grace_s: float) -> None:
        await on_loop(self._loop, self.child.terminate(float(grace_s)))


class ScopeSpawn:
    """`spawn` of one scope, with its environment, output and limits."""

    def __init__(
        self,
        scope: Scope,
        *,
        env: Callable[[], Mapping[str, str]],
        output: Callable[[], Path],
        cwd: Callable[[], Path],
        output_cap: int,
        memory_mb: float | None = None,
        keep_children: bool = False,
    ) -> None:
        """`keep_children`: for an attempt, which ends; those of a runner or a session would pile up."""
        self._scope = scope
        self._env = env
        self._output = output
        self._cwd = cwd
        self._cap = output_cap
        self._memory_mb = memory_mb
        self._keep_children = keep_children
        self.children: list[Child] = []

    async def __call__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | str | None = None,
        stdin: bytes | Path | None = None,
        output: Path | None = None,
    ) -> ScopedProcess:
        start = self._start(argv, env, cwd, stdin, output)
        return await on_loop(self._scope.loop, start)

    async def _start(
        self,
        argv: Sequence[str],
        env: Mapping[str, str] | None,
        cwd: Path | str | None,
        stdin: bytes | Path | None,
        output: Path | None,
    ) -> ScopedProcess:
        launcher = await self._scope.launcher()
        child = await launcher.spawn(
            list(argv),
            env=self._env() if env is None else env,
            cwd=self._cwd() if cwd is None else cwd,
            stdin=stdin,
            output=self._output() if output is None else output,
            output_cap=self._cap,
            memory_mb=self._memory_mb,
        )
        if self._keep_children:
            self.children.append(child)
        return ScopedProcess(self._scope.loop, child)


async def on_loop(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    """Await `work` on `loop`, from whichever loop this is."""
    if asyncio.get_running_loop() is loop:
        return await work
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))
