"""Clients that have said their last word, in each state, and still listen.

All that was whole is answered; what is missing its end was never said.
"""

from .case import (
    ACCEPTED,
    MAIL,
    RCPT,
    TO_DATA,
    Case,
    HalfClose,
    Hear,
    Send,
    Step,
    chunk,
    message,
)

_TEXT = b"Subject: {tag}\r\n\r\nText.\r\n"


def _whole() -> list[Case]:
    """The last command before the end has its answer."""
    scripts: dict[str, tuple[Step, ...]] = {
        "NOOP": (Send(b"NOOP\r\n"), HalfClose(), Hear("250")),
        "MAIL": (Send(MAIL.line + b"\r\n"), HalfClose(), Hear("250")),
        "DATA": (MAIL, RCPT, Send(b"DATA\r\n"), HalfClose(), Hear("354")),
        "a chunk that isn't the last": (
            MAIL,
            RCPT,
            chunk(_TEXT, last=False),
            HalfClose(),
            Hear("250"),
        ),
        "STARTTLS": (Send(b"STARTTLS\r\n"), HalfClose(), Hear("220")),
        "QUIT": (Send(b"QUIT\r\n"), HalfClose(), Hear("221")),
    }
    return [Case(f"half-closed: behind {name}", s, ending="closed") for name, s in scripts.items()]


def _taken() -> list[Case]:
    """A message that has come whole is taken, and its sender is told so."""
    scripts: dict[str, tuple[Step, ...]] = {
        "a message": (*TO_DATA, message(b"Text."), HalfClose(), ACCEPTED),
        "the last chunk": (MAIL, RCPT, chunk(_TEXT, last=True), HalfClose(), ACCEPTED),
        "a whole transaction in one packet": (
            Send(
                MAIL.line + b"\r\n" + RCPT.line + b"\r\nBDAT 0\r\nBDAT 14 LAST\r\nX: {tag}\r\n\r\na"
            ),
            HalfClose(),
            *(Hear("250") for _ in range(3)),
            ACCEPTED,
        ),
    }
    return [
        Case(f"half-closed: behind {name}", s, arrives=(1,), ending="closed")
        for name, s in scripts.items()
    ]


def _cut_short() -> list[Case]:
    """What has no end is no command and no message."""
    scripts: dict[str, tuple[Step, ...]] = {
        "a command": (Send(b"MAIL FROM:<case-{tag}@office.exam"), HalfClose()),
        "a command's line end": (Send(b"QUIT\r"), HalfClose()),
        "a message": (*TO_DATA, Send(_TEXT), HalfClose()),
        "a message's last dot": (*TO_DATA, Send(_TEXT + b".\r"), HalfClose()),
        "a chunk": (MAIL, RCPT, Send(b"BDAT 1000 LAST\r\n" + _TEXT), HalfClose()),
        "an unwanted chunk": (Send(b"BDAT 1000 LAST\r\n" + _TEXT), HalfClose()),
    }
    return [Case(f"half-closed: within {name}", s, ending="closed") for name, s in scripts.items()]


CASES = [*_whole(), *_taken(), *_cut_short()]
