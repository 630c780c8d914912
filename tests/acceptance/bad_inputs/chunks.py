"""BDAT (RFC 3030): sizes that are none, lie or never end, and its quarrels with DATA."""

from .case import (
    ACCEPTED,
    ACCEPTED_OR_REFUSED,
    HEADER,
    MAIL,
    RCPT,
    SMUGGLED,
    Case,
    Hear,
    Say,
    Send,
    Step,
    chunk,
    message,
    refused,
)
from .messages import LARGEST

_MALFORMED = {
    "no size": b"BDAT",
    "a word for a size": b"BDAT many",
    "a negative size": b"BDAT -1",
    "a size with a sign": b"BDAT +1",
    "a hexadecimal size": b"BDAT 0x10",
    "a size with a fraction": b"BDAT 1.0",
    "a size with a separator": b"BDAT 1_0",
    "a size in Arabic digits": "BDAT ٣".encode(),
    "LAST without a size": b"BDAT LAST",
    "LAST before the size": b"BDAT LAST 5",
}
_TEXT = HEADER + b"\r\nIn chunks.\r\n"


def _malformed() -> list[Case]:
    # After a size that can't be read the server may not know where commands go on.
    return [
        Case(c.name, c.steps, ending="either")
        for c in refused("BDAT", _MALFORMED.items(), MAIL, RCPT)
    ]


def _misplaced() -> list[Case]:
    """A refused chunk's octets are passed over: they are never commands (RFC 3030 section 2)."""
    scripts: dict[str, tuple[Step, ...]] = {
        "before MAIL": (chunk(SMUGGLED, last=True), Hear("503")),
        "before RCPT": (MAIL, chunk(SMUGGLED, last=True), Hear("503 554")),
        "after RSET": (MAIL, RCPT, Say(b"RSET", "250"), chunk(SMUGGLED, last=True), Hear("503")),
        "when all recipients were refused": (
            MAIL,
            Say(b"RCPT TO:<@>", "5"),
            chunk(SMUGGLED, last=True),
            Hear("503 554"),
        ),
        "with an unknown word behind its size": (
            MAIL,
            RCPT,
            Send(b"BDAT 4 FIRST\r\nNOOP"),
            Hear("5"),
        ),
        "with a third word": (MAIL, RCPT, Send(b"BDAT 4 LAST NOW\r\nNOOP"), Hear("5")),
    }
    return [
        Case(f"BDAT: {name}", steps, ending="either" if "word" in name else "quit")
        for name, steps in scripts.items()
    ]


def _unfinished() -> list[Case]:
    """Without LAST there is no message."""
    begun = (MAIL, RCPT, chunk(_TEXT, last=False), Hear("250"))
    return [
        Case("BDAT: no LAST, then QUIT", begun),
        Case("BDAT: no LAST, then RSET", (*begun, Say(b"RSET", "250"))),
        Case("BDAT: no LAST, then EHLO", (*begun, Say(b"EHLO client.office.example", "250"))),
        Case("BDAT: no LAST, then MAIL", (*begun, Say(MAIL.line, "503"))),
        Case("BDAT: no LAST, then RCPT", (*begun, Say(RCPT.line, "503 250"))),
        Case("BDAT: no LAST, then DATA", (*begun, Say(b"DATA", "503"))),
        Case("BDAT: no LAST, then gone", begun, ending="hang up"),
        Case(
            "BDAT: gone in the middle of a chunk",
            (MAIL, RCPT, Send(b"BDAT 100000 LAST\r\n" + _TEXT)),
            ending="hang up",
        ),
        Case(
            "BDAT: RSET between chunks forgets the first",
            (
                *begun,
                Say(b"RSET", "250"),
                MAIL,
                RCPT,
                chunk(b"X-Case: {tag}\r\n\r\nafresh\r\n", last=True),
                ACCEPTED,
            ),
            arrives=(1,),
        ),
    ]


