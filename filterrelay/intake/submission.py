"""What a relay owes to mail that its own users submit (RFC 6409)."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime

from filterrelay.intake.trace import date_value
from filterrelay.mail.address import Address, AddressPattern, any_matches
from filterrelay.mail.edits import AddHeader, Edit, RemoveHeader
from filterrelay.mail.message import Message
from filterrelay.mail.session import Identity


def completed(message: Message, hostname: str, at: datetime) -> Iterator[Edit]:
    """Adds Date and Message-ID when missing (section 8), and takes blind copies away."""
    if not message.all("date"):
        yield AddHeader("Date", date_value(at))
    if not message.all("message-id"):
        yield AddHeader("Message-ID", f"<{message.id}@{hostname}>")
    for name in ("Bcc", "Resent-Bcc"):  # RFC 5322 sections 3.6.3 and 3.6.6
        if message.all(name):
            yield RemoveHeader(name)


def may_send_as(identity: Identity, sender: Address, hostname: str) -> bool:
    """Whether the login may use that address as a sender's (section 6.1).

    A login sends as itself and as its listed senders. One without a domain is
    itself at the relay's host name and at the domain that it stands in.
    """
    login = identity.login.lower()
    local, at, domain = login.rpartition("@")
    if at:
        itself = sender.key == Address(local, domain).key
    else:
        own_domains = (hostname.lower(), hostname.lower().partition(".")[2])
        itself = sender.local.lower() == login and sender.domain.lower() in own_domains
    return itself or any_matches(_patterns(identity.senders), sender)


def _patterns(senders: Iterable[str]) -> Iterator[AddressPattern]:
    """A directory's patterns; one that is none means nobody, and the others still count."""
    for text in senders:
        with suppress(ValueError):
            yield AddressPattern(text)
