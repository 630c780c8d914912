"""DKIM keys: private ones from PEM files, public ones from DNS, and the records that carry them.

dkimpy parses the tag lists; `cryptography` does the arithmetic, some twenty
times as fast as dkimpy's own RSA.
"""

import base64
import binascii
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property, lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import (
    RSAPrivateKey,
    RSAPublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
)
from dkim.util import InvalidTagValueList, parse_tag_value

from filterrelay.errors import FilterRelayError, why_unreadable

KeyKind = Literal["rsa", "ed25519"]

MIN_RSA_BITS = 1024  # RFC 8301 section 3.2: shorter keys must not be used
GOOD_RSA_BITS = 2048  # RFC 8301 section 3.2: what signers should use
MAX_RSA_BITS = 4096  # RFC 8301 section 3.2: what every verifier can check
MAX_EXPONENT_BITS = 33  # 65537 has 17; huge ones make verifying as dear as signing
MAX_RECORD = 4096  # octets of a key record; 4096 bits of RSA take some 750
STRING_SIZE = 255  # octets of one string in a TXT record, RFC 1035 section 3.3

_PADDING = PKCS1v15()
_SHA256 = SHA256()


@dataclass
class BadKey(FilterRelayError):
    """The DKIM key can't be used."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"DKIM key {self.path}: {self.reason}"


@dataclass
class BadKeyRecord(FilterRelayError):
    """The public key in DNS can't be used."""

    reason: str

    def __str__(self) -> str:
        return self.reason


@dataclass(frozen=True)
class PublicKey:
    """A public key, with the limits that its DNS record sets (RFC 6376 section 3.6.1).

    testing: the record says `t=y`. strict: it says `t=s`, so i= and d= must be one domain.
    """

    key: RSAPublicKey | Ed25519PublicKey
    testing: bool = False
    strict: bool = False

    @cached_property
    def kind(self) -> KeyKind:
        """As the k= tag has it."""
        return "rsa" if isinstance(self.key, RSAPublicKey) else "ed25519"

    @cached_property
    def weakness(self) -> str:
        """Why no signature by this key should count, or empty (RFC 8301 section 3.2)."""
        if isinstance(self.key, Ed25519PublicKey):
            return ""
        if self.key.key_size < MIN_RSA_BITS:
            return f"the key has only {self.key.key_size} bits"
        if self.key.key_size > MAX_RSA_BITS:
            return f"the key has {self.key.key_size} bits, more than {MAX_RSA_BITS}"
        if self.key.public_numbers().e.bit_length() > MAX_EXPONENT_BITS:
            return "the key's exponent is oversized"
        return ""

    def verifies(self, signature: bytes, signed: bytes) -> bool:
        """Whether it is a signature of those bytes (RFC 6376 section 3.3, RFC 8463 section 3)."""
        try:
            self._verify(signature, signed)
        except InvalidSignature:
            return False
        return True

    @cached_property
    def _verify(self) -> Callable[[bytes, bytes], None]:
        # Chosen once: what `cryptography` asks to tell the kinds apart takes as long as a hash.
        key = self.key
        if isinstance(key, RSAPublicKey):
            return lambda signature, signed: key.verify(signature, signed, _PADDING, _SHA256)
        return lambda signature, signed: key.verify(signature, sha256(signed).digest())

    @property
    def encoded(self) -> bytes:
        """What the p= tag says, in base64 (RFC 6376 section 3.6.1, RFC 8463 section 4)."""
        if isinstance(self.key, RSAPublicKey):
            der = self.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        else:
            der = self.key.public_bytes(Encoding.Raw, PublicFormat.Raw)
        return base64.b64encode(der)

    @property
    def record(self) -> str:
        """The TXT record to publish."""
        return f"v=DKIM1; k={self.kind}; p={self.encoded.decode()}"


