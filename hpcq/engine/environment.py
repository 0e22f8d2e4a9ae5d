"""What a job's processes see of the environment."""

import os
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

# The server's own settings, and the credentials of device farms.
HIDDEN = ("HPCQ_*", "BROWSERSTACK_*", "LAMBDATEST_*", "LT_USERNAME", "LT_ACCESS_KEY")


def base(deny: Sequence[str]) -> dict[str, str]:
    """The server's environment without its settings, farm credentials, and what the configuration denies."""
    patterns = (*HIDDEN, *deny)
    return {
        name: value for name, value in os.environ.items() if not any(fnmatchcase(name, pattern) for pattern in patterns)
    }


def of_attempt(
    common: Mapping[str, str],
    *,
    job_id: str,
    attempt: int,
    queue: str,
    slot: str,
    folder: Path,
    artifacts: Path,
    kept: Path,
    items: Sequence[tuple[str, tuple[str, ...]]],
) -> dict[str, str]:
    """The whole environment of one attempt's processes."""
    env = {
        **common,
        "HPCQ_JOB_ID": job_id,
        "HPCQ_ATTEMPT": str(attempt),
        "HPCQ_QUEUE": queue,
        "HPCQ_SLOT": slot,
        "HPCQ_ARTIFACTS": str(artifacts),
        "HPCQ_RESULT": str(folder / "result.json"),
        "HPCQ_PROGRESS": str(folder / "progress.ndjson"),
        "HPCQ_JOB_DIR": str(kept),
    }
    for name, given in items:
        env[f"HPCQ_RESOURCE_{name.upper()}"] = ",".join(given)
        if name == "gpu":
            env["CUDA_VISIBLE_DEVICES"] = ",".join(given)
    return env
