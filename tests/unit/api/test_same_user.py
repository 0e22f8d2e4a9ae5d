"""The kernel says whose socket it is."""

import ipaddress
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest

from hpcq.api.same_user import End, is_same_user, owner

LOOPBACK = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
NOBODY = 65534

STRANGER = """
import os, socket, sys
os.setgid(65534); os.setuid(65534)
peer = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
peer.connect((sys.argv[1], int(sys.argv[2])))
sys.stdin.read()
"""


def ends(sock: socket.socket) -> tuple[End, End]:
    client, server = End.of(sock.getpeername()), End.of(sock.getsockname())
    assert client
    assert server
    return client, server


@pytest.fixture(params=LOOPBACK, ids=["IPv4", "IPv6"])
def listener(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    family, address = request.param
    with socket.create_server((address, 0), family=family) as listening:
        yield listening


def test_a_connection_of_our_own_is_ours(listener: socket.socket) -> None:
    with socket.create_connection(listener.getsockname()[:2]), closing(listener.accept()[0]) as accepted:
        assert owner(*ends(accepted)) == os.geteuid()
        assert is_same_user(*ends(accepted))


def test_ipv4_through_an_ipv6_socket_is_recognised() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        closing(socket.socket(socket.AF_INET6)) as client,
    ):
        client.connect(("::ffff:127.0.0.1", listening.getsockname()[1]))
        with closing(listening.accept()[0]) as accepted:
            assert is_same_user(*ends(accepted))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_connection_of_another_user_is_not_ours(listener: socket.socket) -> None:
    address, port = listener.getsockname()[:2]
    command = [sys.executable, "-c", STRANGER, address, str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as stranger:
        listener.settimeout(20)
        with closing(listener.accept()[0]) as accepted:
            assert owner(*ends(accepted)) == NOBODY
            assert not is_same_user(*ends(accepted))
        stranger.communicate(b"")


def test_a_socket_that_is_closed_is_nobodys(listener: socket.socket) -> None:
    client = socket.create_connection(listener.getsockname()[:2])
    with closing(listener.accept()[0]) as accepted:
        client.close()
        assert owner(*ends(accepted)) is None
        assert not is_same_user(*ends(accepted))


def test_a_listening_socket_is_not_taken_for_a_connection(listener: socket.socket) -> None:
    server = End.of(listener.getsockname())
    assert server
    stranger = End(server.address, 1)
    assert owner(server, stranger) is None


def test_ends_that_are_not_loopback_are_never_ours() -> None:
    far = End(ipaddress.ip_address("192.0.2.1"), 1000)
    near = End(ipaddress.ip_address("127.0.0.1"), 1000)
    assert not is_same_user(far, near)
    assert not is_same_user(near, far)


def test_a_unix_socket_has_no_end() -> None:
    assert End.of("/run/socket") is None
    assert End.of(None) is None
