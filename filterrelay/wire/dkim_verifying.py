"""DKIM signatures judged: parsed, then checked against a message and a key, without DNS.

The words are those of RFC 8601 section 2.7.1: `neutral` for a signature that
can't be understood, `permerror` for one that can't be verified, `policy` for
one that this verifier doesn't accept, `fail` for one that doesn't match.
"""

import re
from binascii import a2b_base64
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from filterrelay.errors import FilterRelayError
from filterrelay.wire.dkim_canonical import (
    Canonical,
    Mail,
    canonical_field,
    digest_of_body,
    signed_fields,
)
from filterrelay.wire.dkim_key import PublicKey, record_name

Result = Literal["none", "pass", "fail", "policy", "neutral", "temperror", "permerror"]

MAX_FIELD = 16 * 1024  # octets of one DKIM-Signature; real ones stay below 2 KiB
ALGORITHMS = {"rsa-sha256": "rsa", "ed25519-sha256": "ed25519"}
SLOW_CLOCK = 300  # seconds that a signature may be past its x=

_MANDATORY = frozenset((b"v", b"a", b"b", b"bh", b"d", b"h", b"s"))  # RFC 6376 section 3.5
_KNOWN = _MANDATORY | {b"c", b"i", b"l", b"q", b"t", b"x", b"z"}
_NAME = re.compile(r"[\w-]{1,63}(?:\.[\w-]{1,63})*\Z")  # with RFC 8616's letters beyond ASCII
_BLANKS = " \t\r\n"
_SHORT = 2 * 1024  # octets of a field worth remembering; strangers' longer ones would take memory
_SIGNATURE = re.compile(rb"(?:\A[^:]*:|;)\s*b\s*=([^;]*)")
_TAG_NAME = re.compile(rb"[a-zA-Z]\w*")
_NUMBER = re.compile(rb"\d{1,12}\Z")
_FORMS: dict[bytes, Canonical] = {b"simple": "simple", b"relaxed": "relaxed"}


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of one signature.

    domain, selector, algorithm: as the signature has them, as far as it could be
    read. identity: i=, when said. digits: how its b= begins (RFC 6008).
    testing: the key's owner asks that the signature be ignored (t=y).
    """

    result: Result
    reason: str = ""
    domain: str = ""
    selector: str = ""
    algorithm: str = ""
    identity: str = ""
    digits: str = ""
    testing: bool = False


@dataclass
class Unacceptable(FilterRelayError):
    """The signature is judged by its own words alone."""

    judgement: Judgement


@dataclass(frozen=True, slots=True)
class Said:
    """What a signature's tags say but for b= and bh=, which are another message's each time.

    names: the h= tag in lower case. expires: seconds since 1970, or None. refusal: why it
    isn't worth a look-up (RFC 6376 section 6.1.1), or None.
    """

    domain: str
    selector: str
    algorithm: str
    identity: str
    names: tuple[str, ...]
    forms: tuple[Canonical, Canonical]
    expires: int | None
    refusal: tuple[Result, str] | None


@dataclass(frozen=True, slots=True)
class Signature:
    """A DKIM-Signature field that makes sense (RFC 6376 section 3.5).

    digits: how its b= begins. field: the field without the signature itself, as it is signed.
    """

    said: Said
    digits: str
    field: bytes
    signature: bytes
    body_hash: bytes

    @property
    def key_name(self) -> str:
        """The name under which DNS has the key."""
        return record_name(self.said.selector, self.said.domain)

    def judged(self, result: Result, reason: str = "", *, testing: bool = False) -> Judgement:
        """The judgement with everything that the signature says of itself."""
        return _judgement(self.said, self.digits, result, reason, testing=testing)


def _judgement(
    said: Said, digits: str, result: Result, reason: str = "", *, testing: bool = False
) -> Judgement:
    return Judgement(
        result, reason, said.domain, said.selector, said.algorithm, said.identity, digits, testing
    )


def parse_signature(raw: bytes) -> Signature:
    """The signature in a whole DKIM-Signature field. Raises Unacceptable."""
    if len(raw) > MAX_FIELD:
        raise Unacceptable(Judgement("neutral", "the signature is too long"))
    tags = _tags(raw.partition(b":")[2])
    if tags is None:
        raise Unacceptable(Judgement("neutral", "the signature is no tag list"))
    missing = None if tags.keys() >= _MANDATORY else _missing(tags)
    signature, body_hash = tags.pop(b"b", b""), tags.pop(b"bh", b"")
    signature = b"".join(signature.split())
    digits = signature[:8].decode("ascii", "replace")
    pairs = tuple(tags.items())
    said = _said_short(pairs) if len(raw) <= _SHORT else _said(pairs)
    if refusal := missing or said.refusal:
        raise Unacceptable(_judgement(said, digits, *refusal))
    try:
        octets = a2b_base64(signature, strict_mode=True)
        digest = a2b_base64(b"".join(body_hash.split()), strict_mode=True)
    except ValueError:
        broken = _judgement(said, digits, "neutral", "b= or bh= is not base64")
        raise Unacceptable(broken) from None
    field = canonical_field(_without_signature(raw), said.forms[0]).removesuffix(b"\r\n")
    return Signature(said, digits, field, octets, digest)


def _tags(value: bytes) -> dict[bytes, bytes] | None:
    """The tags of a list (RFC 6376 section 3.2), or None where it is none.

    As dkimpy reads them, in a fraction of its time.
    """
    tags: dict[bytes, bytes] = {}
    *parts, last = value.strip().split(b";")
    for tag in [*parts, last] if last else parts:
        name, equals, text = tag.partition(b"=")
        name = name.strip()
        known = name in _KNOWN or _TAG_NAME.match(name)
        if not equals or name in tags or not known:
            return None
        tags[name] = text.strip()
    return tags


def _missing(tags: Mapping[bytes, bytes]) -> tuple[Result, str]:
    missing = min(_MANDATORY - tags.keys())
    return "neutral", f"the signature has no {missing.decode()}="


def _said(pairs: tuple[tuple[bytes, bytes], ...]) -> Said:
    tags = dict(pairs)

    def text(tag: bytes, most: int) -> str:
        return tags.get(tag, b"").decode("utf-8", "replace")[:most]

    until = tags.get(b"x", b"")
    said = Said(
        domain=text(b"d", 253).lower(),
        selector=text(b"s", 253),
        algorithm=text(b"a", 40),
        identity=text(b"i", 320),
        names=_names(tags.get(b"h", b"")),
        forms=_forms(tags.get(b"c", b"simple")) or ("simple", "simple"),
        expires=int(until) if _NUMBER.match(until) else None,
        refusal=None,
    )
    refusal = _refusal(tags, said)
    return said if refusal is None else replace(said, refusal=refusal)


# What one signer signs in one second is alike but for b= and bh=.
_said_short = lru_cache(maxsize=64)(_said)


def _refusal(tags: Mapping[bytes, bytes], said: Said) -> tuple[Result, str] | None:
    """Why the signature isn't worth a look-up, or None (RFC 6376 section 6.1.1)."""
    if tags.get(b"v") != b"1":
        return "neutral", "the signature is of another version"
    if said.algorithm == "rsa-sha1":
        return "policy", "rsa-sha1 proves nothing any more (RFC 8301)"
    if said.algorithm not in ALGORITHMS:
        return "neutral", "the algorithm is unknown"
    if not _NAME.match(said.domain) or "." not in said.domain or not _NAME.match(said.selector):
        return "neutral", "d= or s= is no domain name"
    if not _forms(tags.get(b"c", b"simple")):
        return "neutral", "the canonicalization is unknown"
    if b"dns/txt" not in tags.get(b"q", b"dns/txt"):
        return "neutral", "the key is not in DNS"
    if not all(_NUMBER.match(tags[tag]) for tag in (b"t", b"x", b"l") if tag in tags):
        return "neutral", "t=, x= or l= is no number"
    return _objection(tags, said)


