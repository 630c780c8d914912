"""DANE: what DNS says of a mail server's certificate (RFC 6698, RFC 7671, RFC 7672)."""

import contextlib
import hashlib
import hmac
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from typing import Any, cast

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from filterrelay.mail.endpoint import Endpoint
from filterrelay.observe.clock import Clock
from filterrelay.plugin.services import DnsAnswer, SecureResolver

_AUTHORITY, _SERVER = 2, 3  # usages DANE-TA and DANE-EE; RFC 7672 section 3.1.3 leaves out 0 and 1
_WHOLE, _KEY = 0, 1  # selectors
_DIGESTS: dict[int, Callable[[bytes], bytes]] = {
    0: lambda octets: octets,
    1: lambda octets: hashlib.sha256(octets).digest(),
    2: lambda octets: hashlib.sha512(octets).digest(),
}
_LENGTHS = {1: 32, 2: 64}
_MOST_CERTIFICATES = 10  # of the server's chain that are looked at
_DER = 2  # _ssl.ENCODING_DER


@dataclass(frozen=True, slots=True)
class Tlsa:
    """One TLSA record that can be used for SMTP."""

    usage: int
    selector: int
    matching: int
    data: bytes

    def __str__(self) -> str:
        return f"{self.usage} {self.selector} {self.matching} {self.data.hex()}"

    def matches(self, certificate: x509.Certificate) -> bool:
        """Whether the record is about this certificate or its key; an odd key is no match."""
        if self.selector == _WHOLE:
            octets = certificate.public_bytes(Encoding.DER)
        else:
            try:
                key = certificate.public_key()
            except (ValueError, UnsupportedAlgorithm):
                return False
            octets = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return hmac.compare_digest(_DIGESTS[self.matching](octets), self.data)


@dataclass(frozen=True, slots=True)
class Demand:
    """What DNS demands of a server, securely.

    records: those that can be used. When there are none, TLS is demanded all the same,
    with any certificate (RFC 7672 section 2.2). base: the name that they stand under.
    """

    records: tuple[Tlsa, ...]
    base: str

    def refusal(self, chain: Sequence[bytes], names: Sequence[str], now: datetime) -> str:
        """Why the server isn't the one that is meant, or empty.

        chain: the certificates that it showed, its own first, as DER. names: those that a
        certificate by an authority may be for (RFC 7672 section 3.2.3).
        """
        try:
            certificates = [
                x509.load_der_x509_certificate(der) for der in chain[:_MOST_CERTIFICATES]
            ]
            if any(r.usage == _SERVER and r.matches(certificates[0]) for r in self.records):
                return ""
            anchors = [
                certificate
                for certificate in certificates[1:]
                if any(r.usage == _AUTHORITY and r.matches(certificate) for r in self.records)
            ]
        except (ValueError, IndexError) as unreadable:
            return f"its certificates can't be read: {unreadable}"
        anchors += _written_out(self.records)
        if not anchors:
            return "no TLSA record matches its certificate"
        return _distrust(certificates, anchors, names, now)


def _written_out(records: Sequence[Tlsa]) -> list[x509.Certificate]:
    """The authorities that stand in the records themselves: servers needn't show them.

    RFC 7671 section 5.2.2.
    """
    found = []
    for record in records:
        if (record.usage, record.selector, record.matching) == (_AUTHORITY, _WHOLE, 0):
            with contextlib.suppress(ValueError):
                found.append(x509.load_der_x509_certificate(record.data))
    return found


def _distrust(
    certificates: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    names: Sequence[str],
    now: datetime,
) -> str:
    """Why the first certificate isn't by an anchor for one of the names, or empty."""
    builder = (
        PolicyBuilder()
        .store(Store(list(anchors)))
        .time(now)
        .extension_policies(ca_policy=_ANY_AUTHORITY, ee_policy=_ANY_SERVER)
    )
    why = "it has no name"
    for name in names:
        try:
            verifier = builder.build_server_verifier(x509.DNSName(name))
            verifier.verify(certificates[0], list(certificates[1:]))
        except ValueError:  # such as one with an underscore
            why = f"no certificate can be for {name}"
        except VerificationError as bad:
            why = str(bad)
        else:
            return ""
    return f"the TLSA record's authority doesn't vouch for it: {why}"


