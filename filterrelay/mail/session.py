"""The client's side of a conversation, as plugins see it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Identity:
    """Who logged in, and what the login may do.

    login: the name that was authenticated. senders: address patterns that it
    may send as beside itself. source: the plugin that vouched for it. frozen:
    the password is right, but the account is shut and may not log in. stamp: by which
    that plugin tells later whether the account is still as it was; for it alone, and
    never stored.
    """

    login: str
    senders: tuple[str, ...] = ()
    source: str = ""
    frozen: bool = False
    stamp: str = field(default="", repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client showed to log in.

    mechanism: `PLAIN`, `LOGIN`, in capitals. password never shows in a repr.
    authorization: the identity asked to act as (RFC 4616), empty for one's own.
    """

    mechanism: str
    login: str
    password: str
    authorization: str = ""

    def __repr__(self) -> str:
        return f"Credentials(mechanism={self.mechanism!r}, login={self.login!r}, password=…)"


@dataclass(frozen=True, slots=True)
class Tls:
    """The TLS parameters of a connection: `TLSv1.3`, the cipher's name, its bits."""

    version: str
    cipher: str
    bits: int


@dataclass(frozen=True, slots=True)
class Session:
    """One client's connection as it stands now.

    id: unique for a connection. listener: the listener's name in the file; door:
    its kind, `smtp`, `proxy` or `milter`. client_ip: IPv4 or IPv6 text, or empty
    for a local (unix socket) client. client_name: its host name, verified both ways by
    the mail server that told of it. queue_id: what that server calls the message. server_ip,
    server_port: where the client connected to. trusted: the client is in the listener's
    trusted_networks. Where another mail server stands in front, all this is of its client.
    """

    id: str
    listener: str
    door: str
    client_ip: str
    client_port: int = 0
    client_name: str = ""
    queue_id: str = ""
    server_ip: str = ""
    server_port: int = 0
    helo: str = ""
    esmtp: bool = False
    tls: Tls | None = None
    identity: Identity | None = None
    trusted: bool = False

    @property
    def may_relay(self) -> bool:
        """Whether mail to anyone is taken: after a login, or from a trusted network."""
        return self.identity is not None or self.trusted

    @property
    def login(self) -> str:
        """The authenticated name, or empty."""
        return self.identity.login if self.identity else ""

    @property
    def protocol(self) -> str:
        """What the client speaks, for the log: `ESMTP`, or `SMTP` after HELO."""
        return "ESMTP" if self.esmtp else "SMTP"

    def facts(self) -> dict[str, Any]:
        """The session as JSON values, for the spool and the trace."""
        return {
            "id": self.id,
            "listener": self.listener,
            "door": self.door,
            "client_ip": self.client_ip,
            "client_port": self.client_port,
            "client_name": self.client_name,
            "queue_id": self.queue_id,
            "server_ip": self.server_ip,
            "server_port": self.server_port,
            "helo": self.helo,
            "esmtp": self.esmtp,
            "trusted": self.trusted,
            "tls": _facts(self.tls) if self.tls else None,
            "identity": _facts(self.identity) if self.identity else None,
        }

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> "Session":
        """The session that `facts` was made from."""
        tls, identity = facts["tls"], facts["identity"]
        senders = tuple(identity["senders"]) if identity else ()
        return cls(
            **dict(facts)
            | {
                "tls": Tls(**tls) if tls else None,
                "identity": Identity(**identity | {"senders": senders}) if identity else None,
            }
        )


def _facts(part: Tls | Identity) -> dict[str, Any]:
    """Its fields but the stamp.

    dataclasses.asdict takes six times as long, and each message needs them.
    """
    return {name: getattr(part, name) for name in part.__slots__ if name != "stamp"}