def _objection(tags: Mapping[bytes, bytes], said: Said) -> tuple[Result, str] | None:
    """What speaks against a signature of correct form, or None."""
    if b"l" in tags:
        return "policy", "l= leaves a part of the body unsigned"
    if "from" not in said.names:
        return "permerror", "From is not signed"
    if b"i" in tags and not f".{_identity_domain(said)}".endswith(f".{said.domain}"):
        return "permerror", "i= is not within d="
    if b"x" in tags and b"t" in tags and int(tags[b"x"]) < int(tags[b"t"]):
        return "permerror", "x= is before t="
    return None


def _identity_domain(said: Said) -> str:
    return said.identity.rpartition("@")[2].lower()


@lru_cache(maxsize=64)
def _forms(value: bytes) -> tuple[Canonical, Canonical] | None:
    """The forms of header and body that c= names; the body's is simple when unsaid."""
    words = [*value.lower().split(b"/"), b"simple"]
    header, body = _FORMS.get(words[0]), _FORMS.get(words[1])
    return (header, body) if header and body else None


def _names(value: bytes) -> tuple[str, ...]:
    return tuple([name.strip(_BLANKS) for name in value.decode("latin-1").lower().split(":")])


def _without_signature(raw: bytes) -> bytes:
    """The field with the value of b= taken out, blanks around it too (RFC 6376 section 3.5)."""
    found = _SIGNATURE.search(raw)
    return raw if found is None else raw[: found.start(1)] + raw[found.end(1) :]


class Verification:
    """The signatures of one message, checked."""

    def __init__(self, mail: Mail, now: int) -> None:
        """Takes the message as it stands. now: seconds since 1970."""
        self._mail = mail
        self._now = now

    def judge(self, signature: Signature, key: PublicKey) -> Judgement:
        """The signature checked against the message with that key (RFC 6376 section 6.1.3)."""
        testing = key.testing
        if refusal := self._refusal(signature, key):
            result, reason = refusal
            return signature.judged(result, reason, testing=testing)
        header_form, body_form = signature.said.forms
        signed = signed_fields(self._mail, signature.said.names, header_form)
        if not key.verifies(signature.signature, signed + signature.field):
            return signature.judged("fail", "the header doesn't match", testing=testing)
        if digest_of_body(self._mail, body_form) != signature.body_hash:
            return signature.judged("fail", "the body was changed", testing=testing)
        return signature.judged("pass", testing=testing)

    def _refusal(self, signature: Signature, key: PublicKey) -> tuple[Result, str] | None:
        said = signature.said
        if said.expires is not None and said.expires + SLOW_CLOCK < self._now:
            return "fail", "the signature has expired"
        if ALGORITHMS[said.algorithm] != key.kind:
            return "permerror", "the key is of another kind than the signature"
        if key.weakness:
            return "policy", key.weakness
        if key.strict and said.identity and _identity_domain(said) != said.domain:
            return "permerror", "the key is not for subdomains"
        if said.names.count("from") < len(self._mail.by_name.get("from", ())):
            return "permerror", "a From field is not signed"
        return None
