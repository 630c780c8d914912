"""Listening sockets that systemd has bound for us (sd_listen_fds(3))."""

import itertools
import os
import socket
from collections.abc import MutableMapping

import structlog

from filterrelay.mail.endpoint import parse_endpoint
from filterrelay.supervisor.sockets import CantListen

FIRST = 3  # SD_LISTEN_FDS_START

log = structlog.get_logger(__name__)


class PassedSockets:
    """What was handed over at the start; each is taken once, by its address or its name."""

    def __init__(self, environment: MutableMapping[str, str], first: int = FIRST) -> None:
        """Takes its variables out of the environment. Raises CantListen.

        first: the number of the first socket's descriptor.
        """
        ours = environment.pop("LISTEN_PID", "") == str(os.getpid())
        count = environment.pop("LISTEN_FDS", "")
        names = environment.pop("LISTEN_FDNAMES", "").split(":")
        given = int(count) if ours and count.isdecimal() else 0
        named = itertools.islice(itertools.chain(names, itertools.repeat("")), given)
        self._left = [(name, _listening(first + i, name)) for i, name in enumerate(named)]

    def take(self, address: str, name: str) -> socket.socket | None:
        """The socket that listens there, else the first of the listener's name, if there is one."""
        there = [each for each in self._left if _is_at(each[1], address)]
        called = [each for each in self._left if each[0] == name]
        if not (there or called):
            return None
        taken = [*there, *called][0]
        self._left.remove(taken)
        return taken[1]

    def close_rest(self) -> None:
        """Closes what nobody took: clients would wait there for nobody."""
        for name, sock in self._left:
            log.warning("passed_socket_not_used", listener=name, address=str(sock.getsockname()))
            sock.close()
        self._left.clear()


def _listening(number: int, name: str) -> socket.socket:
    what = name or f"descriptor {number}"
    try:
        os.set_inheritable(number, False)
        sock = socket.socket(fileno=number)
    except OSError as error:
        raise CantListen(what, f"it was passed, and is no socket: {error.strerror}") from error
    is_stream = sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM
    if not (is_stream and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)):
        sock.close()
        raise CantListen(what, "it was passed, and takes no connections")
    sock.setblocking(False)
    return sock


def _is_at(sock: socket.socket, address: str) -> bool:
    """Whether the socket is bound to just that address."""
    endpoint, bound = parse_endpoint(address), sock.getsockname()
    if endpoint.is_unix or sock.family == socket.AF_UNIX:
        return endpoint.is_unix and bound == endpoint.path
    found = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    return any(where[:2] == bound[:2] for _, _, _, _, where in found)
