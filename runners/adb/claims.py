"""Which queue of this server has which device: one that takes all that adb shows leaves out what another one has."""

from collections.abc import Callable

Key = tuple[int, str]  # port of the adb server, serial

_holders: dict[Key, str] = {}
_listeners: dict[str, Callable[[], None]] = {}


def listen(queue: str, changed: Callable[[], None]) -> None:
    """Tell this queue when another takes or leaves a device."""
    _listeners[queue] = changed


def take(queue: str, port: int, serial: str) -> bool:
    """Have a device, unless another queue has it."""
    return _holders.setdefault((port, serial), queue) == queue


def take_away(queue: str, port: int, serial: str) -> None:
    """Have a device that the configuration names, whoever had it."""
    before = _holders.get((port, serial))
    _holders[port, serial] = queue
    if before not in (None, queue):
        _tell(queue)


def leave(queue: str, port: int, serial: str) -> None:
    """Have it no more."""
    if _holders.get((port, serial)) == queue:
        del _holders[port, serial]
        _tell(queue)


def leave_all(queue: str) -> None:
    """The queue is closed."""
    _listeners.pop(queue, None)
    for port, serial in [key for key, holder in _holders.items() if holder == queue]:
        leave(queue, port, serial)


def _tell(but: str) -> None:
    for queue, changed in list(_listeners.items()):
        if queue != but:
            changed()
