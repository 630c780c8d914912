"""Zones that DNSSEC proves."""

from dataclasses import dataclass

import dns.dnssec
import dns.zone
from cryptography.hazmat.primitives.asymmetric import ec

from .nsd import zone_text

_ALGORITHM = "ECDSAP256SHA256"
_LIFETIME = 86_400  # seconds


@dataclass(frozen=True)
class Signed:
    """A zone's file, and its key as a validating resolver takes it for a trust anchor."""

    text: str
    anchor: str


def sign(name: str, records: str) -> Signed:
    """The zone of these records, signed with a new key."""
    zone = dns.zone.from_text(zone_text(name, records), name, relativize=False)
    private = ec.generate_private_key(ec.SECP256R1())
    public = dns.dnssec.make_dnskey(private.public_key(), _ALGORITHM, flags=257)
    dns.dnssec.sign_zone(zone, keys=[(private, public)], dnskey_ttl=60, lifetime=_LIFETIME)
    return Signed(zone.to_text(relativize=False), f"{name}. DNSKEY {public.to_text()}")
