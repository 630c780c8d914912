"""Where to listen or to connect, as configuration files write it."""

from dataclasses import dataclass
from ipaddress import ip_address

_FORMS = 'write "host:port", "[v6]:port" or "unix:/path"'


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A TCP port of a host, or a Unix socket when path is set.

    host: a name or an address, without brackets.
    """

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_unix(self) -> bool:
        """Whether it is a Unix socket."""
        return bool(self.path)


def parse_endpoint(text: str, default_port: int | None = None) -> Endpoint:
    """The endpoint written as `host:port`, `[v6]:port` or `unix:/path`.

    default_port: what a missing port means; None makes the port necessary.
    Raises ValueError.
    """
    if text.startswith("unix:"):
        if len(text) == len("unix:"):
            raise ValueError('a path must follow "unix:"')
        return Endpoint(path=text[len("unix:") :])
    host, port = _split(text)
    if not host or any(c.isspace() or c == "/" for c in host):
        raise ValueError(f"{text!r} is no address; {_FORMS}")
    if not port:
        if default_port is None:
            raise ValueError(f'{text!r} has no port; write "host:port"')
        return Endpoint(host, default_port)
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise ValueError(f"{port!r} is no port; ports are numbers up to 65535")
    return Endpoint(host, int(port))


def _split(text: str) -> tuple[str, str]:
    """Host and port; a bare IPv6 address has no port."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"{text!r} is no address: the brackets don't match")
        ip_address(host)
        return host, rest[1:]
    if text.count(":") > 1:
        try:
            ip_address(text)
        except ValueError:
            raise ValueError(f"{text!r} is no address; {_FORMS}") from None
        return text, ""
    host, _, port = text.partition(":")
    return host, port
