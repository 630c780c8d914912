"""Listening sockets, bound once by the supervisor and inherited by every worker."""

import errno
import grp
import os
import socket
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filterrelay.errors import FilterRelayError
from filterrelay.mail.endpoint import Endpoint, parse_endpoint

UNIX_MODE = 0o660
BACKLOG = 1024  # connections the kernel keeps while no worker accepts
RETRY_FOR = 5.0  # seconds; a predecessor that was killed may still hold the address


@dataclass
class CantListen(FilterRelayError):
    """The address can't be listened on."""

    address: str
    reason: str

    def __str__(self) -> str:
        return f"can't listen on {self.address}: {self.reason}"


def listen(
    address: str,
    pause: Callable[[float], None] = time.sleep,
    *,
    mode: int = UNIX_MODE,
    group: str = "",
) -> socket.socket:
    """A listening socket, not blocking. Raises CantListen.

    mode, group: a Unix socket's permissions, and its group if it shall have one of its own.
    """
    endpoint = parse_endpoint(address)
    tries = int(RETRY_FOR / 0.1)
    for attempt in range(tries):
        try:
            return _unix(endpoint, mode, group) if endpoint.is_unix else _tcp(endpoint)
        except LookupError as error:
            raise CantListen(address, str(error)) from None
        except OSError as error:
            if attempt == tries - 1 or not _is_in_use(error):
                raise CantListen(address, error.strerror or str(error)) from None
            pause(0.1)
    raise AssertionError  # the last attempt returns or raises


def _is_in_use(error: OSError) -> bool:
    return error.errno == errno.EADDRINUSE


def _tcp(endpoint: Endpoint) -> socket.socket:
    found = socket.getaddrinfo(
        endpoint.host, endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    family, kind, protocol, _, where = found[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(endpoint.host != "::"))
        sock.bind(where)
        return _listening(sock)
    except OSError:
        sock.close()
        raise


def _unix(endpoint: Endpoint, mode: int, group: str) -> socket.socket:
    path = Path(endpoint.path)
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, f"there is no directory {path.parent}")
    group_id = _group_id(group) if group else -1
    if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
        path.unlink()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # It is made with its mode. Changed later by its path, whatever the folder's owner had put
    # there meanwhile would be changed: by root, where the relay starts as that.
    before = os.umask(0o777 & ~mode)
    try:
        sock.bind(endpoint.path)
        if group:
            os.chown(path, -1, group_id, follow_symlinks=False)
        return _listening(sock)
    except OSError:
        sock.close()
        raise
    finally:
        os.umask(before)


def _group_id(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise LookupError(f"no such group: {name!r}") from None


def _listening(sock: socket.socket) -> socket.socket:
    sock.listen(BACKLOG)
    sock.setblocking(False)
    os.set_inheritable(sock.fileno(), False)
    return sock
