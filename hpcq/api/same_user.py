"""Whether the process at the other end of a loopback connection is of the server's own user.

The kernel says who owns the client's socket (netlink SOCK_DIAG, 60 µs; /proc/net/tcp takes 6 ms). It is believed only
when it names an established connection of exactly these two ends, an inode and our uid: a socket that is already
closed is reported as root's, and an inexact question may be answered with a listening socket.
"""

import ipaddress
import os
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass

_SOCK_DIAG = 4  # NETLINK_SOCK_DIAG
_BY_FAMILY = 20  # SOCK_DIAG_BY_FAMILY
_REQUEST = 1  # NLM_F_REQUEST
_ESTABLISHED = 1  # TCP_ESTABLISHED
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_QUESTION = struct.Struct("=BBBxI")  # inet_diag_req_v2: family, protocol, extensions, states
_ENDS = struct.Struct("!HH16s16s")  # inet_diag_sockid: the two ports, the two addresses
_ANY_SOCKET = struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)  # interface, no cookie
_STATE = struct.Struct("=BBBB")  # inet_diag_msg: family, state, timer, retransmissions
_OWNER = struct.Struct("=IIIII")  # expires, rqueue, wqueue, uid, inode
_ANSWER_LENGTH = _HEADER.size + _STATE.size + _ENDS.size + len(_ANY_SOCKET) + _OWNER.size

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class End:
    """One end of a TCP connection."""

    address: Address
    port: int

    @classmethod
    def of(cls, name: object) -> "End | None":
        """From what getsockname or getpeername says; None for a Unix socket."""
        if not isinstance(name, tuple) or len(name) < 2:
            return None
        return cls(_plain(ipaddress.ip_address(name[0].partition("%")[0])), name[1])


def is_same_user(client: End, server: End) -> bool:
    """Whether the socket whose own end is `client` and whose peer is `server` belongs to our effective uid."""
    if not (client.address.is_loopback and server.address.is_loopback):
        return False
    return owner(client, server) == os.geteuid()


def owner(client: End, server: End) -> int | None:
    """The uid that owns the established socket from `client` to `server`, or None when the kernel is not sure."""
    families = (socket.AF_INET, socket.AF_INET6) if client.address.version == 4 else (socket.AF_INET6,)
    for family in families:  # a client may reach 127.0.0.1 through an IPv6 socket
        with suppress(OSError, struct.error):
            if (uid := _read(_ask(family, client, server), client, server)) is not None:
                return uid
    return None


def _ask(family: int, client: End, server: End) -> bytes:
    ends = _ENDS.pack(client.port, server.port, _packed(client, family), _packed(server, family))
    question = _QUESTION.pack(family, socket.IPPROTO_TCP, 0, 1 << _ESTABLISHED) + ends + _ANY_SOCKET
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as netlink:
        netlink.settimeout(0.2)
        netlink.send(_HEADER.pack(_HEADER.size + len(question), _BY_FAMILY, _REQUEST, 1, 0) + question)
        return netlink.recv(4096)


def _read(answer: bytes, client: End, server: End) -> int | None:
    if len(answer) < _ANSWER_LENGTH or _HEADER.unpack_from(answer)[1] != _BY_FAMILY:
        return None
    at = _HEADER.size
    family, state, _, _ = _STATE.unpack_from(answer, at)
    at += _STATE.size
    client_port, server_port, client_address, server_address = _ENDS.unpack_from(answer, at)
    at += _ENDS.size + len(_ANY_SOCKET)
    _, _, _, uid, inode = _OWNER.unpack_from(answer, at)
    exact = (
        End(_unpacked(client_address, family), client_port) == client
        and End(_unpacked(server_address, family), server_port) == server
    )
    return int(uid) if exact and state == _ESTABLISHED and inode != 0 else None


def _plain(address: Address) -> Address:
    """::ffff:127.0.0.1 is 127.0.0.1."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _packed(end: End, family: int) -> bytes:
    if family == socket.AF_INET6 and end.address.version == 4:
        return b"\0" * 10 + b"\xff\xff" + end.address.packed
    return end.address.packed.ljust(16, b"\0")


def _unpacked(address: bytes, family: int) -> Address:
    return _plain(ipaddress.ip_address(address[:4] if family == socket.AF_INET else address))
