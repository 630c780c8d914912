"""Delivery status notifications: bounces, delay notices, and `relayed` (RFC 3461, RFC 3464).

A report is a message of the null sender, written as bytes with CRLF and handed
to `submit`, which signs it, makes it durable like any other mail and gives it an ID.
"""

import email.utils
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from enum import Enum

from filterrelay.delivery.report_text import delayed_text, failed_text, relayed_text
from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.mail.identifier import new_id
from filterrelay.mail.message import Message
from filterrelay.mail.reply import Reply
from filterrelay.observe.clock import Clock
from filterrelay.spool.store import StoredMessage

Submit = Callable[[Envelope, bytes, str], Awaitable[str]]  # also the ID that it is about

MOST_HEADERS = 16 * 1024  # octets of the original's header section in a report
MOST_RETURNED = 1024 * 1024  # octets of the original that RET=FULL gives back
_SUBJECT = 78  # characters of the original's subject
_LINE = 998  # octets; RFC 5322 section 2.1.1
_TEXT = 800  # octets of what somebody else wrote, on a line with words of ours
_WORDS = 450  # characters of a server's reply

_XTEXT = re.compile(r"\+([0-9A-F]{2})")
_UTF8_XTEXT = re.compile(r"\\x\{([0-9A-F]{2,6})\}")  # RFC 6533 section 3


class Action(Enum):
    """What a report tells; RFC 3464 section 2.3.3."""

    FAILED = "failed"
    DELAYED = "delayed"
    RELAYED = "relayed"


