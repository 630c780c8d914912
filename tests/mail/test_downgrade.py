"""Mail of 8 bits for servers that take 7: another form, and the same content."""

import email
from email.message import Message

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterrelay.mail.downgrade import seven_bit
from filterrelay.plugin.testing import within_cpu_budget

GERMAN = "Schöne Grüße aus dem Büro an alle, die noch da sind = 🐎 \r\n.\r\n"
RUSSIAN = "Привет из конторы\r\n" * 9
PLAIN = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
HEAD = "From: <a@office.example>\r\nMIME-Version: 1.0\r\n"
MIXED = 'Content-Type: multipart/mixed; boundary="b"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n'


def leaves(raw: bytes) -> list[tuple[str, bytes]]:
    """What a mail program finds in it: types and decoded contents."""
    parsed: Message = email.message_from_bytes(raw)
    return [
        (part.get_content_type(), part.get_payload(decode=True))  # type: ignore[misc]  # bytes then
        for part in parsed.walk()
        if not part.is_multipart()
    ]


def fields(raw: bytes) -> list[str]:
    """The root's header fields."""
    return [line for line in raw.partition(b"\r\n\r\n")[0].decode().split("\r\n") if line]


@pytest.mark.parametrize(
    ("text", "encoding"), [(GERMAN, "quoted-printable"), (RUSSIAN, "base64"), ("ü", "base64")]
)
def test_a_text_keeps_its_content(text: str, encoding: str) -> None:
    """In whichever form is the shorter; no other field is touched."""
    raw = f"{HEAD}{PLAIN}{text}".encode()
    converted = seven_bit(raw)
    assert converted.isascii()
    assert leaves(converted) == [("text/plain", text.encode())]
    changed = [line.replace("8bit", encoding) for line in fields(raw)]
    assert fields(converted) == changed


def test_mail_of_seven_bits_is_left_alone() -> None:
    """Not even copied."""
    raw = f"{HEAD}{PLAIN}Hello.\r\n".encode()
    assert seven_bit(raw) is raw


def test_part_by_part() -> None:
    """Multiparts and attached messages keep their structure; what had 7 bits isn't touched."""
    within = MIXED.replace('"b"', '"c"')
    inner = f"Subject: inner\r\n{within}--c\r\n{PLAIN}{GERMAN}\r\n--c--\r\n"
    image = "Content-Type: image/png\r\n\r\n\x89PNG ü"
    parts = [
        f"{PLAIN}{RUSSIAN}",
        "\r\nplain",
        f"Content-Type: message/rfc822\r\n\r\n{inner}",
        image,
    ]
    body = "".join(f"--b\r\n{part}\r\n" for part in parts)
    raw = f"{HEAD}{MIXED}Preamble\r\n{body}--b--\r\nEpilogue\r\n".encode()
    converted = seven_bit(raw)
    assert converted.isascii()
    assert leaves(converted) == leaves(raw)
    assert "Content-Transfer-Encoding: 7bit" in fields(converted)
    assert b"Preamble\r\n--b\r\n" in converted
    assert converted.endswith(b"\r\n--b--\r\nEpilogue\r\n")
    assert b"\r\n--b\r\n\r\nplain\r\n--b\r\n" in converted
    assert b"\r\n--c--\r\n" in converted


@pytest.mark.parametrize("kind", ["signed", "encrypted"])
def test_what_is_signed_or_encrypted_stays_as_it_came(kind: str) -> None:
    """Its receiver would find it forged; what stands beside it is converted."""
    sealed = (
        f'Content-Type: multipart/{kind}; boundary="s"\r\n\r\n--s\r\n{PLAIN}{GERMAN}\r\n--s\r\n'
        "Content-Type: application/pgp-signature\r\n\r\nxyz\r\n--s--"
    )
    raw = f"{HEAD}{MIXED}--b\r\n{sealed}\r\n--b\r\n{PLAIN}{GERMAN}\r\n--b--\r\n".encode()
    converted = seven_bit(raw)
    assert sealed.encode() in converted
    assert "Content-Transfer-Encoding: 8bit" in fields(converted)
    assert b"Content-Transfer-Encoding: quoted-printable" in converted
    assert leaves(converted) == leaves(raw)


@pytest.mark.parametrize(
    "part",
    [
        "Content-Type: message/partial; id=1\r\n\r\nGrüße",
        "Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; Grüße",
        "Content-Transfer-Encoding: base64\r\n\r\nGrüße",
        "Content-Transfer-Encoding: rot13\r\n\r\nGrüße",
        "Content-Type: multipart/mixed; boundary=a; boundary=c\r\n\r\n--a\r\n\r\nGrüße\r\n--a--",
        "Content-Type: multipart/mixed; boundary=a\r\n\r\nGrüße",
        "X-Name: Grüße\r\n\r\nHello",
    ],
)
def test_what_must_not_be_encoded_or_is_not_understood_stays_as_it_came(part: str) -> None:
    """Guessing would do more harm than eight bits."""
    raw = f"{HEAD}{MIXED}--b\r\n{part}\r\n--b--\r\n".encode()
    assert seven_bit(raw) is raw


@pytest.mark.parametrize(
    ("content", "charset"), [("Grüße", "utf-8"), (b"Gr\xfc\xdfe", "unknown-8bit")]
)
def test_what_says_nothing_of_its_type_gets_one(content: str | bytes, charset: str) -> None:
    """Old programs send eight bits without MIME."""
    octets = content.encode() if isinstance(content, str) else content
    converted = seven_bit(b"From: a@b.example\r\n\r\n" + octets + b" and a longer text\r\n")
    assert leaves(converted) == [("text/plain", octets + b" and a longer text\r\n")]
    assert "MIME-Version: 1.0" in fields(converted)
    assert f"Content-Type: text/plain; charset={charset}" in fields(converted)


def test_a_folded_field_is_replaced_as_a_whole() -> None:
    """And its letter case doesn't matter."""
    raw = f"{HEAD}content-transfer-encoding:\r\n 8bit\r\nX-Last: 1\r\n\r\n{GERMAN}".encode()
    assert fields(seven_bit(raw))[2:4] == [
        "Content-Transfer-Encoding: quoted-printable",
        "X-Last: 1",
    ]


def test_too_many_parts_are_left_alone() -> None:
    """What no mail has costs no time."""
    raw = f"{HEAD}{MIXED}".encode() + "--b\r\n\r\nü\r\n".encode() * 100_000
    with within_cpu_budget(300):
        assert seven_bit(raw) is raw


def test_a_big_message_takes_a_moment() -> None:
    """25 MB."""
    raw = f"{HEAD}{PLAIN}".encode() + GERMAN.encode() * 800_000
    with within_cpu_budget(3000):
        assert seven_bit(raw).isascii()


_PIECES = [
    "--b\r\n",
    "--b--\r\n",
    "ü\r\n",
    "\r\n",
    PLAIN,
    MIXED,
    "Content-Type: message/rfc822\r\n",
]


@given(st.lists(st.sampled_from(_PIECES), max_size=12))
def test_whatever_comes_keeps_its_lines(pieces: list[str]) -> None:
    """No conversion fails, leaves a bare line end, or finds more to do when made again."""
    converted = seven_bit(f"{HEAD}{''.join(pieces)}".encode())
    assert converted.count(b"\r") == converted.count(b"\n") == converted.count(b"\r\n")
    assert seven_bit(converted) is converted or seven_bit(converted) == converted
