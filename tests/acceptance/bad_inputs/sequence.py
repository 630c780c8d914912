"""Commands out of order, half commands, and commands of other times."""

from .case import (
    ACCEPTED,
    DATA,
    HELLO,
    MAIL,
    RCPT,
    TO_DATA,
    Case,
    Hear,
    Say,
    Send,
    Step,
    message,
    nonsense,
    refused,
    tolerable,
)

_MAIL = MAIL.line
_RCPT = RCPT.line

_INCOMPLETE = {
    "EHLO without a name": b"EHLO",
    "HELO without a name": b"HELO",
    "EHLO with only a space": b"EHLO ",
    "MAIL alone": b"MAIL",
    "MAIL FROM without a colon": b"MAIL FROM <a@office.example>",
    "MAIL FROM: alone": b"MAIL FROM:",
    "MAIL FROM: and spaces": b"MAIL FROM:   ",
    "MAIL TO:": b"MAIL TO:<a@office.example>",
    "an unknown command": b"FROBNICATE",
    "a command of one letter": b"X",
    "a command with a long s for S": "RſET".encode(),
    "a command with a dotless i": "MAıL FROM:<a@office.example>".encode(),
    "DATA with an argument": b"DATA now",
    "DATA with a message behind": b"DATA Subject: x",
}
_NO_COMMANDS = {
    "MAIL:": b"MAIL:<a@office.example>",
    "MAILFROM in one word": b"MAILFROM:<a@office.example>",
    "FROM: alone": b"FROM:<a@office.example>",
    "a reply": b"250 OK",
    "only a colon": b":",
    "a header line": b"Subject: hello",
    "a lone dot": b".",
    "a command in full-width letters": "ＮＯＯＰ".encode(),
}
_OF_OLD = {
    "TURN": b"TURN",
    "SEND": b"SEND FROM:<a@office.example>",
    "SOML": b"SOML FROM:<a@office.example>",
    "SAML": b"SAML FROM:<a@office.example>",
    "DEBUG": b"DEBUG",
    "WIZ": b"WIZ",
    "SHOWQ": b"SHOWQ",
    "VERB": b"VERB ON",
    "ONEX": b"ONEX",
    "EXPN of a list": b"EXPN everybody",
    "ETRN": b"ETRN foreign.example",
    "ATRN": b"ATRN office.example",
    "XEXCH50": b"XEXCH50 2 2",
    "X-LINK2STATE": b"X-LINK2STATE LAST CHUNK={00000000}",
    "X-ANONYMOUSTLS": b"X-ANONYMOUSTLS",
    "XCLIENT from a stranger": b"XCLIENT ADDR=192.0.2.1 LOGIN=ann@office.example",
    "XFORWARD from a stranger": b"XFORWARD ADDR=192.0.2.1 NAME=friend.example",
    "BURL": b"BURL imap://office.example/INBOX LAST",
    "LHLO": b"LHLO client.office.example",
    "STARTTLS misspelt": b"START TLS",
    "AUTH misspelt": b"AUTHPLAIN AAA",
}
_HARMLESS = {
    "a space before the command": b" NOOP",
    "a tab before the command": b"\tNOOP",
    "MAIL and FROM with a tab between": b"MAIL\tFROM:<a@office.example>",
    "QUIT's brother BYE": b"BYE",
    "RSET with an argument": b"RSET all",
    "NOOP with an argument of 400 octets": b"NOOP " + b"a" * 400,
    "VRFY of nobody": b"VRFY",
    "VRFY of root": b"VRFY root",
    "VRFY of a control character": b"VRFY \x01",
    "HELP": b"HELP",
    "HELP of everything": b"HELP EHLO HELO MAIL RCPT",
    "EHLO with a name of 250 octets": b"EHLO " + b"a" * 250,
    "EHLO with letters beyond ASCII": "EHLO büro.office.example".encode(),
    "EHLO with an address literal cut short": b"EHLO [127.0.0",
    "EHLO with a script": b"EHLO <script>alert(1)</script>",
    "EHLO with a format string": b"EHLO %s%s%n{0.__class__}${jndi:ldap://127.0.0.1/a}",
    "HELO with two names": b"HELO client office",
}


def _out_of_order() -> list[Case]:
    scripts: dict[str, tuple[Step, ...]] = {
        "RCPT before MAIL": (Say(_RCPT, "503"),),
        "DATA before MAIL": (Say(b"DATA", "503 554"),),
        "DATA before RCPT": (MAIL, Say(b"DATA", "503 554")),
        "MAIL inside MAIL": (MAIL, Say(_MAIL, "503")),
        "MAIL after RCPT": (MAIL, RCPT, Say(_MAIL, "503")),
        "a nested MAIL spoils the first one not": (
            MAIL,
            Say(b"MAIL FROM:<evil-{tag}@office.example>", "503"),
            RCPT,
            Say(b"RSET", "250"),
        ),
        "RCPT after RSET": (MAIL, Say(b"RSET", "250"), Say(_RCPT, "503")),
        "DATA after RSET": (MAIL, RCPT, Say(b"RSET", "250"), Say(b"DATA", "503 554")),
        "RCPT after a second EHLO": (MAIL, HELLO, Say(_RCPT, "503")),
        "DATA after a second EHLO": (MAIL, RCPT, HELLO, Say(b"DATA", "503 554")),
        "DATA after HELO": (MAIL, RCPT, Say(b"HELO client", "250"), Say(b"DATA", "503 554")),
        "DATA when all recipients were refused": (
            MAIL,
            Say(b"RCPT TO:<@>", "5"),
            Say(b"DATA", "503 554"),
        ),
        "DATA when MAIL was refused": (Say(b"MAIL FROM:<@>", "5"), Say(b"DATA", "503 554")),
        "RCPT when MAIL was refused": (Say(b"MAIL FROM:<@>", "5"), Say(_RCPT, "503")),
        "LF.LF is no end to an empty transaction": (
            MAIL,
            Say(b"RSET", "250"),
            Say(b"DATA", "503 554"),
        ),
    }
    return [Case(f"sequence: {name}", steps) for name, steps in scripts.items()]


