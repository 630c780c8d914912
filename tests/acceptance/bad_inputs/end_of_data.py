"""Line ends and dots that only look like the end of a message (SMTP smuggling).

After each stands a mail dialogue that must stay text. RFC 5321 section 4.1.1.4:
only CRLF.CRLF ends the mail data.
"""

from itertools import product

from .case import (
    ACCEPTED,
    ACCEPTED_OR_REFUSED,
    HEADER,
    MAIL,
    RCPT,
    SMUGGLED,
    TO_DATA,
    Case,
    Pause,
    Send,
    chunk,
)

_BEFORE = {
    "LF": b"\n",
    "CR": b"\r",
    "CRLF": b"\r\n",
    "LF LF": b"\n\n",
    "CR CR": b"\r\r",
    "LF CR": b"\n\r",
    "CR CR LF": b"\r\r\n",
    "CRLF NUL": b"\r\n\x00",
    "CR NUL LF": b"\r\x00\n",
}
_AFTER = {
    "LF": b"\n",
    "CR": b"\r",
    "CRLF": b"\r\n",
    "CR CR LF": b"\r\r\n",
    "LF CR": b"\n\r",
    "NUL CRLF": b"\x00\r\n",
    "CR NUL LF": b"\r\x00\n",
}
_LOOKALIKES = {
    "a space after the dot": b"\r\n. \r\n",
    "a tab after the dot": b"\r\n.\t\r\n",
    "a space before the dot": b"\r\n .\r\n",
    "backspace over a letter": b"\r\nx\b.\r\n",
    "vertical tabs": b"\x0b.\x0b",
    "form feeds": b"\x0c.\x0c",
    "NEL in Latin-1": b"\x85.\x85",
    "NEL in UTF-8": b"\xc2\x85.\xc2\x85",
    "U+2028 line separators": b"\xe2\x80\xa8.\xe2\x80\xa8",
    "U+2029 paragraph separators": b"\xe2\x80\xa9.\xe2\x80\xa9",
    "a byte order mark before the dot": b"\r\n\xef\xbb\xbf.\r\n",
    "a full-width dot": b"\r\n\xef\xbc\x8e\r\n",
    "an ideographic full stop": b"\r\n\xe3\x80\x82\r\n",
    "a one-dot leader": b"\r\n\xe2\x80\xa4\r\n",
    "a soft line end of quoted-printable": b"=\r\n.=\r\n",
    "an encoded line end": b"=0D=0A.=0D=0A",
    "CR, a letter, LF around the dot": b"\ra\n.\rb\n",
    "CR, the dot, LF again and again": b"\r.\n" * 5,
    "the eighth bit set": b"\x8d\x8a\xae\x8d\x8a",
    "record separators": b"\x1e.\x1e",
}


def _hidden(name: str, ending: bytes) -> Case:
    """The text, the false end and the dialogue behind it, all in one message."""
    text = HEADER + b"\r\nBefore." + ending + SMUGGLED.replace(b"\r\n.\r\n", b"\r\n")
    return Case(
        f"end of data: {name}",
        (*TO_DATA, Send(text + b"\r\n.\r\n"), ACCEPTED_OR_REFUSED),
        arrives=(0, 1),
        ending="either",
    )


def _combinations() -> list[Case]:
    pairs = product(_BEFORE.items(), _AFTER.items())
    return [
        _hidden(f"{before_name}, dot, {after_name}", before + b"." + after)
        for (before_name, before), (after_name, after) in pairs
        # What ends in CRLF before the dot and goes on with it behind is the true end.
        if not (before.endswith(b"\r\n") and after.startswith(b"\r\n"))
    ]


def _in_the_header() -> list[Case]:
    """A false end before the header has ended."""
    return [
        Case(
            f"end of data: {name} within the header",
            (
                *TO_DATA,
                Send(HEADER + b"X-Split: a" + ending + SMUGGLED.replace(b"\r\n.\r\n", b"\r\n")),
                Send(b"\r\n.\r\n"),
                ACCEPTED_OR_REFUSED,
            ),
            arrives=(0, 1),
            ending="either",
        )
        for name, ending in {
            "LF, dot, LF": b"\n.\n",
            "LF, dot, CRLF": b"\n.\r\n",
            "CRLF, dot, LF": b"\r\n.\n",
            "CR, dot, CR": b"\r.\r",
            "CR, dot, LF": b"\r.\n",
        }.items()
    ]


def _in_pieces() -> list[Case]:
    """The true end and false ones, cut where packets may be cut."""
    true_end = b"\r\n.\r\n"
    cuts = [
        Case(
            f"end of data: cut after {cut} of its 5 octets",
            (
                *TO_DATA,
                Send(HEADER + b"\r\nText." + true_end[:cut]),
                Pause(),
                Send(true_end[cut:]),
                ACCEPTED,
            ),
            arrives=(1,),
        )
        for cut in range(1, 5)
    ]
    false_end = Case(
        "end of data: LF, dot, LF in three packets",
        (
            *TO_DATA,
            Send(HEADER + b"\r\nText.\n"),
            Pause(),
            Send(b"."),
            Pause(),
            Send(b"\n" + SMUGGLED.replace(b"\r\n.\r\n", b"\r\n")),
            Send(b"\r\n.\r\n"),
            ACCEPTED_OR_REFUSED,
        ),
        arrives=(0, 1),
        ending="either",
    )
    return [*cuts, false_end]


def _dots() -> list[Case]:
    """Doubled dots are text; an end at once is an empty message."""
    lone = Case(
        "end of data: a doubled dot hides no second mail",
        (*TO_DATA, Send(HEADER + b"\r\n..\r\nQUIT\r\n.\r\n"), ACCEPTED),
        arrives=(1,),
    )
    undoubled = Case(
        "end of data: a dot that should have been doubled",
        (*TO_DATA, Send(HEADER + b"\r\n.MAIL FROM:<evil-{tag}@office.example>\r\n.\r\n"), ACCEPTED),
        arrives=(1,),
    )
    empty = Case(
        "end of data: nothing but the end",
        (*TO_DATA, Send(b".\r\n"), ACCEPTED_OR_REFUSED),
        arrives=(0, 1),
    )
    return [lone, undoubled, empty]


def _by_chunks() -> list[Case]:
    """What BDAT carries needs no end, but a careless relay makes one of it upstream."""
    endings = {
        "CRLF, dot, CRLF": b"\r\n.\r\n",
        "LF, dot, LF": b"\n.\n",
        "LF, dot, CRLF": b"\n.\r\n",
        "CR, dot, CR": b"\r.\r",
        "CR, dot, LF": b"\r.\n",
        "CRLF, dot, LF": b"\r\n.\n",
        "CRLF NUL dot CRLF": b"\r\n\x00.\r\n",
    }
    return [
        Case(
            f"end of data: {name} within a BDAT chunk",
            (
                MAIL,
                RCPT,
                chunk(HEADER + b"\r\nBefore." + ending + SMUGGLED, last=True),
                ACCEPTED_OR_REFUSED,
            ),
            arrives=(0, 1),
            ending="either",
        )
        for name, ending in endings.items()
    ]


CASES = [
    *_combinations(),
    *(_hidden(name, ending) for name, ending in _LOOKALIKES.items()),
    *_in_the_header(),
    *_in_pieces(),
    *_dots(),
    *_by_chunks(),
]
