"""Clients of other protocols, and some that can't wait."""

import random
import ssl

from .case import HELLO, SMUGGLED, Case, HalfClose, Hear, HearAll, Pause, Say, Send

_FORM = b"a=1\r\n" + SMUGGLED + b"QUIT\r\n"


def _client_hello() -> bytes:
    """What a TLS client says first."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("a handshake without an answer")


def _http(method: bytes, body: bytes = b"") -> bytes:
    return (
        method
        + b" / HTTP/1.1\r\nHost: relay.office.example\r\nContent-Type: text/plain\r\n"
        + b"Content-Length: %d\r\n\r\n" % len(body)
        + body
    )


_WEB = {
    "HTTP GET": _http(b"GET"),
    "HTTP HEAD": _http(b"HEAD"),
    "HTTP OPTIONS": _http(b"OPTIONS"),
    "HTTP CONNECT": b"CONNECT mx.partner.example:25 HTTP/1.1\r\n\r\n" + _FORM,
    "HTTP POST with a mail dialogue as its body": _http(b"POST", _FORM),
    "HTTP PUT with a mail dialogue as its body": _http(b"PUT", _FORM),
    "HTTP PATCH with a mail dialogue and HELO in its body": _http(
        b"PATCH", b"HELO client\r\n" + _FORM
    ),
    "HTTP POST in small letters": _http(b"post", _FORM),
    "HTTP POST of a form with a mail dialogue in a field": _http(
        b"POST", b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + _FORM + b"--x--\r\n"
    ),
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a WebSocket upgrade": _http(b"GET").replace(b"\r\n\r\n", b"\r\nUpgrade: websocket\r\n\r\n"),
    "only an HTTP header with a dialogue behind": b"Host: relay.office.example\r\n" + _FORM,
}
_OTHERS = {
    "a TLS ClientHello": _client_hello(),
    "an SSL 2 hello": b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + b"\x01\x00\x80" * 7,
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "SIP": b"OPTIONS sip:a@relay.office.example SIP/2.0\r\nVia: SIP/2.0/TCP a\r\n\r\n",
    "FTP": b"USER anonymous\r\nPASS a@\r\n",
    "POP3": b"CAPA\r\nUSER ann\r\nPASS secret\r\n",
    "IMAP": b"a001 LOGIN ann secret\r\na002 CAPABILITY\r\n",
    "NNTP": b"MODE READER\r\nPOST\r\n",
    "IRC": b"NICK ann\r\nUSER ann 0 * :ann\r\n",
    "Redis": b"*1\r\n$4\r\nINFO\r\n",
    "memcached": b"stats\r\nset a 0 0 1\r\nb\r\n",
    "Jabber": b"<?xml version='1.0'?><stream:stream to='office.example'>\r\n",
    "JSON-RPC": b'{"id": 1, "method": "mining.subscribe", "params": []}\r\n',
    "RDP": b"\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00",
    "SOCKS5": b"\x05\x01\x00",
    "DNS over TCP": b"\x00\x1d\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x10",
    "PROXY protocol 1 that nobody asked for": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 25\r\n",
    "PROXY protocol 2 that nobody asked for": b"\r\n\r\n\x00\r\nQUIT\n!\x11\x00\x0c" + b"\x01" * 12,
    "LDAP": b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00\r\n",
    "LMTP": b"LHLO client.office.example\r\n",
    "64 KiB of zeros": bytes(65_536),
    "nothing but line ends": b"\r\n" * 5,
}


def _spoken() -> list[Case]:
    """Whatever was said, the door answers 5xx and goes its way; QUIT behind it ends the talk."""
    return [
        Case(
            f"other protocols: {name}",
            (Hear("220"), Send(octets + b"\r\nQUIT\r\n"), HearAll("221 421 5", most=60)),
            ending="closed",
            hello=False,
        )
        for name, octets in {**_WEB, **_OTHERS}.items()
    ]


def _noise() -> list[Case]:
    """Random octets, the same in every run."""
    return [
        Case(
            f"other protocols: {octets} random octets",
            (
                Hear("220"),
                Send(random.Random(octets).randbytes(octets) + b"\r\nQUIT\r\n"),
                HearAll("221 421 5", most=60),
            ),
            ending="closed",
            hello=False,
        )
        for octets in (10, 100, 1000, 10_000)
    ]


def _impatient() -> list[Case]:
    """Talk before the greeting is refused or kept until its turn; it never breaks the order."""
    whole = b"EHLO client.office.example\r\n" + SMUGGLED.replace(b"evil", b"case") + b"QUIT\r\n"
    return [
        Case(
            "impatience: EHLO before the greeting",
            (Send(b"EHLO client.office.example\r\n"), Hear("220 4 5!"), Hear("250 4 5")),
            ending="either",
            hello=False,
        ),
        Case(
            "impatience: a whole dialogue before the greeting",
            (Send(whole), HearAll("220 250 354 221 4 5", most=8)),
            arrives=(0, 1),
            ending="closed",
            hello=False,
        ),
        Case(
            "impatience: nonsense before the greeting",
            (Send(b"\x00\x01\x02nonsense\r\nQUIT\r\n"), HearAll("220 221 4 5", most=4)),
            ending="closed",
            hello=False,
        ),
        Case("impatience: gone before the greeting", (), ending="hang up", hello=False),
        Case(
            "impatience: half-closed before the greeting",
            (HalfClose(), HearAll("220 4 5", most=3)),
            ending="closed",
            hello=False,
        ),
        Case(
            "impatience: half-closed after EHLO",
            (Hear("220"), HELLO, HalfClose(), HearAll("4 5", most=3)),
            ending="closed",
            hello=False,
        ),
        Case(
            "impatience: gone in the middle of a command",
            (Send(b"MAIL FROM:<case-{ta"), Pause()),
            ending="hang up",
        ),
        Case(
            "impatience: EHLO one octet at a time",
            (
                Hear("220"),
                *(step for i in range(4) for step in (Send(b"EHLO"[i : i + 1]), Pause(0.01))),
                Say(b" client.office.example", "250"),
            ),
            hello=False,
        ),
    ]


CASES = [*_spoken(), *_noise(), *_impatient()]