@dataclass(frozen=True)
class SigningKey:
    """A private key, ready to sign."""

    key: RSAPrivateKey | Ed25519PrivateKey = field(repr=False)

    @cached_property
    def public(self) -> PublicKey:
        """Its public half."""
        return PublicKey(self.key.public_key())

    @cached_property
    def algorithm(self) -> str:
        """As the a= tag has it."""
        return f"{self.public.kind}-sha256"

    def sign(self, content: bytes) -> bytes:
        """The signature of those bytes (RFC 6376 section 3.3.2, RFC 8463 section 3)."""
        return self._sign(content)

    @cached_property
    def _sign(self) -> Callable[[bytes], bytes]:
        key = self.key
        if isinstance(key, RSAPrivateKey):
            return lambda content: key.sign(content, _PADDING, _SHA256)
        return lambda content: key.sign(sha256(content).digest())

    @property
    def pem(self) -> bytes:
        """The key as a PEM file has it (PKCS #8), unencrypted."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def make_key(kind: KeyKind, bits: int = GOOD_RSA_BITS) -> SigningKey:
    """A new key; bits count for RSA only."""
    if kind == "ed25519":
        return SigningKey(Ed25519PrivateKey.generate())
    return SigningKey(generate_private_key(65537, bits))


def read_key(path: Path) -> SigningKey:
    """The key in a PEM file, PKCS #8 or PKCS #1. Raises BadKey, which says what is wrong."""
    try:
        pem = path.read_bytes()
    except OSError as error:
        raise BadKey(str(path), f"can't be read: {why_unreadable(error)}") from None
    try:
        key = load_pem_private_key(pem, None)
    except TypeError:
        raise BadKey(str(path), "it is encrypted; DKIM needs it without a passphrase") from None
    except (ValueError, UnsupportedAlgorithm):
        raise BadKey(str(path), "it holds no private key in PEM format") from None
    if not isinstance(key, RSAPrivateKey | Ed25519PrivateKey):
        raise BadKey(str(path), "DKIM knows RSA and Ed25519 keys only")
    signing = SigningKey(key)
    if signing.public.weakness:
        raise BadKey(str(path), f"it can't be used: {signing.public.weakness}")
    return signing


def write_key(path: Path, key: SigningKey) -> None:
    """Writes the key into a new file that its owner alone can read. Raises BadKey."""
    if path.exists():
        raise BadKey(str(path), "is there already, and is left as it is")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "xb", opener=_for_owner_alone) as file:  # Path.open has no opener
            file.write(key.pem)
    except OSError as error:
        raise BadKey(str(path), f"can't be written: {error.strerror}") from None


