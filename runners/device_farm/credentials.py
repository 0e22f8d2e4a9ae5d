"""The account at the farm: from the server's environment, or from a file that the settings name; shown to nobody."""

import hashlib
import os
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hpcq.plugin import Outcome
from hpcq_runners.device_farm.hiding import Lost, hide_in_files

HIDDEN = "********"


class NoCredentials(Exception):
    """There are none; the sentence says what mends that, and holds nothing of what was found."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user and a key. Neither is in its repr."""

    user: str = field(repr=False)
    key: str = field(repr=False)

    @property
    def account(self) -> str:
        """Tells one account from another, and its old key from its new one, without telling either."""
        return hashlib.sha256(f"{self.user}\0{self.key}".encode()).hexdigest()[:16]

    @property
    def header(self) -> str:
        """`Authorization` of a request."""
        return "Basic " + b64encode(f"{self.user}:{self.key}".encode()).decode()

    def hide(self, text: str) -> str:
        """The text without them."""
        for secret in self._secrets():
            text = text.replace(secret, HIDDEN)
        return text

    def hide_all(self, value: Any) -> Any:
        """The same for all texts in a JSON value."""
        if isinstance(value, str):
            return self.hide(value)
        if isinstance(value, Mapping):
            return {name: self.hide_all(part) for name, part in value.items()}
        return [self.hide_all(part) for part in value] if isinstance(value, list | tuple) else value

    def hide_in_outcome(self, outcome: Outcome) -> Outcome:
        """A test may have printed its environment."""
        error = outcome.error and replace(outcome.error, message=self.hide(outcome.error.message))
        tests = tuple(
            replace(
                test, title=self.hide(test.title), file=self.hide(test.file), error=test.error and self.hide(test.error)
            )
            for test in outcome.tests
        )
        return replace(outcome, result=self.hide_all(outcome.result), error=error, tests=tests)

    def hide_in_files(self, root: Path, lost: Lost) -> None:
        """Nor can they be read in a file, or in any of a folder. See `hiding.hide_in_files`."""
        hide_in_files(root, self.secrets, lost)

    @property
    def secrets(self) -> list[bytes]:
        """What nobody may read."""
        return [secret.encode() for secret in self._secrets()]

    def _secrets(self) -> tuple[str, ...]:
        return self.key, self.header.removeprefix("Basic ")


def find(names: tuple[str, str], file: Path | None, farm: str) -> Credentials:
    """Raises NoCredentials."""
    if file is None:
        given: Mapping[str, str] = os.environ
        where, mend = "the server's environment", f"set {names[0]} and {names[1]} for the server and restart it"
    else:
        given = _read(file, farm)
        where, mend = str(file), f"write a line {names[0]}=… and a line {names[1]}=… to it"
    user, key = (given.get(name, "").strip() for name in names)
    if not user or not key:
        missing = " and ".join(name for name, value in zip(names, (user, key), strict=True) if not value)
        raise NoCredentials(f"no credentials for {farm}: {missing} missing in {where}; {mend}")
    return Credentials(user, key)


def _read(file: Path, farm: str) -> dict[str, str]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise NoCredentials(
            f"no credentials for {farm}: credentials_file {file} cannot be read: {why}; mend it, or unset the setting"
        ) from None
    pairs = (line.removeprefix("export ").partition("=") for line in lines if not line.lstrip().startswith("#"))
    return {name.strip(): value.strip().strip("\"'") for name, _, value in pairs}
