"""Delivery status notifications: failure, delay, success (RFC 3461, RFC 3464, RFC 6533).

A report is a message of the null sender, written as bytes with CRLF and handed
to `submit`, which signs it, makes it durable like any other mail and gives it an ID.
"""

import email.utils
import ipaddress
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.header import Header
from enum import Enum

from filterrelay.delivery.report_original import MOST_HEADERS, original_part
from filterrelay.delivery.report_text import About, Catalogue, Fate, catalogue, text_of
from filterrelay.mail.address import Address
from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.mail.identifier import new_id
from filterrelay.mail.message import Message
from filterrelay.mail.printable import printable
from filterrelay.mail.reply import Reply
from filterrelay.mail.words import decode_words
from filterrelay.observe.clock import Clock
from filterrelay.spool.store import StoredMessage

Submit = Callable[[Envelope, bytes, str], Awaitable[str]]  # also the ID that it is about

MOST_RETURNED = 1024 * 1024  # octets of the original that RET=FULL gives back
_SUBJECT = 78  # characters of the original's subject
_TEXT = 800  # octets of what somebody else wrote, on a line with words of ours
_WORDS = 450  # characters of a server's reply
_ENCODED = 75  # characters of a line with encoded words: RFC 2047 section 2, and one to spare

_XTEXT = re.compile(r"\+([0-9A-F]{2})")
_UTF8_XTEXT = re.compile(r"\\x\{([0-9A-F]{2,6})\}")  # RFC 6533 section 3
_NOT_QCHAR = re.compile(r"[^\x21-\x2a\x2c-\x3c\x3e-\x5b\x5d-\x7e]")


class Action(Enum):
    """What a report tells; RFC 3464 section 2.3.3."""

    FAILED = "failed"
    DELAYED = "delayed"
    RELAYED = "relayed"
    DELIVERED = "delivered"


# RFC 3461 section 4.1: nothing said means FAILURE, and DELAY as the server likes.
_WANTED = {
    Action.FAILED: "FAILURE",
    Action.DELAYED: "DELAY",
    Action.RELAYED: "SUCCESS",
    Action.DELIVERED: "SUCCESS",
}


@dataclass(frozen=True, slots=True)
class Told:
    """What a report says of one recipient.

    host: the server whose words the reply has, empty when they are ours.
    """

    recipient: Recipient
    reply: Reply
    host: str = ""


def wants(recipient: Recipient, action: Action) -> bool:
    """Whether the sender asked to hear this of the recipient, or didn't ask not to."""
    if not recipient.notify:
        return _WANTED[action] != "SUCCESS"
    return _WANTED[action] in recipient.notify


class Reports:
    """Writes reports and hands them over.

    language: of what people read. author: what stands in From, MAILER-DAEMON at the
    hostname when not said. postmaster: who is told of a report that can't be delivered.
    """

    def __init__(
        self,
        hostname: str,
        submit: Submit,
        clock: Clock,
        *,
        language: str = "en",
        author: str = "",
        postmaster: Address | None = None,
    ) -> None:
        self._hostname = hostname
        self._submit = submit
        self._clock = clock
        self._speech = catalogue(language)
        self._author = author or f"MAILER-DAEMON@{hostname}"
        self._postmaster = postmaster

    def reader(self, message: StoredMessage) -> Address | None:
        """Who may hear of the message: its sender, or the postmaster of a report of ours.

        None of what else has no sender, and of a report to the postmaster: nothing loops.
        """
        if message.envelope.sender is not None:
            return message.envelope.sender
        if self._postmaster is None or message.session.get("door") != "report":
            return None
        key = self._postmaster.key
        known = any(each.address.key == key for each in message.envelope.recipients)
        return None if known else self._postmaster

    async def send(
        self,
        action: Action,
        message: StoredMessage,
        told: Sequence[Told],
        body: bytes,
        *,
        until: datetime | None = None,
    ) -> str:
        """Tells the reader, of those recipients whose NOTIFY wants it; returns the report's ID.

        Empty when there was nothing to tell. The report is durable when this returns.
        until: when a delayed message will be given up.
        """
        reader = self.reader(message)
        if message.envelope.sender is not None:
            told = [each for each in told if wants(each.recipient, action)]
        if reader is None or not told:
            return ""
        report = _Report(
            hostname=self._hostname,
            author=self._author,
            speech=self._speech,
            reader=reader,
            action=action,
            message=message,
            told=told,
            body=body,
            until=until,
            now=self._clock.now(),
        )
        envelope = Envelope(
            None,
            (Recipient(reader, notify=("NEVER",)),),
            body="8BITMIME",
            smtputf8=not reader.in_ascii,
        )
        return await self._submit(envelope, report.encode(), message.id)


