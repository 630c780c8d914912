"""MIME parts: as mail programs read them, and within limits whatever a sender writes."""

import encodings
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterrelay.mail.mime import (
    MAX_DEPTH,
    MAX_PARTS,
    Part,
    decode_words,
    parameter,
    parse_parts,
)
from filterrelay.plugin.testing import within_cpu_budget


def entity(head: str, body: bytes | str) -> bytes:
    """A message's bytes from header lines and a body."""
    octets = body.encode() if isinstance(body, str) else body
    return head.strip().replace("\n", "\r\n").encode() + b"\r\n\r\n" + octets


def only(raw: bytes) -> Part:
    """The message's only part."""
    (part,) = parse_parts(raw)
    return part


def test_a_message_without_mime_is_one_plain_part() -> None:
    """RFC 2045 section 5.2: plain text in US-ASCII when nothing is said."""
    part = only(entity("Subject: Hi", "Hello.\r\n"))
    assert (part.content_type, part.text, part.depth) == ("text/plain", "Hello.\r\n", 0)


def test_parts_come_in_order_with_names_and_contents() -> None:
    """What another MIME library writes is read back whole."""
    message = EmailMessage()
    message.set_content("Grüße\n")
    message.add_alternative("<p>Grüße</p>\n", subtype="html")
    message.add_attachment(b"\x00\x01", maintype="application", subtype="zip", filename="ä b.zip")
    parts = parse_parts(message.as_bytes().replace(b"\n", b"\r\n"))
    assert [p.content_type for p in parts] == ["text/plain", "text/html", "application/zip"]
    assert [p.text.strip() for p in parts[:2]] == ["Grüße", "<p>Grüße</p>"]
    assert (parts[2].filename, parts[2].disposition) == ("ä b.zip", "attachment")
    assert parts[2].content == b"\x00\x01"
    assert [p.is_text for p in parts] == [True, True, False]


def test_an_attached_message_is_opened() -> None:
    """What a forwarded message holds is seen by the filters."""
    inner = entity("Content-Type: text/html", "<b>x</b>")
    part = only(entity("Content-Type: message/rfc822", inner))
    assert (part.content_type, part.content, part.depth) == ("text/html", b"<b>x</b>", 1)


@pytest.mark.parametrize(
    ("body", "content"),
    [
        (b"aGVsbG8gd29ybGQ=\r\n", b"hello world"),
        (b"aGVs*bG8g d29ybGQ=", b"hello world"),
        (b"aGVsbG8gd29ybGQ", b"hello wor"),
        (b"!", b""),
    ],
)
def test_base64_is_read_as_mail_programs_read_it(body: bytes, content: bytes) -> None:
    """Foreign characters are left out, and what is cut off is lost, no more."""
    assert only(entity("Content-Transfer-Encoding: base64", body)).content == content


def test_quoted_printable_is_decoded() -> None:
    """RFC 2045 section 6.7."""
    part = only(entity("Content-Transfer-Encoding: Quoted-Printable", "a=\r\nb=3D"))
    assert part.content == b"ab="


@pytest.mark.parametrize("encoding", ["7bit", "base64", "quoted-printable"])
def test_the_beginning_is_the_beginning_of_the_text(encoding: str) -> None:
    """A filter that reads some kilobytes doesn't wait for the decoding of megabytes."""
    message = EmailMessage()
    message.set_content("Grüße an alle. " * 20_000, cte=encoding if encoding != "7bit" else "8bit")
    part = only(message.as_bytes().replace(b"\n", b"\r\n"))
    with within_cpu_budget(50):
        beginning = part.beginning(5001)
    assert 2000 <= len(beginning) <= 5001
    assert part.text.startswith(beginning)


def test_the_beginning_of_a_short_text_is_all_of_it() -> None:
    """Nothing is lost where there is nothing to cut."""
    head = 'Content-Type: text/plain; charset="ISO-8859-1"\nContent-Transfer-Encoding: base64'
    assert only(entity(head, "R3L832U=")).beginning(1000) == "Grüße"


def test_an_unknown_charset_is_guessed() -> None:
    """UTF-8 if it can be, else Latin-1, which always can."""
    head = "Content-Type: text/plain; charset=x-nowhere"
    assert only(entity(head, "Grüße".encode())).text == "Grüße"
    assert only(entity(head, "Grüße".encode("latin-1"))).text == "Grüße"


