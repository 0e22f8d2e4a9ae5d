"""Keywords that use hpcq as a person does: in a terminal."""

import asyncio
import os
import subprocess
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from robot.api.deco import keyword

from .house import HPCQ
from .jobs import A_MINUTE
from .session import Session


@dataclass(frozen=True)
class Finished:
    """How a command ended: its exit code, and what it wrote to stdout and to stderr."""

    code: int
    out: str
    err: str


class CommandLine(Session):
    """The command `hpcq`."""

    @keyword
    async def run_hpcq(
        self,
        *words: str,
        exits_with: int = 0,
        stdin: str | None = None,
        url: str | None = None,
        timeout: timedelta = A_MINUTE,
    ) -> Finished:
        """Run ``hpcq`` with these words against the server; it exits with this code.

        Returns ``code``, ``out`` and ``err``.

        | ${done} =    Run Hpcq    run    --    echo    hello
        | Should Be Equal    ${done.out}    hello\\n
        """
        done = await asyncio.to_thread(self._run, words, stdin, url or self.client.url, timeout.total_seconds())
        command = " ".join(("hpcq", *words))
        assert done.code == exits_with, f"`{command}` exits with {done.code}, not {exits_with}:\n{done.out}{done.err}"
        return done

    def _run(self, words: tuple[str, ...], stdin: str | None, url: str, limit_s: float) -> Finished:
        given: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin.encode()}
        done = subprocess.run(
            [*HPCQ, *words],
            capture_output=True,
            env=self._environment(url),
            cwd=self.working_folder(),
            timeout=limit_s,
            check=False,
            **given,
        )
        return Finished(done.returncode, done.stdout.decode(), done.stderr.decode())

    @keyword
    def working_folder(self) -> str:
        """Where `Run Hpcq` runs, and where it finds and leaves files."""
        folder = self._house.folder / "here" if self._house else Path.cwd()
        folder.mkdir(exist_ok=True)
        return str(folder)

    @staticmethod
    def _environment(url: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name != "CI" and not name.startswith("HPCQ_")}
        return {**kept, "HPCQ_URL": url}
