"""The PROXY header is read to its last octet and not one further."""

import asyncio
import socket
import struct
from collections.abc import Iterator

import pytest

from filterrelay.doors.proxy_protocol import BadProxyHeader, plain_address, read_proxy_header

V2 = b"\r\n\r\n\x00\r\nQUIT\n"
V2_INET = V2 + struct.pack("!BBH4s4sHH", 0x21, 0x11, 12, b"\xc0\0\2\1", b"\xc0\0\2\2", 4711, 25)
V2_TLV = V2 + struct.pack(
    "!BBH4s4sHH5s", 0x21, 0x11, 17, b"\xc0\0\2\1", b"\xc0\0\2\2", 4711, 25, b"\x04\0\2ab"
)
V2_LOCAL = V2 + struct.pack("!BBH", 0x20, 0x00, 0)
V2_LOCAL_WITH_ADDRESS = V2_INET.replace(b"\x21\x11", b"\x20\x11")
V1 = b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 25\r\n"


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The door's end of a connection, and the proxy's."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    yield ours, theirs
    ours.close()
    theirs.close()


@pytest.mark.parametrize(
    ("header", "client"),
    [
        (V1, ("192.0.2.1", 4711)),
        (b"PROXY TCP6 2001:db8::1 2001:db8::2 4711 25\r\n", ("2001:db8::1", 4711)),
        (b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 1 25\r\n", ("192.0.2.1", 1)),
        (b"PROXY UNKNOWN\r\n", None),
        (b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", None),
        (V2_INET, ("192.0.2.1", 4711)),
        (V2_TLV, ("192.0.2.1", 4711)),
        (V2_LOCAL, None),
        (V2_LOCAL_WITH_ADDRESS, None),
    ],
)
async def test_a_header_names_the_client(
    pair: tuple[socket.socket, socket.socket], header: bytes, client: tuple[str, int] | None
) -> None:
    """Both versions are read; what follows stays in the socket for TLS or SMTP."""
    ours, theirs = pair
    theirs.sendall(header + b"NEXT")
    assert await read_proxy_header(asyncio.get_running_loop(), ours) == client
    assert ours.recv(10) == b"NEXT"


@pytest.mark.parametrize("header", [V1, V2_INET])
async def test_a_header_may_come_octet_by_octet(
    pair: tuple[socket.socket, socket.socket], header: bytes
) -> None:
    """A header in many packets is one header."""
    ours, theirs = pair
    reading = asyncio.create_task(read_proxy_header(asyncio.get_running_loop(), ours))
    for octet in header:
        theirs.send(bytes([octet]))
        await asyncio.sleep(0)
    assert await reading == ("192.0.2.1", 4711)


@pytest.mark.parametrize(
    "header",
    [
        b"EHLO client.example\r\n",
        b"PROXY\r\n",
        b"PROXY TCP4 192.0.2.1\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 25\n",
        b"PROXY TCP4 192.0.2.999 192.0.2.2 4711 25\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 70000 25\r\n",
        b"PROXY " + b"x" * 500 + b"\r\n",
        b"PROXYING\r\n",
        V2[:-1] + b"x" + bytes(4),
        V2 + b"\x31\x11\0\0",
        V2 + b"\x21\x11\0\x04abcd",
    ],
)
async def test_a_bad_header_is_refused(
    pair: tuple[socket.socket, socket.socket], header: bytes
) -> None:
    """Whatever isn't a header to the letter is none."""
    ours, theirs = pair
    theirs.sendall(header)
    theirs.shutdown(socket.SHUT_WR)
    with pytest.raises(BadProxyHeader):
        await read_proxy_header(asyncio.get_running_loop(), ours)


@pytest.mark.parametrize("cut", [0, 3, 5, 20])
async def test_a_header_cut_short_is_refused(
    pair: tuple[socket.socket, socket.socket], cut: int
) -> None:
    """A connection that ends within the header has no client."""
    ours, theirs = pair
    theirs.sendall(V1[:cut])
    theirs.shutdown(socket.SHUT_WR)
    with pytest.raises(BadProxyHeader):
        await read_proxy_header(asyncio.get_running_loop(), ours)


def test_an_address_has_one_form() -> None:
    """Limits and networks see IPv4 as IPv4, and no scopes."""
    assert plain_address("::ffff:192.0.2.1") == "192.0.2.1"
    assert plain_address("fe80::1%eth0") == "fe80::1"
    assert plain_address("192.0.2.1") == "192.0.2.1"
