"""The program `hpcq` as a user runs it: a process of its own, for tests and nothing else."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

HPCQ = [sys.executable, "-m", "hpcq"]


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Cli:
    """Runs commands against one server, in one folder. CI is not set."""

    def __init__(self, url: str, folder: Path, **env: str) -> None:
        kept = {name: value for name, value in os.environ.items() if name != "CI" and not name.startswith("HPCQ_")}
        self.folder = folder
        self.env = {**kept, "HPCQ_URL": url, "PYTHONUNBUFFERED": "1", **env}

    def __call__(self, *words: str, stdin: str | None = None, timeout_s: float = 60.0) -> Done:
        """Run a command to its end."""
        given: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin.encode()}
        done = subprocess.run(
            [*HPCQ, *words], capture_output=True, env=self.env, cwd=self.folder, timeout=timeout_s, check=False, **given
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Start a command; the caller ends it."""
        return subprocess.Popen(
            [*HPCQ, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.env,
            cwd=self.folder,
            text=True,
        )


def until_line(stream: IO[str], word: str) -> str:
    """What a program prints up to the line that holds `word`."""
    said = ""
    for line in stream:
        said += line
        if word in line:
            return said
    raise AssertionError(f"{word} was never printed, but:\n{said}")


def free_port() -> int:
    """A port on which nobody listens just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
