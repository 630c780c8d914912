"""How the protection of one connection came out, for the metrics and the reports on TLS."""

import ssl
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum

from filterrelay.delivery.tls import Rung
from filterrelay.mail.address import Address, ascii_domain


class Failure(Enum):
    """What was wrong, in the words of RFC 8460 section 4.3."""

    NO_STARTTLS = "starttls-not-supported"
    WRONG_NAME = "certificate-host-mismatch"
    EXPIRED = "certificate-expired"
    NOT_TRUSTED = "certificate-not-trusted"
    OTHER = "validation-failure"
    NO_TLSA = "dane-required"
    BAD_TLSA = "tlsa-invalid"
    BAD_DNSSEC = "dnssec-invalid"


# OpenSSL's numbers, x509_vfy.h: expired; names and addresses that differ; self-signed,
# an issuer that isn't there, or one that isn't trusted.
_FAILURES = {10: Failure.EXPIRED, 62: Failure.WRONG_NAME, 64: Failure.WRONG_NAME} | dict.fromkeys(
    (2, 18, 19, 20, 21, 27, 28), Failure.NOT_TRUSTED
)


def failure_of(error: Exception) -> Failure:
    """What a handshake that failed was about."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _FAILURES.get(error.verify_code, Failure.OTHER)
    return Failure.OTHER


@dataclass(frozen=True, slots=True)
class TlsSession:
    """One connection whose protection has been negotiated, or couldn't be.

    host: the server's name. version: as `TLSv1.3`, or `none`. rung: what was tried. proved:
    whether it proved to be the server that is meant. tlsa: the TLSA records that it was
    measured by. reason: for people.
    """

    host: str
    version: str
    rung: Rung
    proved: bool = False
    failure: Failure | None = None
    reason: str = ""
    tlsa: tuple[str, ...] = ()

    @property
    def result(self) -> str:
        """The label of the metrics."""
        if self.failure is not None and self.version == "none" and self.rung is not Rung.PLAIN:
            return "failed"
        if self.version == "none":
            return "plain"
        if not self.proved:
            return "unverified"
        return "dane" if self.rung is Rung.DANE else "verified"


Note = Callable[[TlsSession], None]

# The domains for whose mail this task makes connections: ASCII, lower case.
DESTINATIONS: ContextVar[tuple[str, ...]] = ContextVar("destinations", default=())


def destinations_of(addresses: Sequence[Address]) -> tuple[str, ...]:
    """The domains of these addresses as DNS has them; what is no domain is left out."""
    domains = dict.fromkeys(ascii_domain(address.domain) for address in addresses)
    return tuple(domain for domain in domains if domain and not domain.startswith("["))
