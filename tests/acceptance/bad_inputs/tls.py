"""STARTTLS and what may go wrong around it (RFC 3207; command injection, CVE-2011-0411)."""

from .case import (
    ACCEPTED,
    DATA,
    HELLO,
    MAIL,
    RCPT,
    SMUGGLED,
    Case,
    Hear,
    Say,
    Send,
    StartTls,
    over_tls,
    refused,
)

_GARBAGE = {
    "commands in plain text": b"EHLO client.office.example\r\nQUIT\r\n",
    "an HTTP request": b"GET / HTTP/1.1\r\n\r\n",
    "zeros": bytes(100),
    "a TLS alert": b"\x15\x03\x01\x00\x02\x02\x28",
    "a heartbeat before the handshake": b"\x18\x03\x02\x00\x03\x01\x40\x00",
    "an SSL 3 hello": b"\x16\x03\x00\x00\x2f\x01\x00\x00\x2b\x03\x00" + bytes(42),
}

_UNFINISHED = {
    "a TLS record that never ends": b"\x16\x03\x01\x3f\xff\x01",
    "a ClientHello cut short": b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03" + bytes(20),
    "nothing": b"",
}


def _injections() -> list[Case]:
    """Plain text behind STARTTLS is refused or forgotten, never run inside TLS."""
    injected = {
        "NOOP": b"NOOP\r\n",
        "RSET": b"RSET\r\n",
        "EHLO": b"EHLO evil.example\r\n",
        "a whole mail": SMUGGLED,
        "MAIL": b"MAIL FROM:<evil-{tag}@office.example>\r\n",
        "AUTH": b"AUTH PLAIN AGFubkBvZmZpY2UuZXhhbXBsZQBjb3JyZWN0IGhvcnNl\r\n",
        "QUIT": b"QUIT\r\n",
        "half a command": b"MAIL FROM:<evil-{tag}@office",
    }
    cases = [
        Case(
            f"STARTTLS: {name} in the same packet",
            # After the handshake the first reply must be that to the client's own command.
            (
                Send(b"STARTTLS\r\n" + octets),
                Hear("220 5!"),
                StartTls(),
                Say(b"VRFY case-{tag}", "252 5"),
                HELLO,
                Say(b"RCPT TO:<user-{tag}@partner.example>", "503"),
            ),
            ending="either",
        )
        for name, octets in injected.items()
    ]
    before = Case(
        "STARTTLS: a whole mail pipelined before and behind it",
        (
            Send(b"MAIL FROM:<case-{tag}@office.example>\r\nSTARTTLS\r\n" + SMUGGLED),
            Hear("250"),
            Hear("220 5!"),
            StartTls(),
            HELLO,
            Say(b"RCPT TO:<user-{tag}@partner.example>", "503"),
        ),
        ending="hang up",
    )
    return [*cases, before]


def _garbage() -> list[Case]:
    """No handshake follows: the connection ends, and no command is taken in plain text."""
    return [
        Case(
            f"STARTTLS: {name} instead of the handshake",
            (Say(b"STARTTLS", "220"), Send(octets)),
            ending="closed",
        )
        for name, octets in _GARBAGE.items()
    ] + [
        Case(
            f"STARTTLS: {name}, then gone",
            (Say(b"STARTTLS", "220"), Send(octets)),
            ending="hang up",
        )
        for name, octets in _UNFINISHED.items()
    ]


def _order() -> list[Case]:
    return [
        *refused("STARTTLS", [("with an argument", b"STARTTLS now")]),
        *refused("STARTTLS", [("a second time", b"STARTTLS")], *over_tls()),
        Case(
            "STARTTLS: inside a mail transaction forgets it",
            (MAIL, RCPT, Say(b"STARTTLS", "220 5!"), StartTls(), HELLO, Say(b"DATA", "503 554")),
        ),
        Case(
            "STARTTLS: EHLO before it is forgotten",
            (
                Say(b"STARTTLS", "220"),
                StartTls(),
                Say(b"MAIL FROM:<case-{tag}@office.example>", "250 503"),
            ),
        ),
        Case(
            "STARTTLS: a line of a message is text",
            (
                MAIL,
                RCPT,
                DATA,
                Send(b"Subject: {tag}\r\n\r\nSTARTTLS\r\n.\r\n"),
                ACCEPTED,
            ),
            arrives=(1,),
        ),
    ]


def _implicit() -> list[Case]:
    """The port where TLS comes first."""
    return [
        Case("implicit TLS: STARTTLS inside it", (Say(b"STARTTLS", "5"),), door="smtps"),
        Case(
            "implicit TLS: MAIL without a login",
            (
                Say(b"MAIL FROM:<case-{tag}@office.example>", "250 530!"),
                Say(b"RCPT TO:<user-{tag}@partner.example>", "530 550 554"),
            ),
            door="smtps",
        ),
        Case(
            "implicit TLS: a dialogue in plain text",
            (Send(b"EHLO client.office.example\r\n" + SMUGGLED),),
            ending="closed",
            door="smtps in plain text",
            hello=False,
        ),
        Case(
            "implicit TLS: HTTP in plain text",
            (Send(b"GET / HTTP/1.1\r\nHost: relay.office.example\r\n\r\n"),),
            ending="closed",
            door="smtps in plain text",
            hello=False,
        ),
    ]


CASES = [*_injections(), *_garbage(), *_order(), *_implicit()]
