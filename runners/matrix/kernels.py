"""An operator's own functions as operations: `module:function`; run in a worker."""

import contextlib
import importlib
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hpcq_runners.matrix import operations

RESULT_NAME = "result.npy"
GOOD_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def call(message: Mapping[str, Any]) -> Any:
    """Call the function with its arguments, arrays in place of the references; answers what goes to the client."""
    module, _, name = message["operation"].partition(":")
    function = getattr(importlib.import_module(module), name, None)
    if not callable(function):
        raise AttributeError(f"module {module!r} has no function {name!r}")
    args = dict(message["args"])
    for argument, path in message["paths"].items():
        args[argument] = operations.load(Path(path))
    with printing_to(Path(message["output"])):
        returned = function(**args)
    return _outgoing(returned, message)


def _outgoing(returned: Any, message: Mapping[str, Any]) -> Any:
    """Arrays leave as artifacts: a lone one as result.npy, those in a dict under their keys."""
    if isinstance(returned, np.ndarray):
        return operations.store(returned, message, RESULT_NAME)
    if not isinstance(returned, dict):
        return returned
    return {
        key: operations.store(value, message, _file_name(key)) if isinstance(value, np.ndarray) else value
        for key, value in returned.items()
    }


def _file_name(key: Any) -> str:
    if not isinstance(key, str) or not GOOD_NAME.fullmatch(key):
        raise ValueError(f"an array is returned under {key!r}, which makes no file name")
    return f"{key}.npy"


@contextlib.contextmanager
def printing_to(path: Path) -> Iterator[None]:
    """What is printed within, in C too, goes to the job's output."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.dup2(file, 1)
        os.dup2(file, 2)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for saved, number in zip(kept, (1, 2), strict=True):
            os.dup2(saved, number)
            os.close(saved)
        os.close(file)
