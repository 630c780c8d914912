"""Too much of what is allowed: commands, errors, recipients, octets on one line."""

from .case import (
    ACCEPTED,
    ACCEPTED_OR_REFUSED,
    DATA,
    MAIL,
    TO_DATA,
    Case,
    Hear,
    HearAll,
    Say,
    Send,
    Step,
    message,
)

_RECIPIENTS = 100  # the limit that the door is set to
_MEGABYTE = 1_000_000

_COMMANDS = {
    "NOOP": b"NOOP\r\n",
    "RSET": b"RSET\r\n",
    "EHLO": b"EHLO client.office.example\r\n",
    "HELO": b"HELO client.office.example\r\n",
    "VRFY": b"VRFY postmaster\r\n",
    "HELP": b"HELP\r\n",
    "MAIL and RSET": b"MAIL FROM:<case-{tag}@office.example>\r\nRSET\r\n",
    "a transaction without DATA": b"MAIL FROM:<case-{tag}@office.example>\r\n"
    b"RCPT TO:<user-{tag}@partner.example>\r\nRSET\r\n",
}
_ERRORS = {
    "unknown commands": b"FROBNICATE\r\n",
    "empty lines": b"\r\n",
    "dots": b".\r\n",
    "RCPT without MAIL": b"RCPT TO:<user-{tag}@partner.example>\r\n",
    "MAIL that is malformed": b"MAIL FROM:<@>\r\n",
    "DATA without MAIL": b"DATA\r\n",
    "BDAT without MAIL": b"BDAT 0 LAST\r\n",
    "unknown parameters": b"MAIL FROM:<case-{tag}@office.example> FOO=bar\r\n",
    "AUTH of an unknown mechanism": b"AUTH X-MAGIC\r\n",
    "EHLO without a name": b"EHLO\r\n",
}


def _bounded() -> list[Case]:
    """A flood ends with 421 and a closed connection, not with the client's patience."""
    return [
        Case(
            f"flood: {name}",
            (
                Send(octets * 20, times=60),
                HearAll("250 252 214 221 5 421", most=1300, to_hello=octets == b"EHLO\r\n"),
            ),
            ending="closed",
        )
        for name, octets in {**_COMMANDS, **_ERRORS}.items()
    ]


def _recipients() -> list[Case]:
    many = b"".join(
        b"RCPT TO:<user%d-{tag}@partner.example>\r\n" % n for n in range(_RECIPIENTS + 20)
    )
    taken: tuple[Step, ...] = tuple(Hear("250") for _ in range(_RECIPIENTS))
    beyond: tuple[Step, ...] = tuple(Hear("452") for _ in range(20))
    same = MAIL.line + b"\r\n" + b"RCPT TO:<user-{tag}@partner.example>\r\n" * 100
    return [
        Case(
            "flood: more recipients than allowed, the message goes to those taken",
            (MAIL, Send(many), *taken, *beyond, DATA, message(b"Text."), ACCEPTED),
            arrives=(1, 2),  # a relay may send it on in parts
        ),
        Case(
            "flood: one recipient a hundred times",
            (Send(same), *(Hear("250") for _ in range(101)), DATA, message(b"Text."), ACCEPTED),
            arrives=range(1, 101),  # a relay may or may not see that they are the same
        ),
    ]


def _long_lines() -> list[Case]:
    """Lines beyond all measure: refused, or the connection ends; memory stays bounded."""
    block = b"A" * _MEGABYTE
    lines = {
        "a command of 10 MB": (b"", "421 5"),
        "an EHLO of 10 MB": (b"EHLO ", "250 421 5"),  # what is beyond a limit may be forgotten
        "a NOOP of 10 MB": (b"NOOP ", "250 421 5"),
        "a sender of 10 MB": (b"MAIL FROM:<", "421 5"),
        "a SIZE of 10 MB": (b"MAIL FROM:<case-{tag}@office.example> SIZE=", "421 5"),
        "an AUTH of 10 MB": (b"AUTH PLAIN ", "421 5"),
    }
    endless = [
        Case(
            f"flood: {name}",
            (Send(begin), Send(block, times=10), Send(b"\r\n"), Hear(expects)),
            ending="either",
        )
        for name, (begin, expects) in lines.items()
    ]
    moderate = [
        Case(
            f"flood: a command of {octets} octets", (Say(b"X" * octets, "5 421"),), ending="either"
        )
        for octets in (513, 1025, 5000, 65_536, 131_072)
    ]
    unended = Case("flood: 1 MB without a line end, then gone", (Send(block),), ending="hang up")
    return [*endless, *moderate, unended]


def _slow_floods() -> list[Case]:
    return [
        Case(
            "flood: a thousand empty lines in a message are text",
            (*TO_DATA, message(b"\r\n" * 1000), ACCEPTED_OR_REFUSED),
            arrives=(0, 1),
        ),
        Case(
            "flood: 50 pipelined NOOP behind a message's end",
            (
                *TO_DATA,
                Send(b"X-Case: {tag}\r\n\r\nText.\r\n.\r\n" + b"NOOP\r\n" * 50),
                ACCEPTED,
                *(Hear("250") for _ in range(50)),
            ),
            arrives=(1,),
        ),
    ]


CASES = [*_bounded(), *_recipients(), *_long_lines(), *_slow_floods()]
