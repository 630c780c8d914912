"""The mail that goes every way: real messages, and what a careless filter would spoil."""

from dataclasses import dataclass, field, replace
from typing import Any

import dkim

from tests.plugins.spam.corpus import sorted_messages

from ..peers.certificates import DkimKey

ANN = "ann@office.example"
STRANGER = "stranger@else.example"
USER = "user@partner.example"
REAL = tuple(f"real-{number}" for number in range(40))  # messages of the corpus
_ELSEWHERE = "ADDR=192.0.2.8"
_TEXT = b"Hello, 100 %.\r\n"


@dataclass(frozen=True)
class Mail:
    """One message and how it is sent. message: as it is, CRLF line ends.

    options: of MAIL. xclient: what Postfix is told of the client. login: whether that logs in.
    """

    name: str
    message: bytes = field(repr=False)
    sender: str = ANN
    recipients: tuple[str, ...] = (USER,)
    options: tuple[str, ...] = ("BODY=8BITMIME",)
    xclient: str = ""
    login: bool = False

    def __str__(self) -> str:
        return self.name

    @property
    def is_completed(self) -> bool:
        """Whether it has a Date and a Message-ID of its own."""
        header = self.message.partition(b"\r\n\r\n")[0].lower()
        return b"\r\nmessage-id:" in header and b"\r\ndate:" in header


def _letter(name: str, body: bytes, *fields: str) -> bytes:
    header = (
        f"From: Ann <{ANN}>",
        f"To: User <{USER}>",
        "Date: Thu, 01 Jan 2026 12:00:00 +0100",
        f"Message-ID: <{name}@office.example>",
        f"Subject: {name}",
        *fields,
    )
    return "".join(f"{line}\r\n" for line in header).encode() + b"\r\n" + body


def _ordered(order: str) -> Mail:
    """Mail that the plugin does something with."""
    name = f"order-{order.replace(' ', '-')}"
    more = (f"X-Order: {order}", "X-Twice: one", "X-Twice: two", "X-Secret: one", "X-Secret:two")
    return Mail(name, _letter(name, _TEXT, *more), recipients=(USER, "second@partner.example"))


def _shapes() -> list[Mail]:
    """What messages look like."""
    dots = b".\r\n..\r\n.dot\r\n\r\n.\r\n\r\n"
    long = b"a long line " * 1000 + b"\r\n" + b"x" * 998 + b"\r\n" + b"y" * 3000 + b"\r\n"
    tail = b"blanks behind   \r\n\ttabs\t\r\nFrom here\r\n\r\n\r\n"
    eight = "Grüße, žluťoučký kůň, 日本語 🐎\r\n".encode() + bytes(range(128, 256)) + b"\r\n"
    mime = ("MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8")
    big = b"".join(b"%08d %s\r\n" % (n, b"0123456789abcdef" * 4) for n in range(1000)) * 335
    bodies = {
        "clean": (_TEXT, ()),
        "eight-bit": (eight, (*mime, "Content-Transfer-Encoding: 8bit")),
        "dots": (dots, ()),
        "long-lines": (long, ()),
        "blanks": (tail, ()),
        "empty-body": (b"", ()),
        "folded": (
            _TEXT,
            ("X-Folded: one\r\n two\r\n\t three", "X-Blank:", "X-Tight:x", "X-Two:  x"),
        ),
        "raw-header": (_TEXT, ("X-Raw: Grüße",)),
        "big": (big, ()),
    }
    shapes = [Mail(name, _letter(name, body, *more)) for name, (body, more) in bodies.items()]
    clean = shapes[0].message
    return [
        *shapes,
        Mail("no-body", clean[: clean.index(b"\r\n\r\n") + 2]),
        Mail("no-header", b"\r\nOnly a body.\r\n"),
        Mail("no-section", b"Only a body\r\nwithout a line that could be a field\r\n"),
        Mail("nothing", b""),
    ]


def _told(name: str, **envelope: Any) -> Mail:
    """Mail into which the plugin writes what it was told of client and envelope."""
    return Mail(name, _letter(name, _TEXT, "X-Order: tell"), **envelope)


def _of_stranger(mail: Mail) -> Mail:
    """The mail of somebody else's client, who says so."""
    message = mail.message.replace(ANN.encode(), STRANGER.encode())
    return replace(mail, sender=STRANGER, message=message)


def _envelopes() -> list[Mail]:
    """Who sends to whom, and from where."""
    international = Mail(
        "smtputf8",
        _letter("smtputf8", "Grüße\r\n".encode(), "X-Order: tell"),
        sender="grüße@office.example",
        recipients=("kůň@partner.example", USER),
        options=("SMTPUTF8", "BODY=8BITMIME"),
    )
    many = tuple(f"user{number}@partner.example" for number in range(300))
    ipv6 = "ADDR=IPV6:2001:db8::7"
    ipv4 = "ADDR=192.0.2.7 NAME=host.else.example"
    return [
        international,
        _told("told"),
        Mail("many-recipients", _letter("many-recipients", _TEXT), recipients=many),
        _told("null-sender", sender=""),
        _told("login", login=True),
        _of_stranger(_told("xclient", xclient=ipv4)),
        _of_stranger(_told("xclient-ipv6", xclient=ipv6)),
        _told("forged", xclient=_ELSEWHERE),
        _told("refused-sender", sender="refused-sender@office.example"),
        _told("refused-recipient", recipients=(USER, "refused-user@partner.example")),
        _told("size", options=("SIZE=1000",)),
    ]


def mails() -> list[Mail]:
    """Those that are made here."""
    orders = ("reject", "defer", "quarantine", "discard", "headers", "body", "recipients")
    together = ("sender", "nobody", "headers body recipients sender")
    return [*map(_ordered, (*orders, *together)), *_shapes(), *_envelopes()]


def signed_mail(key: DkimKey) -> Mail:
    """Mail of somebody else's that is signed, and hard to keep as it is."""
    body = "Grüße\r\n.\r\n..\r\nblanks   \r\n\r\n\r\n".encode() + b"long " * 1000 + b"\r\n"
    mail = Mail("signed", _letter("signed", body, "X-Folded: one\r\n  two"), xclient=_ELSEWHERE)
    mail = _of_stranger(mail)
    signature = dkim.sign(
        mail.message,
        key.selector.encode(),
        key.domain.encode(),
        key.private,
        canonicalize=(b"simple", b"simple"),
        include_headers=[b"from", b"to", b"subject", b"date", b"x-folded"],
    )
    return replace(mail, message=signature + mail.message)


def real_mails() -> list[Mail]:
    """Messages that people have got, from the corpus."""
    some = (one.message.raw for one in sorted_messages() if one.training)
    return [
        Mail(name, raw, sender=STRANGER, xclient=_ELSEWHERE)
        for name, raw in zip(REAL, some, strict=False)
    ]
