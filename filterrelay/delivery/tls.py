"""The TLS policies of a next hop, and what each allows a connection to be."""

import ssl
from dataclasses import dataclass
from enum import Enum

from filterrelay import settings
from filterrelay.errors import FilterRelayError


@dataclass
class UnsupportedTls(FilterRelayError):
    """This TLS policy can't be kept for the upstream."""

    upstream: str
    policy: str


class Rung(Enum):
    """How a connection is protected. A policy is the rungs that it may step down."""

    IMPLICIT = "TLS from the first octet, certificate verified"
    DANE = "STARTTLS, as the host's TLSA records say"
    VERIFIED = "STARTTLS, certificate verified"
    UNVERIFIED = "STARTTLS, any certificate"
    PLAIN = "no TLS"


Contexts = dict[Rung, ssl.SSLContext]

# What a destination can demand of direct delivery, beside the names that the file has.
STS = "sts"  # its MTA-STS policy (RFC 8461)
MAY_DANE = "may-dane"  # DANE at the hosts that have TLSA records (RFC 7672)
STS_DANE = "sts-dane"  # both; DANE comes first (RFC 8461 section 2)

# Policies that are chosen only for servers whose names DNSSEC or MTA-STS proves.
PROVED = ("dane", STS, MAY_DANE, STS_DANE)

_LADDERS: dict[str, tuple[Rung, ...]] = {
    "none": (Rung.PLAIN,),
    "opportunistic": (Rung.VERIFIED, Rung.UNVERIFIED, Rung.PLAIN),
    "required": (Rung.VERIFIED,),
    "implicit": (Rung.IMPLICIT,),
    "dane": (Rung.DANE,),
    STS: (Rung.VERIFIED,),
    MAY_DANE: (Rung.DANE, Rung.VERIFIED, Rung.UNVERIFIED, Rung.PLAIN),
    STS_DANE: (Rung.DANE, Rung.VERIFIED),
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
    contexts: Contexts


def tls_policy(
    upstream: settings.Upstream, policy: str = "", made: Contexts | None = None
) -> TlsPolicy:
    """The policy of that name, or the upstream's own, with its certificates and versions.

    made: the upstream's contexts so far, to be used again and added to. Raises
    UnsupportedTls, and OSError for a file that can't be used.
    """
    name = policy or upstream.tls
    ladder = _LADDERS.get(name)
    if ladder is None:
        raise UnsupportedTls(upstream.name, name)
    made = {} if made is None else made
    encrypting = [rung for rung in ladder if rung is not Rung.PLAIN]
    made.update({rung: _context(rung, upstream) for rung in encrypting if rung not in made})
    return TlsPolicy(name, ladder, {rung: made[rung] for rung in encrypting})


def _context(rung: Rung, upstream: settings.Upstream) -> ssl.SSLContext:
    """DANE's certificates are looked at after the handshake (delivery/dane.py)."""
    context = ssl.create_default_context(cafile=str(upstream.ca_file) if upstream.ca_file else None)
    context.minimum_version = (
        ssl.TLSVersion.TLSv1_3 if upstream.minimum_version == "1.3" else ssl.TLSVersion.TLSv1_2
    )
    if upstream.certificate is not None:
        context.load_cert_chain(upstream.certificate, upstream.key)
    if rung in (Rung.UNVERIFIED, Rung.DANE):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
