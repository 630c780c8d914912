"""AUTH (RFC 4954): without TLS, twice, half, as somebody else, in nonsense."""

import base64

from ..peers.program import USERS
from .case import (
    ACCEPTED,
    MAIL,
    RCPT,
    TO_DATA,
    Case,
    Ending,
    Hear,
    HearAll,
    Say,
    Send,
    Step,
    message,
    over_tls,
    refused,
)

_ANN, _BOB = USERS
_SECRET = USERS[_ANN]


def _b64(text: str | bytes) -> bytes:
    return base64.b64encode(text.encode() if isinstance(text, str) else text)


def _plain(login: str, password: str, acting_as: str = "") -> bytes:
    return b"AUTH PLAIN " + _b64(f"{acting_as}\0{login}\0{password}")


_GOOD = _plain(_ANN, _SECRET)
_LOGGED_IN: tuple[Step, ...] = over_tls(Say(_GOOD, "235"))
_AS_ANN = b"MAIL FROM:<ann@office.example>"


def _without_tls() -> list[Case]:
    """Passwords don't travel in plain text: 538, 530 or what refuses AUTH as unknown."""
    lines = [
        ("PLAIN with its secret", _GOOD),
        ("PLAIN without", b"AUTH PLAIN"),
        ("LOGIN", b"AUTH LOGIN"),
        ("CRAM-MD5", b"AUTH CRAM-MD5"),
    ]
    cases = refused("login: AUTH without TLS", lines)
    return [Case(c.name, c.steps, door="submission") for c in cases]


def _not_at_all() -> list[Case]:
    """Without a login there is no mail; a server may say so at MAIL or at RCPT."""
    commands = {
        "MAIL": _AS_ANN,
        "MAIL with its AUTH parameter": _AS_ANN + b" AUTH=ann",
        "MAIL from nobody": b"MAIL FROM:<>",
    }
    return [
        Case(
            f"login: needed but not done{where}, {name}",
            (*before, Say(line, "250 530!"), Say(RCPT.line, "530 550 553 554")),
            door="submission",
        )
        for name, line in commands.items()
        for where, before in (("", ()), (" inside TLS", over_tls()))
    ]


_MALFORMED = {
    "no mechanism": b"AUTH",
    "only a space": b"AUTH ",
    "an unknown mechanism": b"AUTH X-MAGIC",
    "a mechanism with a control character": b"AUTH PL\x01AIN",
    "a mechanism of 10,000 letters": b"AUTH " + b"A" * 10_000,
    "ANONYMOUS": b"AUTH ANONYMOUS YW5u",
    "EXTERNAL": b"AUTH EXTERNAL =",
    "GSSAPI": b"AUTH GSSAPI",
    "NTLM": b"AUTH NTLM TlRMTVNTUAABAAAA",
    "three arguments": b"AUTH PLAIN a b",
    "no base64 at all": b"AUTH PLAIN !!!!",
    "base64 with a hole": b"AUTH PLAIN AGFubg BwYXNz",
    "base64 cut short": b"AUTH PLAIN AGFubgBwY",
    "base64 with text after its padding": b"AUTH PLAIN AA==AGFubgBwYXNz",
    "padding alone": b"AUTH PLAIN ====",
    "an equals sign: an empty secret": b"AUTH PLAIN =",
    "letters beyond ASCII": b"AUTH PLAIN " + "ÄÖÜ".encode(),
    "no NUL within": b"AUTH PLAIN " + _b64("annpassword"),
    "one NUL within": b"AUTH PLAIN " + _b64("ann\0password"),
    "three NUL within": b"AUTH PLAIN " + _b64(f"\0{_ANN}\0{_SECRET}\0"),
    "an empty login": _plain("", _SECRET),
    "an empty password": _plain(_ANN, ""),
    "nothing but two NUL": b"AUTH PLAIN " + _b64("\0\0"),
    "a login with a line end": _plain(f"{_ANN}\r\nevil", _SECRET),
    "a login with a colon": _plain(f"{_ANN}:{{PLAIN}}x", "x"),
    "a login that climbs directories": _plain("../../../../etc/passwd", "x"),
    "a login with SQL": _plain("' OR '1'='1", "x"),
    "a login with an LDAP filter": _plain("*)(uid=*", "x"),
    "a login of no UTF-8": b"AUTH PLAIN " + _b64(b"\0\xff\xfe\0secret"),
    "a login of 8,000 letters": _plain("a" * 8000, "x"),
    "a password of 8,000 letters": _plain(_ANN, "x" * 8000),
    "an unknown login": _plain("nobody@office.example", _SECRET),
    "a wrong password": _plain(_ANN, "wrong"),
    "the hash for a password": _plain(_ANN, "{ARGON2ID}$argon2id$v=19$m=64,t=1,p=1$x$x"),
    "another's password": _plain(_ANN, USERS[_BOB]),
    "as somebody else": _plain(_ANN, _SECRET, acting_as=_BOB),
    "as root": _plain(_ANN, _SECRET, acting_as="root"),
}


