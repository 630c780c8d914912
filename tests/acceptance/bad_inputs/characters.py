"""Characters that have no place there: in commands, addresses, headers and bodies."""

from .case import (
    ACCEPTED_OR_REFUSED,
    HEADER,
    MAIL,
    SMUGGLED,
    TO_DATA,
    Case,
    HearAll,
    Say,
    Send,
    message,
)

_CONTROLS = {
    "a bare CR": b"\r",
    "a bare LF": b"\n",
    "NUL": b"\x00",
    "BEL": b"\x07",
    "backspace": b"\x08",
    "a vertical tab": b"\x0b",
    "a form feed": b"\x0c",
    "escape": b"\x1b[2J",
    "DEL": b"\x7f",
    "NEL in Latin-1": b"\x85",
    "NEL in UTF-8": b"\xc2\x85",
    "U+2028": b"\xe2\x80\xa8",
    "U+2029": b"\xe2\x80\xa9",
    "a byte order mark": b"\xef\xbb\xbf",
    "a right-to-left override": b"\xe2\x80\xae",
    "an octet that is no UTF-8": b"\xff",
}
_LINE_ENDS = {"a bare CR", "a bare LF"}


def _in_commands() -> list[Case]:
    """A line with such a character is one bad command, or its argument is let pass."""
    inside = [
        Case(f"characters: {name} in a NOOP", (Say(b"NOOP a" + octets + b"b", "2 5"),))
        for name, octets in _CONTROLS.items()
        if name not in _LINE_ENDS
    ]
    verbs = [
        Case(f"characters: {name} in a command's name", (Say(b"NO" + octets + b"OP", "5"),))
        for name, octets in _CONTROLS.items()
        if name not in _LINE_ENDS
    ]
    # No server may take what stands behind a bare line end for a command of its own.
    hidden = [
        Case(
            f"characters: {name} as a command's end, a mail dialogue behind",
            (
                Send(b"NOOP" + octets + SMUGGLED.replace(b"\r\n", octets) + b"\r\nQUIT\r\n"),
                HearAll("2 5"),
            ),
            ending="closed",
        )
        for name, octets in _CONTROLS.items()
        if name in _LINE_ENDS or "U+" in name or "NEL" in name
    ]
    return [*inside, *verbs, *hidden]


def _in_greetings() -> list[Case]:
    return [
        Case(
            f"characters: {name} in the client's name",
            (Send(b"EHLO a" + octets + b"b.example\r\nQUIT\r\n"), HearAll("2 5", most=3)),
            ending="closed",
        )
        for name, octets in _CONTROLS.items()
    ]


def _in_addresses() -> list[Case]:
    """Addresses are ASCII without controls unless SMTPUTF8 was said (RFC 5321 section 4.1.2)."""
    cases = []
    for name, octets in _CONTROLS.items():
        if name in _LINE_ENDS:
            continue
        sender = b"MAIL FROM:<case" + octets + b"{tag}@office.example>"
        recipient = b"RCPT TO:<user" + octets + b"{tag}@partner.example>"
        domain = b"RCPT TO:<user-{tag}@partner" + octets + b".example>"
        quoted = b'RCPT TO:<"user' + octets + b'{tag}"@partner.example>'
        cases += [
            Case(f"characters: {name} in the sender", (Say(sender, "5"),)),
            Case(f"characters: {name} in a recipient", (MAIL, Say(recipient, "5"))),
            Case(f"characters: {name} in a recipient's domain", (MAIL, Say(domain, "5"))),
            Case(f"characters: {name} in a quoted recipient", (MAIL, Say(quoted, "5"))),
        ]
    return cases


def _behind_bare_line_ends() -> list[Case]:
    """An address with a bare line end and a command behind it is one bad line."""
    cases = []
    for name in sorted(_LINE_ENDS):
        octets = _CONTROLS[name]
        split = b"RCPT TO:<user-{tag}@partner.example>" + octets
        cases.append(
            Case(
                f"characters: {name} within RCPT, another RCPT behind",
                (
                    MAIL,
                    Send(split + b"RCPT TO:<evil-{tag}@partner.example>\r\nDATA\r\n"),
                    Send(b"RSET\r\nQUIT\r\n"),
                    HearAll("2 354 5", most=6),
                ),
                ending="closed",
            )
        )
        cases.append(
            Case(
                f"characters: {name} within MAIL",
                (Say(b"MAIL FROM:<case-{tag}" + octets + b"@office.example>", "5"),)
                if octets == b"\r"
                else (
                    Send(b"MAIL FROM:<case-{tag}\n@office.example>\r\nQUIT\r\n"),
                    HearAll("5 2", most=3),
                ),
                ending="quit" if octets == b"\r" else "closed",
            )
        )
    return cases


def _in_messages() -> list[Case]:
    """A message with such characters is refused, or goes on without bare line ends and NUL."""
    places = {
        "a header's name": (b"X-A", b"B: c\r\n\r\nText"),
        "a header's value": (b"X-A: b", b"c\r\n\r\nText"),
        "the body": (b"\r\nBefore", b"after"),
    }
    return [
        Case(
            f"characters: {name} in {place}",
            (
                *TO_DATA,
                Send(HEADER + before + octets + after + b"\r\n.\r\n"),
                ACCEPTED_OR_REFUSED,
            ),
            arrives=(0, 1),
            ending="either",
        )
        for place, (before, after) in places.items()
        for name, octets in _CONTROLS.items()
        if name not in {"backspace", "BEL"}
    ]


def _folding() -> list[Case]:
    """Bare line ends that pretend to begin a new header or the body."""
    forgeries = {
        "a bare LF begins a second header": b"Subject: a\nBcc: evil-{tag}@partner.example\r\n\r\nb",
        "a bare CR begins a second header": b"Subject: a\rBcc: evil-{tag}@partner.example\r\n\r\nb",
        "two bare LF begin the body": b"Subject: a\n\nbody\r\n\r\nb",
        "two bare CR begin the body": b"Subject: a\r\rbody\r\n\r\nb",
        "a bare CR and a bare LF with text between": b"Subject: a\rb\nc\r\n\r\nb",
        "only bare LF in the whole message": b"Subject: a\n\nbody\nmore",
        "only bare CR in the whole message": b"Subject: a\r\rbody\rmore",
    }
    cases = [
        Case(
            f"characters: {name}",
            (*TO_DATA, Send(b"X-Case: {tag}\r\n" + text + b"\r\n.\r\n"), ACCEPTED_OR_REFUSED),
            arrives=(0, 1),
            ending="either",
        )
        for name, text in forgeries.items()
    ]
    nothing_but = Case(
        "characters: a body of 100,000 NUL",
        (*TO_DATA, message(b"\x00" * 100_000), ACCEPTED_OR_REFUSED),
        arrives=(0, 1),
        ending="either",
    )
    return [*cases, nothing_but]


CASES = [
    *_in_commands(),
    *_in_greetings(),
    *_in_addresses(),
    *_behind_bare_line_ends(),
    *_in_messages(),
    *_folding(),
]