def _before_hello() -> list[Case]:
    """The door wants a name first (RFC 5321 section 4.1.4)."""
    commands = {"MAIL": _MAIL, "RCPT": _RCPT, "DATA": b"DATA", "AUTH": b"AUTH PLAIN AAA="}
    return [
        Case(f"sequence: {name} before EHLO", (Hear("220"), Say(line, "5")), hello=False)
        for name, line in commands.items()
    ]


def _after_a_message() -> list[Case]:
    """A finished transaction leaves nothing behind."""
    done = (*TO_DATA, message(b"Text."), ACCEPTED)
    return [
        Case("sequence: RCPT after a message", (*done, Say(_RCPT, "503")), arrives=(1,)),
        Case("sequence: DATA after a message", (*done, Say(b"DATA", "503 554")), arrives=(1,)),
        Case(
            "sequence: a second message without a second sender",
            (*done, Send(_RCPT + b"\r\nDATA\r\n"), Hear("503"), Hear("503 554")),
            arrives=(1,),
        ),
        Case(
            "sequence: the last recipient is not taken over",
            (*done, MAIL, Say(b"DATA", "503 554")),
            arrives=(1,),
        ),
    ]


def _cut_off() -> list[Case]:
    """A client that goes before the end has sent nothing."""
    text = b"Subject: {tag}\r\n\r\nText without an end\r\n"
    endings = {
        "in the middle of DATA": text,
        "before the last line end": text + b".",
        "after dot and CR": text + b".\r",
        "after a false end": text + b".\n",
        "after QUIT in the text": text + b"QUIT\r\n",
    }
    return [
        Case(f"sequence: gone {name}", (*TO_DATA, Send(octets)), ending="hang up")
        for name, octets in endings.items()
    ]


def _pipelined() -> list[Case]:
    """Many commands in one packet get as many replies, in order (RFC 2920)."""
    return [
        Case(
            "sequence: a pipelined transaction whose recipient is refused",
            (
                Send(_MAIL + b"\r\nRCPT TO:<@>\r\nDATA\r\nRSET\r\n"),
                Hear("250"),
                Hear("5"),
                Hear("503 554"),
                Hear("250"),
            ),
        ),
        Case(
            "sequence: twenty recipients pipelined behind a refused sender",
            (
                Send(b"MAIL FROM:<@>\r\n" + (_RCPT + b"\r\n") * 20 + b"DATA\r\n"),
                Hear("5"),
                *(Hear("503") for _ in range(20)),
                Hear("503 554"),
                *TO_DATA,
                message(b"Text."),
                ACCEPTED,
            ),
            arrives=(1,),
        ),
        Case(
            "sequence: two transactions in one packet",
            (
                Send((_MAIL + b"\r\n" + _RCPT + b"\r\nBDAT 8 LAST\r\n{tag}:a") * 2),
                Hear("250"),
                Hear("250"),
                ACCEPTED,
                Hear("250"),
                Hear("250"),
                ACCEPTED,
            ),
            arrives=(2,),
        ),
        Case(
            "sequence: commands behind a pipelined unknown one",
            (
                Send(b"FROB\r\n" + _MAIL + b"\r\nFROB\r\n" + _RCPT + b"\r\nRSET\r\n"),
                Hear("5"),
                Hear("250"),
                Hear("5"),
                Hear("250"),
                Hear("250"),
            ),
        ),
        Case(
            "sequence: DATA and the whole message in one packet",
            (
                MAIL,
                RCPT,
                Send(b"DATA\r\nSubject: {tag}\r\n\r\nQUIT\r\nRSET\r\n.\r\nNOOP\r\n"),
                Hear("354"),
                ACCEPTED,
                Hear("250"),
            ),
            arrives=(1,),
        ),
        Case(
            "sequence: DATA twice in one packet",
            (MAIL, RCPT, DATA, Send(b"DATA\r\n{tag}\r\n.\r\n"), ACCEPTED),
            arrives=(1,),
        ),
    ]


CASES = [
    *refused("sequence", _INCOMPLETE.items()),
    *nonsense("sequence", _NO_COMMANDS.items()),
    *refused("commands of old", _OF_OLD.items()),
    *tolerable("sequence", _HARMLESS.items()),
    *_out_of_order(),
    *_before_hello(),
    *_after_a_message(),
    *_cut_off(),
    *_pipelined(),
]