def _malformed() -> list[Case]:
    cases = refused("login", list(_MALFORMED.items()), *over_tls())
    # A command far too long may end the session (RFC 5321 section 4.5.3.1.4 asks for 512 octets).
    return [
        Case(c.name, c.steps, ending="either" if "000" in c.name else "quit", door="submission")
        for c in cases
    ]


def _in_steps() -> list[Case]:
    """The same nonsense as answers to the server's 334."""
    user, word = Hear("334"), Hear("334")
    login = _b64(_ANN)
    scripts: dict[str, tuple[Step, ...]] = {
        "PLAIN cancelled": (Say(b"AUTH PLAIN", "334"), Say(b"*", "501")),
        "LOGIN cancelled at the name": (Say(b"AUTH LOGIN", "334"), Say(b"*", "501")),
        "LOGIN cancelled at the password": (
            Say(b"AUTH LOGIN", "334"),
            Say(login, "334"),
            Say(b"*", "501"),
        ),
        "PLAIN, then a command": (Say(b"AUTH PLAIN", "334"), Say(b"MAIL FROM:<a@b>", "5")),
        "PLAIN, then an empty line": (Say(b"AUTH PLAIN", "334"), Say(b"", "5")),
        "PLAIN, then NUL octets": (Say(b"AUTH PLAIN", "334"), Say(b"\0\0\0", "5")),
        "LOGIN, then no base64": (Say(b"AUTH LOGIN", "334"), Say(b"!!!", "334 5!"), Say(b"!", "5")),
        "LOGIN, then an empty name": (
            Send(b"AUTH LOGIN\r\n\r\n"),
            Hear("334"),
            Hear("334 5!"),
            Say(b"", "5"),
        ),
        "LOGIN with a wrong password": (
            Say(b"AUTH LOGIN " + login, "334"),
            Say(_b64("wrong"), "535"),
        ),
        "LOGIN with no base64 for a password": (
            Say(b"AUTH LOGIN " + login, "334"),
            Say(b"%%%", "5"),
        ),
        "LOGIN all in one packet, wrong": (
            Send(b"AUTH LOGIN\r\n" + login + b"\r\n" + _b64("wrong") + b"\r\n"),
            user,
            word,
            Hear("535"),
        ),
        "a second login": (Say(_GOOD, "235"), Say(_GOOD, "503")),
        "a second login as somebody else": (
            Say(_GOOD, "235"),
            Say(_plain(_BOB, USERS[_BOB]), "503"),
        ),
        "inside a mail transaction": (
            Say(_GOOD, "235"),
            Say(_AS_ANN, "250"),
            Say(b"AUTH LOGIN", "503"),
        ),
        "STARTTLS behind a login": (Say(_GOOD, "235"), Say(b"STARTTLS", "5")),
        "after a failed one MAIL is still refused": (
            Say(_plain(_ANN, "wrong"), "535"),
            Say(_AS_ANN, "250 530!"),
            Say(RCPT.line, "530 550 553 554"),
        ),
        "after a cancelled one MAIL is still refused": (
            Say(b"AUTH PLAIN", "334"),
            Say(b"*", "501"),
            Say(_AS_ANN, "250 530!"),
            Say(RCPT.line, "530 550 553 554"),
        ),
        "wrong, with a mail in the same packet": (
            Send(_plain(_ANN, "wrong") + b"\r\n" + _AS_ANN + b"\r\n" + RCPT.line + b"\r\nDATA\r\n"),
            Hear("535"),
            Hear("530"),
            Hear("503 530"),
            Hear("503 554 530"),
        ),
        "four wrong passwords in one packet": (
            Send(_plain("guessed@office.example", "wrong") + b"\r\n", times=4),
            Send(b"QUIT\r\n"),
            HearAll("221 421 454 535", most=8),
        ),
        "an answer of 100,000 octets": (
            Say(b"AUTH PLAIN", "334"),
            Send(b"A" * 100_000 + b"\r\n"),
            Hear("421 5"),
        ),
    }
    endings: dict[str, Ending] = {
        "four wrong passwords in one packet": "closed",
        "an answer of 100,000 octets": "either",
    }
    return [
        Case(
            f"login: {name}", over_tls(*steps), ending=endings.get(name, "quit"), door="submission"
        )
        for name, steps in scripts.items()
    ]


