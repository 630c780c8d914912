"""How an attempt met the far side, as the trace, the log, the metrics and observers have it."""

from dataclasses import dataclass
from enum import Enum


class Stage(Enum):
    """How far an attempt came; the labels of the metrics."""

    CONNECT = "connect"
    GREETING = "greeting"
    TLS = "tls"
    LOGIN = "login"
    OFFER = "offer"  # what the server can do is too little for the message
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    BODY = "body"
    END = "after-dot"


@dataclass(frozen=True, slots=True)
class Contact:
    """One transaction's connection, and how far it came.

    address: `IP:port`; empty without a connection. cipher: TLS's, or empty. verified: whether
    the certificate proved the host's name. kept: whether the connection was there before.
    waited: seconds until it could be used: for its turn, or for connecting, TLS and
    login. took: seconds of the transaction. failed: where something was not accepted;
    None when everything was, or nothing was tried.
    """

    address: str = ""
    cipher: str = ""
    verified: bool = False
    kept: bool = False
    waited: float = 0.0
    took: float = 0.0
    failed: Stage | None = None


NONE = Contact()
