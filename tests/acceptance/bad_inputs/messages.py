"""Messages of absurd size and shape: taken or refused for good, never an accident of ours."""

from .case import (
    ACCEPTED_OR_REFUSED,
    HEADER,
    MAIL,
    RCPT,
    TO_DATA,
    Case,
    Hear,
    Send,
    Step,
)

_MEGABYTE = 1_000_000
LARGEST = 8 * _MEGABYTE  # the limit that the door is set to
_LATER = Hear("250 5 452", accepts=True)  # 452: too much in flight at once is said so
_END = Send(b"\r\n.\r\n")


def _nested(depth: int) -> bytes:
    """Multiparts within multiparts."""
    head = b"Content-Type: multipart/mixed; boundary=b0\r\n\r\n"
    inner = b"".join(
        b"--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n" % (n, n + 1)
        for n in range(depth)
    )
    return head + inner + b"--b%d\r\n\r\nAt the bottom.\r\n" % depth


def _wide(parts: int) -> bytes:
    head = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
    return head + b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n" * parts + b"--b--\r\n"


def _matryoshka(depth: int) -> bytes:
    """Messages within messages."""
    return b"Content-Type: message/rfc822\r\n\r\n" * depth + b"Subject: inmost\r\n\r\nText."


def _parameters(count: int) -> bytes:
    """A file name in very many pieces (RFC 2231)."""
    pieces = b"".join(b";\r\n filename*%d*=%%41" % n for n in range(count))
    return b"Content-Disposition: attachment" + pieces + b"\r\n\r\nText."


_MIME = {
    "1,000 multiparts deep": _nested(1000),
    "10,000 parts wide": _wide(10_000),
    "1,000 messages deep": _matryoshka(1000),
    "a file name of 5,000 pieces": _parameters(5000),
    "a file name of pieces that overlap": b"Content-Disposition: attachment; filename*0*=a;"
    b" filename*0=b; filename*1=c; filename=d\r\n\r\nText.",
    "a file name with a path and NEL": b"Content-Disposition: attachment;"
    b' filename="../../etc/\xc2\x85passwd"\r\n\r\nText.',
    "a boundary that is missing": b"Content-Type: multipart/mixed\r\n\r\n--\r\n\r\nText.",
    "an empty boundary": b'Content-Type: multipart/mixed; boundary=""\r\n\r\n--\r\n\r\nText.',
    "a boundary of 900 octets": b"Content-Type: multipart/mixed; boundary="
    + b"b" * 900
    + b"\r\n\r\n--"
    + b"b" * 900
    + b"\r\n\r\nText.",
    "a boundary that is never closed": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b",
    "a boundary that is its own inner one": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
    + b"--b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" * 50,
    "an unknown charset": b"Content-Type: text/plain; charset=x-klingon\r\n\r\n\xff\xfe",
    "a charset that is a codec of Python": b"Content-Type: text/plain; charset=zlib\r\n\r\nx\x9c",
    "a charset with NUL": b"Content-Type: text/plain; charset=a\x01b\r\n\r\nText.",
    "a transfer encoding of base64 with garbage": b"Content-Transfer-Encoding: base64\r\n\r\n"
    + b"!@#$%^&*()" * 90
    + b"\r\nA",
    "a transfer encoding that is unknown": b"Content-Transfer-Encoding: x-rot13\r\n\r\nUryyb",
    "quoted-printable cut short": b"Content-Transfer-Encoding: quoted-printable\r\n\r\n=\r\n=3",
    "uuencode cut short": b"Content-Transfer-Encoding: x-uuencode\r\n\r\nbegin 644 a\r\nM!!",
    "a multipart in base64": b"Content-Type: multipart/mixed; boundary=b\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\nLS1i",
    "a Content-Type of nothing": b"Content-Type:\r\nContent-Type: /\r\n\r\nText.",
    "a header of 2,000 encoded words": b"Subject: "
    + b"=?utf-8?B?4oKs4oKs4oKs?=\r\n " * 2000
    + b"x\r\n\r\nText.",
    "encoded words that hide a line end": b"Subject: =?utf-8?Q?a=0D=0ABcc:_b@b?=\r\n\r\nText.",
    "encoded words in no charset": b"Subject: =?x-none?Q?a?= =?utf-8?X?b?= =?\r\n\r\nText.",
    "an address list of 20,000 commas": b"Cc: " + b",\r\n " * 20_000 + b"\r\n\r\nText.",
    "comments 1,800 deep": b"Cc: " + b"(" * 900 + b"\r\n " + b"(" * 900 + b"\r\n\r\nText.",
    "a date of the year 99999": b"Date: Fri, 31 Dec 99999 99:99:99 +9999\r\n\r\nText.",
    "a Message-ID of spaces": b"Message-ID:   \r\nMessage-ID: <>\r\n\r\nText.",
    "a DKIM signature of nonsense": b"DKIM-Signature: v=1; a=rsa-sha256; d=; s=; h=from; b=!!\r\n"
    b"\r\nText.",
    "a DKIM signature with l= beyond the end": b"DKIM-Signature: v=1; a=rsa-sha256;"
    b" c=relaxed/simple; d=office.example; s=s1; l=999999999; h=from; bh=AAAA; b=AAAA\r\n\r\nTxt.",
    "a thousand DKIM signatures": b"DKIM-Signature: v=1; a=rsa-sha256; d=a.example; s=s; h=from;"
    b" bh=AAAA; b=AAAA\r\n" * 1000 + b"\r\nText.",
    "ARC sets out of order": b"ARC-Seal: i=51; a=rsa-sha256; cv=none; d=a.example; s=s; b=A\r\n"
    b"ARC-Seal: i=0; cv=pass\r\nARC-Message-Signature: i=-1\r\n\r\nText.",
}

