"""The plugin `dkim-sign`: signs what leaves with DKIM."""

import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parseaddr
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from filterrelay.errors import FilterRelayError
from filterrelay.mail.edits import edit_message
from filterrelay.plugin import (
    AddHeader,
    Edit,
    Envelope,
    Message,
    Options,
    Services,
    Session,
    hook,
)
from filterrelay.plugin.options import resolve_path
from filterrelay.wire.dkim_key import KeyUse, concerns, read_key
from filterrelay.wire.dkim_signing import FIELD, Signer, names_to_sign, signature_values
from filterrelay.wire.dkim_verifying import Unacceptable, Verification, parse_signature

BIG = 256 * 1024  # octets from which hashing would hold up other sessions
MAX_FROM = 4096  # characters of a From field that are worth parsing

_DOMAIN = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\Z")
_FIELD_NAME = re.compile(r"[a-z0-9-]{1,60}\Z")
# The usual forms of From, read without the whole grammar: a@b and Name <a@b>.
_PLAIN_FROM = re.compile(r'(?:[^"()<>,:;\\]*<)?[^\s"()<>@,:;\\]+@([^\s"()<>@,:;\\]+?)>?\Z')


def _domain(text: str) -> str:
    name = _ascii_domain(text.rstrip("."))
    if not _DOMAIN.match(name):
        raise ValueError(f"{text!r} is no domain name")
    return name


def _field_name(text: str) -> str:
    if not _FIELD_NAME.match(text.lower()):
        raise ValueError(f"{text!r} is no header field's name")
    return text.lower()


DomainName = Annotated[str, AfterValidator(_domain)]
FieldName = Annotated[str, AfterValidator(_field_name)]


class SigningKeyOptions(Options):
    """One key, and whose mail it signs."""

    domain: DomainName
    """The domain in the signature's d=."""
    selector: DomainName
    """The name below `_domainkey` in DNS that the public key is published under."""
    key: Path
    """The private key as a PEM file: RSA or Ed25519, which decides the algorithm."""
    subdomains: bool = True
    """Whether it signs for the domain's subdomains too, where they have no key of their own."""


class DkimSignOptions(Options):
    """The options of `dkim-sign`."""

    keys: tuple[SigningKeyOptions, ...] = Field(min_length=1)
    """The keys; several for one domain give a signature each."""
    oversign: tuple[FieldName, ...] = ("from", "subject", "to")
    """Fields that nobody may add later without breaking the signature; From always is one."""
    by_envelope_sender: bool = False
    """Whether the envelope sender's domain decides when From's domain has no key."""


@dataclass
class SignatureUnsound(FilterRelayError):
    """A fresh signature doesn't verify, so the message must not leave with it."""

    domain: str
    selector: str
    reason: str


class DkimSign:
    """Signs mail with DKIM (RFC 6376) by the domain of its From field.

    RSA and Ed25519, any number of keys and domains; From is oversigned. Before a
    signature leaves, it is verified as a receiver would, with the finished header
    and the body's hash; if that fails the message stays and its sender is asked to
    try again.
    Mail of a domain without a key leaves unsigned.
    """

    options_type = DkimSignOptions

    def __init__(self, options: DkimSignOptions) -> None:
        """Takes the validated options; the keys are read at start."""
        self._options = options
        self._oversign = tuple(dict.fromkeys(("from", *options.oversign)))
        self._exact: dict[str, tuple[Signer, ...]] = {}
        self._above: dict[str, tuple[Signer, ...]] = {}

    @hook
    @asynccontextmanager
    async def lifespan(self, services: Services) -> AsyncIterator[None]:
        """Reads the keys. Raises BadKey."""
        self._services = services
        self._read_keys(services)
        yield

    def dkim_keys(self, base_dir: Path) -> Iterator[KeyUse]:
        """The keys that must be published for `filterrelay dkim` and `filterrelay check`."""
        for entry in self._options.keys:
            yield KeyUse(entry.domain, entry.selector, resolve_path(base_dir, entry.key))

    def _read_keys(self, services: Services) -> None:
        for entry in self._options.keys:
            path = resolve_path(services.base_dir, entry.key)
            key = read_key(path)
            for concern in concerns(path, key):
                services.log.warning("dkim_key_concern", path=str(path), reason=concern)
            signer = Signer(entry.domain, entry.selector, key)
            self._exact[entry.domain] = (*self._exact.get(entry.domain, ()), signer)
            if entry.subdomains:
                self._above[entry.domain] = (*self._above.get(entry.domain, ()), signer)

    @hook
    async def sign(
        self, session: Session, envelope: Envelope, message: Message
    ) -> tuple[Edit, ...] | None:
        """The signatures as new fields, or None when there is no key for this mail.

        A stranger's mail is never signed, whatever domain it claims to come from.
        """
        signers = self._signers(envelope, message) if session.may_relay else ()
        if not signers:
            return None
        at = int(self._services.clock.now().timestamp())
        if len(message) > BIG:
            return await self._services.in_thread(self._signatures, message, signers, at)
        return self._signatures(message, signers, at)

    def _signers(self, envelope: Envelope, message: Message) -> tuple[Signer, ...]:
        authors = message.all("from")
        if len(authors) != 1:
            # RFC 5322 section 3.6 wants exactly one, and nobody could say which one is shown.
            self._services.log.debug("unsigned", reason="not one From field", message_id=message.id)
            return ()
        domain = _from_domain(authors[0].value)
        signers = self._for_domain(domain)
        if not signers and self._options.by_envelope_sender and envelope.sender:
            signers = self._for_domain(_ascii_domain(envelope.sender.domain))
        if not signers:
            self._services.log.debug(
                "unsigned", reason="no key", domain=domain, message_id=message.id
            )
        return signers

    def _for_domain(self, domain: str) -> tuple[Signer, ...]:
        """The domain's own keys, else those of the nearest domain above."""
        found = self._exact.get(domain, ())
        while not found and "." in domain:
            domain = domain.partition(".")[2]
            found = self._above.get(domain, ())
        return found

    def _signatures(self, message: Message, signers: Sequence[Signer], at: int) -> tuple[Edit, ...]:
        names = names_to_sign(message, self._oversign)
        values = signature_values(message, signers, names, at)
        edits = tuple(AddHeader(FIELD, value) for value in values)
        _check(edit_message(message, edits), signers, at)
        return edits


def _check(finished: Message, signers: Sequence[Signer], at: int) -> None:
    """Verifies the new signatures above a finished header. Raises SignatureUnsound."""
    verification = Verification(finished, at)
    for signer, field in zip(reversed(signers), finished.headers, strict=False):
        try:
            judged = verification.judge(parse_signature(field.raw), signer.key.public)
        except Unacceptable as error:
            judged = error.judgement
        if judged.result != "pass":
            raise SignatureUnsound(signer.domain, signer.selector, judged.reason)


def _from_domain(value: str) -> str:
    """The domain of the first address in a From field, in lower case; empty when there is none."""
    if len(value) > MAX_FROM:
        return ""
    plain = _PLAIN_FROM.match(value)
    domain = plain[1] if plain else parseaddr(value)[1].rpartition("@")[2]
    return _ascii_domain(domain)


def _ascii_domain(domain: str) -> str:
    """The domain in lower case, and in A-labels where it has letters beyond ASCII."""
    if domain.isascii():
        return domain.lower()
    try:
        return domain.encode("idna").decode().lower()
    except UnicodeError:
        return domain.lower()