@dataclass(frozen=True, slots=True)
class _Report:
    """One report, ready to be written.

    It is in the UTF-8 forms of RFC 6533 when its reader's address has no other. Everybody else gets
    addresses beyond ASCII in the ASCII form, so that the report arrives where the message
    couldn't. Of a message that came with REQUIRETLS it says nothing but addresses: else it
    would itself have to go with REQUIRETLS, and seldom arrive (RFC 8689 section 5).
    """

    hostname: str
    author: str
    speech: Catalogue
    reader: Address
    action: Action
    message: StoredMessage
    told: Sequence[Told]
    body: bytes
    until: datetime | None
    now: datetime

    @property
    def _is_double(self) -> bool:
        """Whether what failed is itself a report."""
        return self.message.envelope.sender is None

    @property
    def _is_secret(self) -> bool:
        """Whether nothing of the original may travel without TLS, as a report does."""
        return self.message.envelope.requiretls

    @property
    def _kind(self) -> str:
        return "double" if self._is_double else self.action.value

    @property
    def _is_international(self) -> bool:
        return not self.reader.in_ascii

    def encode(self) -> bytes:
        """The whole message."""
        id_ = new_id(self.now)
        boundary = f"=_{id_}"
        original = Message(self.message.id, b"" if self._is_secret else self.body[:MOST_HEADERS])
        text = self._text(decode_words(original.get("Subject")))
        status, width, charset = "delivery-status", "7bit", "ascii"  # RFC 3464 section 2.1
        if self._is_international:
            status, width, charset = f"global-{status}", "8bit", "utf-8"  # RFC 6533 section 4
        parts = [
            (
                f"text/plain; charset=utf-8\r\nContent-Language: {self.speech.language}",
                "8bit",
                text.encode(),
            ),
            (f"message/{status}", width, self._status().encode(charset, "replace")),
        ]
        if not self._is_secret:
            content_type, returned = original_part(
                Message(self.message.id, self.body), full=self._is_full
            )
            parts.append((content_type, "8bit", returned))
        chunks = [self._head(id_, boundary, original).encode()]
        for content_type, encoding, content in parts:
            chunks += [
                f"--{boundary}\r\nContent-Type: {content_type}\r\n".encode(),
                f"Content-Transfer-Encoding: {encoding}\r\n\r\n".encode(),
                content,
                b"\r\n",
            ]
        chunks.append(f"--{boundary}--\r\n".encode())
        return b"".join(chunks)

    @property
    def _is_full(self) -> bool:
        """Whether the whole original comes back: a report, or as RET asks (RFC 3461 4.3)."""
        if self._is_double:
            return True
        envelope = self.message.envelope
        wanted = envelope.ret == "FULL" and self.action is Action.FAILED
        return wanted and len(self.body) <= MOST_RETURNED

    def _head(self, id_: str, boundary: str, original: Message) -> str:
        original_id = _clean(original.get("Message-ID"), 250)
        thread = f"In-Reply-To: {original_id}\r\nReferences: {original_id}\r\n"
        return (
            f"{_field('From', self.speech.texts['from'], f'<{self.author}>')}\r\n"
            f"To: <{self.reader.in_ascii or self.reader}>\r\n"
            f"{_field('Subject', self.speech.kinds[self._kind].subject)}\r\n"
            f"Date: {_date(self.now)}\r\n"
            f"Message-ID: <{id_}@{self.hostname}>\r\n"
            f"{thread if original_id.isascii() and original_id.startswith('<') else ''}"
            "Auto-Submitted: auto-replied\r\n"
            "MIME-Version: 1.0\r\n"
            "Content-Type: multipart/report; report-type=delivery-status;\r\n"
            f' boundary="{boundary}"\r\n'
            "Content-Transfer-Encoding: 8bit\r\n"
            "\r\n"
        )

    def _text(self, title: str) -> str:
        about = About(self.message.id, _clean(title, _SUBJECT), self.message.received, self.until)
        fates = [
            Fate(
                str(each.recipient),
                _causes(each.reply, self.action),
                _host(each.host),
                _words(each.reply),
            )
            for each in self.told
        ]
        text = text_of(self.speech, self._kind, self.hostname, about, fates)
        return text.replace("\n", "\r\n")

    def _status(self) -> str:
        envelope = self.message.envelope
        fields = [f"Reporting-MTA: dns; {self.hostname}"]
        if envelope.envid:
            fields.insert(0, f"Original-Envelope-Id: {decode_xtext(envelope.envid)}")
        fields.append(f"Arrival-Date: {_date(self.message.received)}")
        fields.append(f"X-Filterrelay-ID: {self.message.id}")
        for each in self.told:
            fields += ["", *self._status_of(each)]
        return "".join(f"{field}\r\n" for field in fields)

    def _status_of(self, told: Told) -> list[str]:
        """RFC 3464 section 2.3, one recipient."""
        recipient, reply = told.recipient, told.reply
        fields = []
        if recipient.orcpt:
            kind, _, address = recipient.orcpt.partition(";")
            original = self._typed(decode_xtext(address), _clean(kind, 40))
            if len(original.encode()) <= _TEXT:
                fields.append(f"Original-Recipient: {original}")
        fields += [
            f"Final-Recipient: {self._typed(str(recipient.address), 'rfc822')}",
            f"Action: {self.action.value}",
            f"Status: {_status(reply, self.action)}",
        ]
        host = _host(told.host)
        if host:
            fields.append(f"Remote-MTA: dns; {host}")
        kind = "smtp" if told.host else "x-filterrelay"
        fields.append(f"Diagnostic-Code: {kind}; {_words(reply)}")
        fields.append(f"Last-Attempt-Date: {_date(self.now)}")
        fields.append(f"Final-Log-ID: {self.message.id}")
        if self.until is not None:
            fields.append(f"Will-Retry-Until: {_date(self.until)}")
        return fields

    def _typed(self, address: str, kind: str) -> str:
        """An address with its type; beyond ASCII it is utf-8 (RFC 6533 section 3)."""
        if address.isascii():
            return f"{kind}; {address}"
        return f"utf-8; {address if self._is_international else _ascii_form(address)}"


