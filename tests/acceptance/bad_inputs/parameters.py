"""Parameters of MAIL and RCPT that nobody announced, or with values that can't be."""

from .case import (
    ACCEPTED_OR_REFUSED,
    DATA,
    HELLO,
    MAIL,
    RECIPIENT,
    SENDER,
    Case,
    Hear,
    Say,
    Send,
    message,
    refused,
    tolerable,
)

_MAIL = b"MAIL FROM:<" + SENDER + b">"
_RCPT = b"RCPT TO:<" + RECIPIENT + b">"

_SIZES = {
    "negative": b"-1",
    "empty": b"",
    "a word": b"big",
    "with a sign": b"+5",
    "hexadecimal": b"0x10",
    "with a fraction": b"1.5",
    "with an exponent": b"1e3",
    "with a separator": b"1_000",
    "with a comma": b"1,000",
    "with a unit": b"5MB",
    "in full-width digits": "１２".encode(),
    "in Arabic digits": "٣".encode(),
    "one octet more than allowed": b"52428801",
    "beyond 64 bits": b"99999999999999999999",
    "of a thousand digits": b"9" * 1000,
}
_MAIL_ONLY = {
    "an unknown one": b"FOO",
    "an unknown one with a value": b"FOO=bar",
    "an unknown one beginning with X": b"XMAGIC=1",
    "a name beginning with a hyphen": b"-FOO=1",
    "only an equals sign": b"=",
    "a name missing": b"=7BIT",
    "unknown BODY": b"BODY=9BIT",
    "empty BODY": b"BODY=",
    "BODY without value": b"BODY",
    "BODY twice": b"BODY=7BIT BODY=8BITMIME",
    "SIZE without value": b"SIZE",
    "SIZE twice": b"SIZE=1 SIZE=2",
    "SMTPUTF8 with a value": b"SMTPUTF8=1",
    "unknown RET": b"RET=SOME",
    "empty RET": b"RET=",
    "RET twice": b"RET=FULL RET=HDRS",
    "ENVID twice": b"ENVID=a ENVID=b",
    "AUTH twice": b"AUTH=<> AUTH=<>",
    "NOTIFY, which belongs to RCPT": b"NOTIFY=NEVER",
    "ORCPT, which belongs to RCPT": b"ORCPT=rfc822;a@b.example",
    "one of 3,000 octets": b"FOO=" + b"a" * 3000,
    "a hundred": b" ".join(b"P%d=1" % n for n in range(100)),
    "one with a control character": b"FOO=\x01",
    "no space before it": b"",
    "an address": b"<evil-{tag}@office.example>",
    "a second path": b"FROM:<evil-{tag}@office.example>",
}
_RCPT_ONLY = {
    "an unknown one": b"FOO=bar",
    "SIZE, which belongs to MAIL": b"SIZE=5",
    "BODY, which belongs to MAIL": b"BODY=8BITMIME",
    "RET, which belongs to MAIL": b"RET=FULL",
    "unknown NOTIFY": b"NOTIFY=ALWAYS",
    "empty NOTIFY": b"NOTIFY=",
    "NOTIFY with NEVER and more": b"NOTIFY=NEVER,SUCCESS",
    "NOTIFY with an empty item": b"NOTIFY=SUCCESS,,DELAY",
    "NOTIFY twice": b"NOTIFY=NEVER NOTIFY=SUCCESS",
    "ORCPT twice": b"ORCPT=rfc822;a@b.example ORCPT=rfc822;c@d.example",
    "ORCPT without a type": b"ORCPT=a@b.example",
    "an address": b"<evil-{tag}@partner.example>",
    "a comma and an address": b",<evil-{tag}@partner.example>",
}
# Postfix and others let these pass; what matters is that nothing breaks.
_TOLERABLE_MAIL = {
    "ENVID with a bad escape": b"ENVID=+ZZ",
    "AUTH with a bad escape": b"AUTH=+G1",
    "AUTH of another": b"AUTH=evil@office.example",
    "empty AUTH": b"AUTH=",
    "an empty ENVID": b"ENVID=",
    "BODY in small letters": b"body=8bitmime",
    "SIZE=0": b"SIZE=0",
    "SIZE with leading zeros": b"SIZE=00000000000000000005",
    "REQUIRETLS in plain text": b"REQUIRETLS",
    "MT-PRIORITY beyond its range": b"MT-PRIORITY=99",
    "BY in the past": b"BY=-5;R",
    "HOLDFOR for ever": b"HOLDFOR=999999999",
    "BINARYMIME": b"BODY=BINARYMIME",
}


def _lying() -> list[Case]:
    """A SIZE that is not the message's."""
    return [
        Case(
            f"parameters: SIZE says {said}, the message has more",
            (
                Say(_MAIL + b" SIZE=" + said.encode(), "250"),
                Say(_RCPT, "250"),
                DATA,
                message(b"a line of the text\r\n" * 500),
                ACCEPTED_OR_REFUSED,
            ),
            arrives=(0, 1),
        )
        for said in ("1", "10")
    ] + [
        Case(
            "parameters: SIZE says 7 MB, the message is short",
            (
                Say(_MAIL + b" SIZE=7000000", "250 4!"),
                Say(_RCPT, "250"),
                DATA,
                message(b"short"),
                ACCEPTED_OR_REFUSED,
            ),
            arrives=(0, 1),
        )
    ]


def _after_a_refusal() -> list[Case]:
    """A refused MAIL opens no transaction."""
    return [
        Case(
            f"parameters: MAIL refused for {name}, RCPT and DATA behind it",
            (
                Send(_MAIL + b" " + parameter + b"\r\n" + _RCPT + b"\r\nDATA\r\n"),
                Hear("5"),
                Hear("503"),
                Hear("503 554"),
            ),
        )
        for name, parameter in {"its SIZE": b"SIZE=-1", "its BODY": b"BODY=9BIT"}.items()
    ] + [
        Case(
            "parameters: after HELO there are none",
            (
                Say(b"HELO client.office.example", "250"),
                Say(_MAIL + b" SIZE=5", "250 5"),
                HELLO,
            ),
        )
    ]


CASES = [
    *refused("parameters: SIZE", [(n, _MAIL + b" SIZE=" + v) for n, v in _SIZES.items()]),
    *refused(
        "parameters: of MAIL",
        [(n, _MAIL + b" " + v if v else _MAIL + b"SIZE=5") for n, v in _MAIL_ONLY.items()],
    ),
    *refused("parameters: of RCPT", [(n, _RCPT + b" " + v) for n, v in _RCPT_ONLY.items()], MAIL),
    *tolerable("parameters: of MAIL", [(n, _MAIL + b" " + v) for n, v in _TOLERABLE_MAIL.items()]),
    *_lying(),
    *_after_a_refusal(),
]