_SHAPES = {
    "no header at all": b"Just a text, {tag}.",
    "a body without an empty line": b"X-Case: {tag}\r\nnot a header line\r\nText.",
    "an empty line first": b"\r\nX-Case: {tag}\r\n\r\nText.",
    "a continuation first": b" X-Case: {tag}\r\n\r\nText.",
    "only a continuation": b" {tag}",
    "only colons": b":\r\n::\r\n:{tag}:\r\n\r\nText.",
    "a header's name with spaces": b"X Case : {tag}\r\n\r\nText.",
    "a header's name of 70,000 octets": b"X" * 70_000 + b": {tag}\r\n\r\nText.",
    "two From": b"From: a@office.example\r\nFrom: b@evil.example\r\nX-Case: {tag}\r\n\r\nText.",
    "a From without an address": b"From: \r\nX-Case: {tag}\r\n\r\nText.",
    "a From of 5,000 addresses": b"From: "
    + b"a@office.example,\r\n " * 5000
    + b"b@office.example\r\nX-Case: {tag}\r\n\r\nText.",
    "a From with NEL between its addresses": b"From: a@office.example\xc2\x85, b@evil.example\r\n"
    b"X-Case: {tag}\r\n\r\nText.",
    "an mbox From line": b"From a@office.example Thu Jan  1 00:00:00 1970\r\n"
    b"X-Case: {tag}\r\n\r\nText.",
    "100 Received, a loop": b"Received: from a by b; Thu, 1 Jan 2026 00:00:00 +0000\r\n" * 100
    + b"X-Case: {tag}\r\n\r\nText.",
    "Delivered-To of the recipient": b"Delivered-To: user-{tag}@partner.example\r\n\r\nText.",
    "Return-Path of another": b"Return-Path: <evil@office.example>\r\nX-Case: {tag}\r\n\r\nText.",
    "Bcc": b"Bcc: secret@partner.example\r\nX-Case: {tag}\r\n\r\nText.",
    "a line of 2,000 octets": b"X-Case: {tag}\r\n\r\n" + b"a" * 2000,
    "a line of 100,000 octets of UTF-8": b"X-Case: {tag}\r\n\r\n" + "é".encode() * 50_000,
    "a header line of 999 octets": b"X-Case: {tag}\r\nX-A: " + b"a" * 994 + b"\r\n\r\nText.",
    "50,000 header lines": b"X-Case: {tag}\r\n" + b"X-A: b\r\n" * 50_000 + b"\r\nText.",
    "a header folded 50,000 times": b"X-Case: {tag}\r\nX-A: b" + b"\r\n c" * 50_000 + b"\r\n\r\nT",
    "a header folded with nothing in it": b"X-Case: {tag}\r\nX-A:"
    + b"\r\n " * 10_000
    + b"\r\n\r\nT",
    "100,000 dots": b"X-Case: {tag}\r\n\r\n" + b"..\r\n" * 100_000,
    "100,000 lines of spaces": b"X-Case: {tag}\r\n\r\n" + b"  \t \r\n" * 100_000,
    "octets 128 to 255": b"X-Case: {tag}\r\n\r\n" + bytes(range(128, 256)) * 5,
}


def _large() -> list[Case]:
    """Ten megabytes where a line is due, and messages over the limit."""
    block = b"a" * _MEGABYTE
    line = b"a" * 70 + b"\r\n"
    megabyte_of_lines = line * (_MEGABYTE // len(line))
    begun: tuple[Step, ...] = (*TO_DATA, Send(HEADER))
    long_line = (Send(b"X-Long: "), Send(block, times=5))
    over = (*begun, Send(b"\r\n"), Send(megabyte_of_lines, times=LARGEST // _MEGABYTE + 2), _END)
    by_chunk = b"BDAT %d LAST\r\n" % (LARGEST + _MEGABYTE)
    return [
        Case(
            "message: a header line of 10 MB",
            (*begun, *long_line, Send(block, times=5), Send(b"\r\n\r\nText."), _END, Hear("5")),
            ending="either",
        ),
        Case(
            "message: a header line of 5 MB",
            (*begun, *long_line, Send(b"\r\n\r\nText."), _END, _LATER),
            arrives=(0, 1),
            ending="either",
        ),
        Case(
            "message: a body line of 5 MB",
            (*begun, Send(b"\r\n"), Send(block, times=5), _END, _LATER),
            arrives=(0, 1),
            ending="either",
        ),
        Case("message: larger than allowed", (*over, Hear("552")), ending="either"),
        Case(
            "message: larger than allowed, nothing but CR",
            (*begun, Send(b"\r\n"), Send(b"\r" * _MEGABYTE, times=10), _END, Hear("5")),
            ending="either",
        ),
        Case(
            "message: larger than allowed, nothing but dots",
            (*begun, Send(b"\r\n"), Send(b"." * _MEGABYTE, times=10), _END, Hear("5")),
            ending="either",
        ),
        Case(
            "message: larger than allowed, by BDAT",
            (MAIL, RCPT, Send(by_chunk), Send(block, times=LARGEST // _MEGABYTE + 1), Hear("552")),
            ending="either",
        ),
    ]


CASES = [
    *(
        Case(
            f"message: {name}",
            (*TO_DATA, Send(HEADER + octets), _END, ACCEPTED_OR_REFUSED),
            arrives=(0, 1),
            ending="either",
        )
        for name, octets in _MIME.items()
    ),
    *(
        Case(
            f"message: {name}",
            (*TO_DATA, Send(octets), _END, ACCEPTED_OR_REFUSED),
            arrives=(0, 1),
            ending="either",
        )
        for name, octets in _SHAPES.items()
    ),
    *_large(),
]