def decode_xtext(text: str) -> str:
    """What xtext stands for (RFC 3461 section 4), made safe to stand in a header field."""
    decoded = _XTEXT.sub(lambda found: chr(int(found[1], 16)), text)
    decoded = _UTF8_XTEXT.sub(lambda found: chr(min(int(found[1], 16), 0x10FFFF)), decoded)
    return _clean(decoded, 500)


def _ascii_form(address: str) -> str:
    """An address as utf-8-addr-xtext (RFC 6533 section 3)."""
    return _NOT_QCHAR.sub(lambda found: f"\\x{{{ord(found[0]):02X}}}", address)


def _status(reply: Reply, action: Action) -> str:
    """The status code of a report; its class follows the action (RFC 3464 section 2.3.4)."""
    digit = {Action.FAILED: "5", Action.DELAYED: "4"}.get(action, "2")
    subject = reply.enhanced.partition(".")[2] or "0.0"
    if action is Action.FAILED and reply.is_temporary:
        subject = "4.7"  # given up after all this time: RFC 3463 section 3.5
    return f"{digit}.{subject}"


def _causes(reply: Reply, action: Action) -> Sequence[str]:
    """The status code, and the last reply's own where that is another one."""
    return tuple(dict.fromkeys((_status(reply, action), reply.enhanced)))


def _host(host: str) -> str:
    """The server's name without the port, a bare address as a literal; empty for a socket."""
    if host.startswith("unix:"):
        return ""
    name = host.rpartition(":")[0] or host
    try:
        address = ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return name
    return f"[{'IPv6:' if address.version == 6 else ''}{address}]"


def _words(reply: Reply) -> str:
    return _clean(str(reply), _WORDS)


def _clean(text: str, most: int) -> str:
    """The text on one line, without control characters, of so many characters at most."""
    clean = printable(text[:most]).strip()
    return clean.encode("utf-8", "replace")[:_TEXT].decode("utf-8", "ignore")


def _field(name: str, text: str, *addresses: str) -> str:
    """A header field, its text in encoded words where it needs them, folded (RFC 2047)."""
    charset = "us-ascii" if text.isascii() else "utf-8"
    value = Header(text, charset, maxlinelen=_ENCODED, header_name=name)
    for address in addresses:
        value.append(address, "us-ascii")
    folded = value.encode(linesep="\r\n")
    return f"{name}: {folded}"


def _date(moment: datetime) -> str:
    return email.utils.format_datetime(moment)
