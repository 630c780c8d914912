"""Who may send what to whom: the rules that keep the relay from being an open one."""

from collections.abc import Callable
from dataclasses import dataclass

from filterrelay.intake.submission import may_send_as
from filterrelay.mail.address import Address, BadAddress, any_matches
from filterrelay.mail.authors import addresses_in
from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.mail.message import Message
from filterrelay.mail.reply import Reply
from filterrelay.mail.session import Session
from filterrelay.settings import Listener

LOGIN_FIRST = Reply(530, "5.7.0", "Log in first")  # RFC 4954 section 6
NO_RELAYING = Reply(550, "5.7.1", "Relaying denied: log in, or send to our own domains only")
NO_ROUTING = Reply(550, "5.7.1", "Relaying denied: the address holds another address")


Closed = Callable[[Address | None, Address, str], Reply | None]  # sender, recipient, login


def _open(_sender: Address | None, _recipient: Address, _login: str) -> None:
    """Nobody's mail is refused for where it would go."""


@dataclass(frozen=True, slots=True)
class RelayRules:
    """One listener's rules.

    hostname: the relay's own name. closed: what those are told whose mail the file's
    routes reject.
    """

    listener: Listener
    hostname: str
    closed: Closed = _open

    @property
    def limits_senders(self) -> bool:
        """Whether a sender may be refused."""
        return self.listener.auth == "required" or self.listener.senders != "any"

    @property
    def limits_authors(self) -> bool:
        """Whether the header of a message may be refused."""
        return "any" not in (self.listener.senders, self.listener.from_header)

    def sender(self, session: Session, envelope: Envelope) -> Reply | None:
        """Why that sender is refused, or None."""
        logs_in = self.listener.auth == "required" and not self.listener.relay_domains
        if logs_in and not session.may_relay:
            return LOGIN_FIRST
        identity, sender = session.identity, envelope.sender
        if identity is None or sender is None or self.listener.senders == "any":
            return None
        if may_send_as(identity, sender, self.hostname):
            return None
        text = f"{identity.login} may not send as {sender}; ask the postmaster to allow it"
        return Reply(553, "5.7.1", text)

    def author(self, session: Session, message: Message) -> Reply | None:
        """Why a login may not have written that message, or None.

        Readers see From, and the relay's signature vouches for it. A Sender field
        (RFC 5322 section 3.6.2) must be the login's as well and excuses nothing:
        most mail programs don't show it.
        """
        identity = session.identity
        if identity is None or not self.limits_authors:
            return None
        for field in (*message.all("from"), *message.all("sender")):
            try:
                claimed = addresses_in(field.value)
            except BadAddress as error:
                return Reply(550, "5.7.1", f"Cannot tell whom {field.name} names: {error}")
            for address in claimed:
                if not may_send_as(identity, address, self.hostname):
                    text = f"{identity.login} may not write as {address}"
                    return Reply(550, "5.7.1", f"{text}; ask the postmaster to allow it")
        return None

    def recipient(self, session: Session, envelope: Envelope, recipient: Recipient) -> Reply | None:
        """Why that recipient is refused, or None. envelope: as far as it has been said.

        Where a mail server stands in front, relaying and routes are its part.
        """
        if self.listener.kind != "smtp":
            return None
        refused = None if session.may_relay else self._stranger(recipient.address)
        return refused or self.closed(envelope.sender, recipient.address, session.login)

    def _stranger(self, address: Address) -> Reply | None:
        """Why a client that may not relay can't send there, or None."""
        if not address.domain:  # the bare postmaster is ours to serve (RFC 5321 section 4.5.1)
            return NO_RELAYING if not self.listener.relay_domains else None
        if not any_matches(self.listener.relay_domains, address):
            return NO_RELAYING
        if any(mark in address.local for mark in "%!@"):
            return NO_ROUTING
        return None


@dataclass(frozen=True, slots=True)
class IntakeRules:
    """What the intake keeps to. listeners: each one's rules by its name."""

    hostname: str
    listeners: dict[str, RelayRules]
    received_headers: int