@pytest.mark.parametrize("charset", ["rot13", "zlib", "punycode", "idna", "unicode_escape", "x\0y"])
def test_what_is_no_charset_is_never_decoded_as_one(charset: str) -> None:
    """Some of Python's codecs aren't charsets, and some take quadratic time."""
    part = only(entity(f"Content-Type: text/plain; charset={charset}", b"a" * 300_000 + b"-a"))
    with within_cpu_budget(100):
        assert part.text == "a" * 300_000 + "-a"


def test_unknown_charsets_leave_nothing_in_memory() -> None:
    """A sender can't fill Python's codec cache with invented names."""
    for number in range(3):
        name = f"nowhere{number}"
        assert only(entity(f"Content-Type: text/plain; charset={name}", "x")).text == "x"
        assert decode_words(f"=?{name}?q?x?=") == "x"
        assert parameter(f"attachment; filename*={name}''x", "filename") == "x"
    assert not [name for name in vars(encodings)["_cache"] if name.startswith("nowhere")]


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ('attachment; filename="a;b \\"c\\".txt"', 'a;b "c".txt'),
        ("attachment; FileName=plain.txt", "plain.txt"),
        ("attachment; filename*=UTF-8''%e2%82%ac.pdf", "€.pdf"),
        ('attachment; filename*0="long "; filename*1="name.doc"', "long name.doc"),
        ('attachment; filename="=?utf-8?q?=C3=A4?=.exe"', "ä.exe"),
        ("attachment", ""),
    ],
)
def test_file_names_are_read_in_all_their_ways(value: str, name: str) -> None:
    """RFC 2231, RFC 2047 where it is wrong but usual, and plain."""
    assert parameter(value, "filename") == name


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("=?utf-8?B?R3LDvMOfZQ==?=", "Grüße"),
        ("a =?iso-8859-1?q?=FC?= =?iso-8859-1?q?b?= c", "a üb c"),
        ("plain", "plain"),
        ("=?broken", "=?broken"),
    ],
)
def test_encoded_words_are_decoded(value: str, text: str) -> None:
    """RFC 2047; what is none stays as it is."""
    assert decode_words(value) == text


def test_a_field_full_of_encoded_words_costs_little() -> None:
    """Only its beginning is decoded."""
    with within_cpu_budget(200):
        decode_words("=?utf-8?q?x?= " * 50_000)


def test_deep_nesting_ends_at_the_limit() -> None:
    """A message nested a thousand deep is a leaf that says so."""
    head, tail = b"", b""
    for depth in range(1000):
        head += b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (depth, depth)
        tail = b"\r\n--b%d--\r\n" % depth + tail
    (part,) = parse_parts(head + b"\r\nx" + tail)
    assert (part.broken, part.depth) == ("nested too deeply", MAX_DEPTH)


def test_many_parts_end_at_the_limit() -> None:
    """The rest of too many parts is one leaf that says so."""
    body = b"--b\r\n\r\nx\r\n" * 5000 + b"--b--\r\n"
    with within_cpu_budget(500):
        parts = parse_parts(entity("Content-Type: multipart/mixed; boundary=b", body))
    assert len(parts) == MAX_PARTS + 1
    assert parts[-1].broken == "too many parts"


def test_a_multipart_without_parts_is_a_leaf() -> None:
    """Its bytes are still there to be looked at."""
    part = only(entity("Content-Type: multipart/mixed; boundary=b", "no boundary here"))
    assert (part.broken, part.content) == ("multipart without parts", b"no boundary here")


@given(st.binary(max_size=400), st.sampled_from(["base64", "quoted-printable", "7bit", ""]))
def test_no_bytes_make_it_fail(body: bytes, encoding: str) -> None:
    """Whatever comes is read as something."""
    head = f"Content-Type: multipart/mixed; boundary=a\nContent-Transfer-Encoding: {encoding}"
    for raw in (body, entity(head, b"--a\r\n" + body), entity(head, body)):
        for part in parse_parts(raw):
            assert len(part.text) <= len(raw)
            assert len(part.beginning(100)) <= 151