# RFC 3461 section 4.1: nothing said means FAILURE, and DELAY as the server likes.
_WANTED = {Action.FAILED: "FAILURE", Action.DELAYED: "DELAY", Action.RELAYED: "SUCCESS"}
_SUBJECTS = {
    Action.FAILED: "Your message could not be delivered",
    Action.DELAYED: "Your message is delayed",
    Action.RELAYED: "Your message was handed over",
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
        return action is not Action.RELAYED
    return _WANTED[action] in recipient.notify


class Reports:
    """Writes reports and hands them over; a null sender never gets one."""

    def __init__(self, hostname: str, submit: Submit, clock: Clock) -> None:
        self._hostname = hostname
        self._submit = submit
        self._clock = clock

    async def send(
        self,
        action: Action,
        message: StoredMessage,
        told: Sequence[Told],
        body: bytes,
        *,
        until: datetime | None = None,
    ) -> str:
        """Tells the sender, of those recipients whose NOTIFY wants it; returns the report's ID.

        Empty when there was nothing to tell. The report is durable when this returns.
        until: when a delayed message will be given up.
        """
        sender = message.envelope.sender
        told = [each for each in told if wants(each.recipient, action)]
        if sender is None or not told:
            return ""
        international = sender.needs_smtputf8 or any(
            each.recipient.address.needs_smtputf8 for each in told
        )
        report = _Report(self._hostname, action, message, told, body, until, self._clock.now())
        envelope = Envelope(
            None,
            (Recipient(sender, notify=("NEVER",)),),
            body="8BITMIME",
            smtputf8=international,
        )
        raw = report.encode(international=international)
        return await self._submit(envelope, raw, message.id)


@dataclass(frozen=True, slots=True)
class _Report:
    """One report, ready to be written."""

    hostname: str
    action: Action
    message: StoredMessage
    told: Sequence[Told]
    body: bytes
    until: datetime | None
    now: datetime

    def encode(self, *, international: bool) -> bytes:
        """The whole message. international: in the UTF-8 forms of RFC 6533."""
        id_ = new_id(self.now)
        boundary = f"=_{id_}"
        original = Message(self.message.id, self.body[:MOST_HEADERS])
        kind = "global-delivery-status" if international else "delivery-status"
        # RFC 3464 section 2.1 wants 7bit, RFC 6533 section 4 allows UTF-8
        charset, width = ("utf-8", "8bit") if international else ("ascii", "7bit")
        parts = [
            ("text/plain; charset=utf-8", "8bit", self._text(_subject_of(original)).encode()),
            (f"message/{kind}", width, self._status(international).encode(charset, "replace")),
            self._returned(original, international=international),
        ]
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

    def _head(self, id_: str, boundary: str, original: Message) -> str:
        sender = self.message.envelope.return_path
        original_id = _clean(original.get("Message-ID"), 250)
        thread = f"In-Reply-To: {original_id}\r\nReferences: {original_id}\r\n"
        return (
            f"From: Mail Delivery System <MAILER-DAEMON@{self.hostname}>\r\n"
            f"To: <{sender}>\r\n"
            f"Subject: {_SUBJECTS[self.action]}\r\n"
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

    def _text(self, subject: str) -> str:
        lines = [
            (str(each.recipient), _status(each.reply, self.action), _words(each.reply))
            for each in self.told
        ]
        if self.action is Action.FAILED:
            text = failed_text(self.hostname, subject, lines)
        elif self.action is Action.DELAYED:
            until = f"{self.until:%d %B %Y, %H:%M} UTC" if self.until else "it succeeds"
            text = delayed_text(self.hostname, subject, lines, until)
        else:
            text = relayed_text(self.hostname, subject, lines)
        text += f"\nHere the message is known as {self.message.id}.\n"
        return text.replace("\n", "\r\n")

    def _status(self, international: bool) -> str:
        envelope = self.message.envelope
        fields = [f"Reporting-MTA: dns; {self.hostname}"]
        if envelope.envid:
            fields.insert(0, f"Original-Envelope-Id: {decode_xtext(envelope.envid)}")
        fields.append(f"Arrival-Date: {_date(self.message.received)}")
        fields.append(f"X-Filterrelay-ID: {self.message.id}")
        for each in self.told:
            fields += ["", *self._status_of(each, international=international)]
        return "".join(f"{field}\r\n" for field in fields)

    def _status_of(self, told: Told, *, international: bool) -> list[str]:
        """RFC 3464 section 2.3, one recipient."""
        recipient, reply = told.recipient, told.reply
        fields = []
        if recipient.orcpt:
            kind, _, address = recipient.orcpt.partition(";")
            original = decode_xtext(address)
            if original.isascii() or international:
                fields.append(f"Original-Recipient: {_clean(kind, 40)}; {original}")
        kind = "utf-8" if recipient.address.needs_smtputf8 else "rfc822"
        fields += [
            f"Final-Recipient: {kind}; {recipient.address}",
            f"Action: {self.action.value}",
            f"Status: {_status(reply, self.action)}",
        ]
        if told.host:
            fields.append(f"Remote-MTA: dns; {told.host.rpartition(':')[0].strip('[]')}")
            fields.append(f"Diagnostic-Code: smtp; {_words(reply)}")
        else:
            fields.append(f"Diagnostic-Code: x-filterrelay; {_words(reply)}")
        fields.append(f"Last-Attempt-Date: {_date(self.now)}")
        if self.until is not None:
            fields.append(f"Will-Retry-Until: {_date(self.until)}")
        return fields

    def _returned(self, original: Message, *, international: bool) -> tuple[str, str, bytes]:
        """The original: its header section, or all of it when RET=FULL asks for it (RFC 3461 4.3).

        Never all of what must not travel without TLS (RFC 8689 section 5). A header
        section that is cut off ends at a whole line. What has longer lines than strict
        servers take is folded, or not given back.
        """
        envelope = self.message.envelope
        full = envelope.ret == "FULL" and self.action is Action.FAILED and not envelope.requiretls
        if full and len(self.body) <= MOST_RETURNED and not _is_long(self.body):
            return ("message/global" if international else "message/rfc822"), "8bit", self.body
        head = b"\r\n".join(map(_folded, original.raw[: original.header_end].split(b"\r\n")))
        kept = head[: head.rfind(b"\r\n") + 2]
        return ("message/global-headers" if international else "text/rfc822-headers"), "8bit", kept


def decode_xtext(text: str) -> str:
    """What xtext stands for (RFC 3461 section 4), made safe to stand in a header field."""
    decoded = _XTEXT.sub(lambda found: chr(int(found[1], 16)), text)
    decoded = _UTF8_XTEXT.sub(lambda found: chr(min(int(found[1], 16), 0x10FFFF)), decoded)
    return _clean(decoded, 500)


def _status(reply: Reply, action: Action) -> str:
    """The status code of a report; its class follows the action (RFC 3464 section 2.3.4)."""
    digit = {Action.FAILED: "5", Action.DELAYED: "4", Action.RELAYED: "2"}[action]
    subject = reply.enhanced.partition(".")[2] or "0.0"
    if action is Action.FAILED and reply.is_temporary:
        subject = "4.7"  # given up after all this time: RFC 3463 section 3.5
    return f"{digit}.{subject}"


def _words(reply: Reply) -> str:
    return _clean(str(reply), _WORDS)


def _subject_of(original: Message) -> str:
    """The original's subject as its writer saw it, or nothing when it can't be read."""
    try:
        subject = str(make_header(decode_header(original.get("Subject"))))
    except (HeaderParseError, LookupError, ValueError):
        return ""
    return _clean(subject, _SUBJECT)


def _clean(text: str, most: int) -> str:
    """The text on one line, without control characters, of so many characters at most."""
    clean = "".join(c if c.isprintable() else " " for c in text[:most]).strip()
    return clean.encode("utf-8", "replace")[:_TEXT].decode("utf-8", "ignore")


def _is_long(text: bytes) -> bool:
    """Whether a line of it is longer than strict servers take."""
    return any(len(line) > _LINE for line in text.split(b"\r\n"))


def _folded(line: bytes) -> bytes:
    """The line folded before blanks (RFC 5322 section 2.2.3), or within what has none."""
    pieces = []
    while len(line) > _LINE:
        blank = max(line.rfind(b" ", 1, _LINE), line.rfind(b"\t", 1, _LINE))
        if blank > 0 and line[:blank].strip():
            pieces.append(line[:blank])
            line = line[blank:]
        else:
            pieces.append(line[:_LINE])
            line = b" " + line[_LINE:]
    return b"\r\n".join((*pieces, line))


def _date(moment: datetime) -> str:
    return email.utils.format_datetime(moment)