def _is_authority(_: object, __: x509.Certificate, constraints: x509.BasicConstraints) -> None:
    if not constraints.ca:
        raise ValueError("a certificate of the chain is no authority's")


# Private authorities keep fewer rules of form than those of the web.
_ANY_AUTHORITY = ExtensionPolicy.permit_all().require_present(
    x509.BasicConstraints, Criticality.AGNOSTIC, _is_authority
)
_ANY_SERVER = ExtensionPolicy.permit_all().require_present(
    x509.SubjectAlternativeName, Criticality.AGNOSTIC, None
)


def usable(records: Sequence[bytes]) -> tuple[Tlsa, ...]:
    """The TLSA records that are about SMTP and well-formed, weaker digests left out.

    records: their octets (RFC 6698 section 2.1). Of one usage and selector only the
    strongest digest counts, besides whole values (RFC 7671 section 9).
    """
    known = [
        Tlsa(record[0], record[1], record[2], record[3:]) for record in records if len(record) > 3
    ]
    good = [
        each
        for each in known
        if each.usage in (_AUTHORITY, _SERVER)
        and each.selector in (_WHOLE, _KEY)
        and each.matching in _DIGESTS
        and len(each.data) == _LENGTHS.get(each.matching, len(each.data))
    ]
    strongest = {
        kind: max(each.matching for each in good if (each.usage, each.selector) == kind)
        for kind in {(each.usage, each.selector) for each in good}
    }
    return tuple(
        each for each in good if each.matching in (0, strongest[each.usage, each.selector])
    )


class Dane:
    """Asks DNS what servers must show, and looks at what they do."""

    def __init__(self, resolver: SecureResolver, clock: Clock) -> None:
        self._resolver = resolver
        self._clock = clock

    async def demand(self, endpoint: Endpoint) -> Demand | None:
        """What DNS demands of this server; None when it demands nothing, or can't be believed.

        Where the addresses aren't secure no TLSA record is asked for: servers of unsigned
        zones may fail on the question (RFC 7672 section 2.2.2). Raises DnsError: then the
        server must not be used (section 2.1.2).
        """
        if _is_address(endpoint.host):
            return None
        for base in await _bases(endpoint.host, self._resolver):
            name = f"_{endpoint.port}._tcp.{base}"
            answer = await self._resolver.lookup_secure(name, "TLSA")
            if answer.secure and answer.records:
                return Demand(usable(cast("Sequence[bytes]", answer.records)), base)
        return None

    def refusal(self, demand: Demand, host: str, tls: ssl.SSLObject) -> str:
        """Why the server at the other end isn't the one that DNS means, or empty."""
        names = list(dict.fromkeys((demand.base, host)))
        return demand.refusal(presented_chain(tls), names, self._clock.now())


async def _bases(host: str, resolver: SecureResolver) -> list[str]:
    """Under which names the records may stand (RFC 7672 sections 2.2.2 and 2.2.3)."""
    address = await _addresses(host, resolver)
    is_alias = address.name.lower() != host.lower()
    if address.secure:
        return [address.name, host] if is_alias else [host]
    if is_alias and (await resolver.lookup_secure(host, "CNAME")).secure:
        return [host]
    return []


async def _addresses(host: str, resolver: SecureResolver) -> DnsAnswer:
    answer = await resolver.lookup_secure(host, "A")
    return answer if answer.records else await resolver.lookup_secure(host, "AAAA")


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def presented_chain(tls: ssl.SSLObject) -> list[bytes]:
    """The certificates that the server showed, its own first, as DER."""
    if public := getattr(tls, "get_unverified_chain", None):  # since Python 3.13
        return list(public())
    inner: Any = tls._sslobj  # type: ignore[attr-defined]  # noqa: SLF001  # before that it is there only
    return [certificate.public_bytes(_DER) for certificate in inner.get_unverified_chain() or ()]