def _for_owner_alone(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def concerns(path: Path, key: SigningKey) -> Iterator[str]:
    """What an operator should be warned of about a key that works."""
    if path.stat().st_mode & stat.S_IROTH:
        yield "everybody on this machine can read it; make it readable by its owner only"
    if isinstance(key.key, RSAPrivateKey) and key.key.key_size < GOOD_RSA_BITS:
        yield f"it has only {key.key.key_size} bits; RFC 8301 asks for {GOOD_RSA_BITS}"


@dataclass(frozen=True, slots=True)
class KeyUse:
    """Which key signs for which domain, under which selector, as a configuration says it."""

    domain: str
    selector: str
    path: Path

    @property
    def record_name(self) -> str:
        """Where its public half is published (RFC 6376 section 3.6.2.1)."""
        return record_name(self.selector, self.domain)


def record_name(selector: str, domain: str) -> str:
    """The name that a public key is published under, without final dot."""
    return f"{selector}._domainkey.{domain}"


def record_strings(record: str) -> tuple[str, ...]:
    """The record in strings that fit into a TXT record."""
    return tuple(record[i : i + STRING_SIZE] for i in range(0, len(record), STRING_SIZE))


def zone_line(name: str, record: str) -> str:
    """The record as a zone file has it, one string a line when there are several."""
    strings = [f'"{text}"' for text in record_strings(record)]
    if len(strings) == 1:
        return f"{name}. IN TXT {strings[0]}"
    return "\n".join([f"{name}. IN TXT (", *(f"    {text}" for text in strings), ")"])


class Published(StrEnum):
    """What DNS says of a key."""

    MATCHES = "matches"
    MISSING = "missing"
    DIFFERENT = "different"
    REVOKED = "revoked"
    SEVERAL = "several"
    BROKEN = "broken"
    UNANSWERED = "unanswered"


@dataclass(frozen=True, slots=True)
class Publication:
    """How a key and its DNS record go together: a word, and a sentence for the operator."""

    state: Published
    text: str

    @property
    def is_good(self) -> bool:
        """Whether receivers can verify what the key signs."""
        return self.state is Published.MATCHES


def compare_with_dns(key: PublicKey, records: Sequence[bytes]) -> Publication:
    """The key beside the TXT records found under its name."""
    if not records:
        return Publication(Published.MISSING, "DNS has no record under this name")
    if len(records) > 1:
        text = f"DNS has {len(records)} records under this name; receivers may take any of them"
        return Publication(Published.SEVERAL, text)
    try:
        found = parse_key_record(records[0])
    except BadKeyRecord as error:
        state = Published.REVOKED if error.reason == REVOKED else Published.BROKEN
        return Publication(state, error.reason)
    if found.encoded != key.encoded:
        return Publication(Published.DIFFERENT, "DNS has another key under this name")
    if found.testing:
        return Publication(Published.MATCHES, "published, but marked as a test by t=y")
    return Publication(Published.MATCHES, "published")


REVOKED = "the key is revoked"


def parse_key_record(record: bytes) -> PublicKey:
    """The key in a TXT record (RFC 6376 section 3.6.1). Raises BadKeyRecord."""
    if len(record) > MAX_RECORD:
        raise BadKeyRecord("the key record is too long")
    return _parsed_record(record)


@lru_cache(maxsize=512)
def _parsed_record(record: bytes) -> PublicKey:
    try:
        tags: dict[bytes, bytes] = parse_tag_value(record)
    except InvalidTagValueList:
        raise BadKeyRecord("the key record is no tag list") from None
    if tags.get(b"v", b"DKIM1") != b"DKIM1":
        raise BadKeyRecord("the key record is of another version")
    if b"p" not in tags:
        raise BadKeyRecord("the key record has no key")
    encoded = b"".join(tags[b"p"].split())
    if not encoded:
        raise BadKeyRecord(REVOKED)
    if b"h" in tags and b"sha256" not in _words(tags[b"h"]):
        raise BadKeyRecord("the key is not for SHA-256")
    if not {b"*", b"email"} & _words(tags.get(b"s", b"*")):
        raise BadKeyRecord("the key is not for mail")
    flags = _words(tags.get(b"t", b""))
    key = _public_key(tags.get(b"k", b"rsa"), encoded)
    return PublicKey(key, testing=b"y" in flags, strict=b"s" in flags)


def _words(value: bytes) -> set[bytes]:
    return {word.strip() for word in value.split(b":")}


def _public_key(kind: bytes, encoded: bytes) -> RSAPublicKey | Ed25519PublicKey:
    try:
        der = base64.b64decode(encoded, validate=True)
        key = Ed25519PublicKey.from_public_bytes(der) if kind == b"ed25519" else _rsa_key(kind, der)
    except (binascii.Error, ValueError, UnsupportedAlgorithm):
        raise BadKeyRecord("the key in the record is broken") from None
    return key


def _rsa_key(kind: bytes, der: bytes) -> RSAPublicKey:
    if kind != b"rsa":
        raise BadKeyRecord("the key is of an unknown kind")
    key = load_der_public_key(der)
    if not isinstance(key, RSAPublicKey):
        raise BadKeyRecord("the key in the record is of another kind than it says")
    return key
