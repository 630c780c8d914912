"""The TLS policies of a next hop, and what each allows a connection to be."""

import ssl
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from filterrelay.errors import FilterRelayError


@dataclass
class UnsupportedTls(FilterRelayError):
    """This TLS policy can't be kept for the upstream."""

    upstream: str
    policy: str


class Rung(Enum):
    """How a connection is protected. A policy is the rungs that it may step down."""

    IMPLICIT = "TLS from the first octet, certificate verified"
    VERIFIED = "STARTTLS, certificate verified"
    UNVERIFIED = "STARTTLS, any certificate"
    PLAIN = "no TLS"


_LADDERS: dict[str, tuple[Rung, ...]] = {
    "none": (Rung.PLAIN,),
    "opportunistic": (Rung.VERIFIED, Rung.UNVERIFIED, Rung.PLAIN),
    "required": (Rung.VERIFIED,),
    "implicit": (Rung.IMPLICIT,),
}


@dataclass(frozen=True, slots=True)
class TlsPolicy:
    """What an upstream's `tls` means.

    ladder: the rungs in order; a lower one is tried, on a fresh connection,
    only when it can help with what has failed. contexts: for the rungs
    that encrypt, with the certificates read once.
    """

    name: str
    ladder: tuple[Rung, ...]
    contexts: dict[Rung, ssl.SSLContext]

    @property
    def may_be_plain(self) -> bool:
        """Whether a server without STARTTLS is good enough."""
        return Rung.PLAIN in self.ladder


def tls_policy(upstream: str, policy: str, ca_file: Path | None) -> TlsPolicy:
    """The policy of that name. Raises UnsupportedTls, and OSError for an unreadable ca_file.

    ca_file: authorities to trust instead of the system's.
    """
    ladder = _LADDERS.get(policy)
    if ladder is None:
        raise UnsupportedTls(upstream, policy)
    contexts: dict[Rung, ssl.SSLContext] = {
        rung: _context(rung, ca_file) for rung in ladder if rung is not Rung.PLAIN
    }
    return TlsPolicy(policy, ladder, contexts)


def _context(rung: Rung, ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if rung is Rung.UNVERIFIED:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