def _sizes() -> list[Case]:
    return [
        Case(
            "BDAT: a size beyond 64 bits",
            (MAIL, RCPT, Say(b"BDAT 99999999999999999999 LAST", "5")),
            ending="either",
        ),
        Case(
            "BDAT: a size of a thousand digits",
            (MAIL, RCPT, Say(b"BDAT " + b"9" * 1000, "5")),
            ending="either",
        ),
        Case(
            "BDAT: nothing, LAST, and no other chunk",
            (MAIL, RCPT, Say(b"BDAT 0 LAST", "250 5")),
            arrives=(0, 1),
        ),
        Case(
            "BDAT: nothing, fifty times, then LAST",
            (
                MAIL,
                RCPT,
                *(Say(b"BDAT 0", "250 5!") for _ in range(50)),
                chunk(_TEXT, last=True),
                ACCEPTED,
            ),
            arrives=(0, 1),
        ),
        Case(
            "BDAT: a size too small, the rest are bad commands",
            (MAIL, RCPT, Send(b"BDAT 5\r\n12345XYZZY\r\n"), Hear("250"), Hear("5")),
        ),
        Case(
            "BDAT: a size too large swallows the next command",
            (
                MAIL,
                RCPT,
                Send(b"BDAT 26 LAST\r\nX-Case: {tag}\r\n\r\nRSET\r\nNOOP\r\n"),
                ACCEPTED_OR_REFUSED,
                Hear("250 5"),
            ),
            arrives=(0, 1),
        ),
        Case(
            "BDAT: more chunks in one message than a session has commands",
            (
                MAIL,
                RCPT,
                chunk(b"X-Case: {tag}\r\n\r\n", last=False),
                Hear("250"),
                Send(b"BDAT 7\r\nText.\r\n" * 300),
                *(Hear("250") for _ in range(300)),
                Say(b"BDAT 0 LAST", "250"),
            ),
            arrives=(1,),
        ),
        Case(
            "BDAT: a large message announced, a small one sent",
            (
                Say(MAIL.line + b" SIZE=%d" % LARGEST, "250"),
                RCPT,
                chunk(_TEXT, last=True),
                ACCEPTED,
            ),
            arrives=(1,),
        ),
        Case(
            "BDAT: one octet at a time",
            (
                MAIL,
                RCPT,
                *(
                    step
                    for octet in (b"X", b":", b"{tag}", b"\r", b"\n", b"\r", b"\n", b".", b"\r")
                    for step in (chunk(octet, last=False), Hear("250"))
                ),
                chunk(b"\n", last=True),
                ACCEPTED_OR_REFUSED,
            ),
            arrives=(0, 1),
        ),
    ]


def _mixed() -> list[Case]:
    """DATA and BDAT in one transaction."""
    return [
        Case(
            "BDAT: after DATA it is text",
            (MAIL, RCPT, Say(b"DATA", "354"), message(b"BDAT 5 LAST\r\n12345"), ACCEPTED),
            arrives=(1,),
        ),
        Case(
            "BDAT: BINARYMIME wants it, DATA is refused",
            (
                Say(MAIL.line + b" BODY=BINARYMIME", "250 5!"),
                RCPT,
                Say(b"DATA", "503"),
            ),
        ),
        Case(
            "BDAT: DATA after a whole message by BDAT",
            (MAIL, RCPT, chunk(_TEXT, last=True), ACCEPTED, Say(b"DATA", "503 554")),
            arrives=(1,),
        ),
        Case(
            "BDAT: a second LAST",
            (MAIL, RCPT, chunk(_TEXT, last=True), ACCEPTED, chunk(_TEXT, last=True), Hear("503")),
            arrives=(1,),
        ),
        Case(
            "BDAT: bare line ends in its octets",
            (
                MAIL,
                RCPT,
                chunk(HEADER + b"\r\na\nb\rc\r\r\nd\x00e\r\n", last=True),
                ACCEPTED_OR_REFUSED,
            ),
            arrives=(0, 1),
            ending="either",
        ),
    ]


CASES = [*_malformed(), *_misplaced(), *_unfinished(), *_sizes(), *_mixed()]
