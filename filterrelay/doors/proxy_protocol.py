"""The PROXY protocol's header, v1 or v2, read from a bare socket: TLS may follow it."""

import asyncio
import socket
from dataclasses import dataclass
from ipaddress import IPv6Address

from aiosmtpd.proxy_protocol import AF, V2_CMD, get_proxy

from filterrelay.errors import FilterRelayError

MOST_V1 = 107  # octets of a v1 header, CRLF included


@dataclass
class BadProxyHeader(FilterRelayError):
    """The connection doesn't begin with a valid PROXY header."""

    reason: str


class _Exactly:
    """A reader that takes not one octet more from the socket than was asked for."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        self._loop = loop
        self._sock = sock

    async def read(self, n: int = 1) -> bytes:
        """Up to n octets; none at the end."""
        return await self._loop.sock_recv(self._sock, n)

    async def readexactly(self, n: int) -> bytes:
        """That many octets. Raises EOFError."""
        got = b""
        while len(got) < n:
            piece = await self.read(n - len(got))
            if not piece:
                raise EOFError("connection closed")
            got += piece
        return got

    async def readuntil(self, separator: bytes = b"\n") -> bytes:
        """Up to and with the separator. Raises EOFError, ValueError for too long a line."""
        try:  # nearly always all of it is there
            there = self._sock.recv(MOST_V1, socket.MSG_PEEK)
        except BlockingIOError:
            there = b""
        line = await self.readexactly(there.find(separator) + 1)
        while not line.endswith(separator):
            if len(line) > MOST_V1:
                raise ValueError("header too long")
            line += await self.readexactly(1)
        return line


async def read_proxy_header(
    loop: asyncio.AbstractEventLoop, sock: socket.socket
) -> tuple[str, int] | None:
    """The client's address and port; None when the proxy speaks for itself.

    Raises BadProxyHeader, OSError.
    """
    try:
        header = await get_proxy(_Exactly(loop, sock))
    except EOFError as error:
        raise BadProxyHeader(str(error)) from None
    if not header.valid:
        raise BadProxyHeader(header.error or "no protocol")
    if header.version == 2 and header.command == V2_CMD.LOCAL:
        return None
    if header.family not in (AF.INET, AF.INET6):
        return None
    return plain_address(str(header.src_addr)), header.src_port or 0


def plain_address(address: str) -> str:
    """The address without scope, and as IPv4 where it is only mapped into IPv6."""
    address = address.partition("%")[0]
    mapped = IPv6Address(address).ipv4_mapped if ":" in address else None
    return str(mapped) if mapped else address