def _pipelined() -> list[Case]:
    """A login and a mail in one packet: what follows the login is the one who logged in."""
    whole = b"\r\n".join((_AS_ANN, RCPT.line, b"DATA", b"X-Case: {tag}", b"", b"Text.", b".", b""))
    return [
        Case(
            f"login: {name} and a mail in one packet",
            over_tls(
                Send(login + whole), *replies, Hear("250"), Hear("250"), Hear("354"), ACCEPTED
            ),
            arrives=(1,),
            door="submission",
        )
        for name, login, replies in (
            ("PLAIN", _GOOD + b"\r\n", (Hear("235"),)),
            (
                "LOGIN",
                b"AUTH LOGIN\r\n" + _b64(_ANN) + b"\r\n" + _b64(_SECRET) + b"\r\n",
                (Hear("334"), Hear("334"), Hear("235")),
            ),
        )
    ]


def _as_another() -> list[Case]:
    """A login sends as itself (the listener says senders = "own")."""
    return [
        Case(
            "login: on the open door inside a mail transaction",
            (*over_tls(), MAIL, Say(_GOOD, "503")),
        ),
        Case(
            "login: a failed one spoils no mail transaction begun after it",
            over_tls(Say(_plain(_ANN, "wrong"), "535"), *TO_DATA, message(b"Text."), ACCEPTED),
            arrives=(1,),
        ),
        Case(
            "login: mail as somebody else",
            (*_LOGGED_IN, Say(b"MAIL FROM:<bob@office.example>", "250 5!"), Say(RCPT.line, "5")),
            door="submission",
        ),
        Case(
            "login: mail as somebody else, quoted",
            (*_LOGGED_IN, Say(b'MAIL FROM:<"bob"@office.example>', "250 5!"), Say(RCPT.line, "5")),
            door="submission",
        ),
        Case(
            "login: mail as a longer name",
            (*_LOGGED_IN, Say(b"MAIL FROM:<xann@office.example>", "250 5!"), Say(RCPT.line, "5")),
            door="submission",
        ),
        Case(
            "login: mail from a longer domain",
            (
                *_LOGGED_IN,
                Say(b"MAIL FROM:<ann@office.example.evil.example>", "250 5!"),
                Say(RCPT.line, "5"),
            ),
            door="submission",
        ),
    ]


CASES = [
    *_without_tls(),
    *_not_at_all(),
    *_malformed(),
    *_in_steps(),
    *_pipelined(),
    *_as_another(),
]
