"""Whether what is to be listened on can be: asked of the system, without listening."""

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from filterrelay.mail.endpoint import Endpoint, parse_endpoint
from filterrelay.settings import Settings

State = Literal["ok", "warning", "failed"]


def addresses(settings: Settings) -> Iterator[tuple[str, str]]:
    """Each listener's name and address, and that of the metrics."""
    for listener in settings.listener:
        yield listener.name, listener.address
    if settings.metrics.address:
        yield "metrics", settings.metrics.address


def bindable(address: str, *, running: bool) -> tuple[State, str]:
    """Whether the address can be had now, and what the system says.

    running: whether the relay itself runs, and may have it.
    """
    endpoint = parse_endpoint(address)
    try:
        if endpoint.is_unix:
            return _unix(Path(endpoint.path))
        _bind(endpoint)
    except OSError as error:
        why = error.strerror or str(error)
        match error.errno:
            case errno.EADDRINUSE if running:
                return "warning", f"{why}; perhaps by the relay itself, that runs already"
            case errno.EACCES:
                return "warning", f"{why}: ports below 1024 are bound as root, or by systemd"
            case _:
                return "failed", why
    return "ok", "can be listened on"


def _bind(endpoint: Endpoint) -> None:
    """Takes the address for a moment. Raises OSError."""
    found = socket.getaddrinfo(
        endpoint.host, endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    family, kind, protocol, _, where = found[0]
    with socket.socket(family, kind, protocol) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(endpoint.host != "::"))
        sock.bind(where)


def _unix(path: Path) -> tuple[State, str]:
    """Looks only: binding would take the socket away from a relay that runs."""
    if not path.parent.is_dir():
        return "failed", f"there is no directory {path.parent}"
    if path.exists() and not path.is_socket():
        return "failed", "there is something else than a socket"
    if not os.access(path.parent, os.W_OK | os.X_OK):
        return "warning", f"this user can't make a socket in {path.parent}"
    return "ok", "can be listened on"
