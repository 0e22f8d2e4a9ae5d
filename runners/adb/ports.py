"""Ports for attempts that use them only later: of those that the kernel gives to nobody of its own accord."""

import random
import socket
from collections.abc import Sequence
from pathlib import Path

from hpcq.plugin import Infra

KERNELS = Path("/proc/sys/net/ipv4/ip_local_port_range")
USUAL = (32768, 60999)
FIRST, LAST = 14723, 65535  # above the ports of emulators and of Appium's driver

_claimed: set[int] = set()  # by any queue of this server


def claim() -> int:
    """A port that nobody listens on, nor has claimed. Raises Infra."""
    ports = candidates()
    start = random.randrange(len(ports))  # another server on this machine should not begin with the same
    for port in (*ports[start:], *ports[:start]):
        if port not in _claimed and is_free(port):
            _claimed.add(port)
            return port
    raise Infra(f"no free port for Appium from {ports[0]} to {ports[-1]}")


def leave(port: int) -> None:
    """It is needed no more."""
    _claimed.discard(port)


def candidates() -> Sequence[int]:
    """Ports outside the kernel's ephemeral range; where that is nearly all there are, any."""
    try:
        low, high = (int(word) for word in KERNELS.read_text().split())
    except (OSError, ValueError):
        low, high = USUAL
    return max(range(FIRST, low), range(max(high + 1, FIRST), LAST + 1), key=len) or range(FIRST, LAST + 1)


def is_free(port: int) -> bool:
    """Nobody listens on it here."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
