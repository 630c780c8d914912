"""MIME parts: as mail programs read them, and within limits whatever a sender writes."""

from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterrelay.mail.mime import (
    MAX_DEPTH,
    MAX_LIKENESSES,
    MAX_PARTS,
    Part,
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


def test_lines_like_boundaries_cost_little() -> None:
    """Twenty multiparts in each other, each boundary the beginning of a million other lines."""
    head = b"".join(
        b"Content-Type: multipart/mixed; boundary=%s\r\n\r\n--%s\r\n" % (b"b" * n, b"b" * n)
        for n in range(1, MAX_DEPTH)
    )
    raw = head + b"\r\nx\r\n" + b"--bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n" * 300_000
    with within_cpu_budget(500):
        parts = parse_parts(raw)
    assert parts[-1].broken == "too many lines like a boundary"
    assert len(parts) == 1


def test_ends_of_a_multipart_cost_little() -> None:
    """However many there are."""
    raw = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n" + b"\r\n--b--" * 1_000_000
    with within_cpu_budget(500):
        assert parse_parts(raw)[-1].broken == "too many lines like a boundary"


def test_a_text_full_of_dashes_is_no_likeness() -> None:
    """Comments of SQL begin as no boundary of this message does."""
    body = b"--b\r\n\r\n" + b"-- a comment\r\n" * (MAX_LIKENESSES + 1) + b"--b--\r\n"
    assert only(entity("Content-Type: multipart/mixed; boundary=b", body)).broken == ""


@pytest.mark.parametrize(
    "field",
    [
        "Content-Type: text/plain; name=" + '"' + ";\r\n " * 40_000,
        "Content-Disposition: attachment; filename*=x; filename*0*=y",
        "Content-Disposition: attachment; name*" + "1" * 5000 + "=y",
        "Content-Type: text/plain; " + "a=b; " * 20_000,
        "Content-Type: text/plain; " + "a" * 80_000,
        "Content-Type: text/plain; " + "a (" * 30_000,
        "Content-Type: " + "(" * 80_000,
        "Content-Type: text/plain; name=" + '"\\' * 40_000,
        "Content-Type: text/plain; " + "name*0=a " * 9_000,
    ],
    ids=range(9),
)
def test_no_field_keeps_the_relay_busy_or_makes_it_fail(field: str) -> None:
    """Whatever a sender writes into a Content- field, it is read in no time."""
    with within_cpu_budget(50):
        (part,) = parse_parts(field.encode() + b"\r\n\r\nx\r\n")
    assert part.content == b"x\r\n"


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        *((encoding, b"aGVsbG8=") for encoding in ("base64 (c)", "(c) base64", "base64;")),
        ('"base64"', b"aGVsbG8="),
        ("BASE64\nContent-Transfer-Encoding: base64", b"aGVsbG8="),
        ("x-uuencode", b"begin 644 a.js\r\n%:&5L;&\\\r\n`\r\nend\r\n"),
    ],
)
def test_a_transfer_encoding_is_known_however_it_is_written(encoding: str, body: bytes) -> None:
    """With comments, quotes and what else mail programs overlook."""
    part = only(entity(f"Content-Transfer-Encoding: {encoding}", body))
    assert (part.content, part.broken) == (b"hello", "")


@pytest.mark.parametrize(
    ("head", "broken"),
    [
        ("Content-Transfer-Encoding: rot13", "an unknown transfer encoding"),
        (
            "Content-Transfer-Encoding: 7bit\nContent-Transfer-Encoding: base64",
            "fields that contradict each other",
        ),
        (
            "Content-Type: multipart/mixed; boundary=a; boundary=b",
            "fields that contradict each other",
        ),
        (
            "Content-Type: multipart/mixed; boundary=a; boundary*0=b",
            "fields that contradict each other",
        ),
        ("Content-Type: text/plain; " + "a=b;" * 9000, "a field that is too long"),
    ],
)
def test_what_programs_would_read_differently_is_broken(head: str, broken: str) -> None:
    """A filter can't know which program will."""
    assert parse_parts(entity(head, "aGVsbG8="))[0].broken == broken


def test_a_container_with_a_name_is_told_of() -> None:
    """A mail program may save it under that name."""
    inner = entity("Content-Type: text/plain", "x")
    container, leaf = parse_parts(entity("Content-Type: message/rfc822; name=a.js", inner))
    assert (container.filename, container.content) == ("a.js", b"")
    assert leaf.content == b"x"


@pytest.mark.parametrize(
    "field",
    [
        *("(c) multipart/mixed; boundary=bb", 'multipart/mixed; boundary="bb "'),
        *("multipart (c) / mixed; (c) boundary=bb", "multipart/mixed boundary=bb"),
        *("multipart/mixed; boundary*=us-ascii''%62b", "multipart/mixed; boundary=bb (c)"),
        "multipart/mixed; boundary*0=b; boundary*1=b",
    ],
)
def test_a_multipart_is_one_however_it_is_written(field: str) -> None:
    """Comments, blanks and RFC 2231 hide no part."""
    body = b"--bb\r\n\r\nx\r\n--bb \r\nContent-Type: image/png\r\n\r\ny\r\n--bb--\r\n"
    parts = parse_parts(entity(f"Content-Type: {field}", body))
    assert [(p.content_type, p.content) for p in parts] == [
        ("text/plain", b"x"),
        ("image/png", b"y"),
    ]


def test_parts_of_a_digest_are_messages() -> None:
    """Unless they say otherwise (RFC 2046 section 5.1.5)."""
    inner = b"\r\nContent-Type: image/png; name=a.png\r\n\r\nx\r\n"
    part = only(entity("Content-Type: multipart/digest; boundary=b", b"--b\r\n" + inner + b"--b--"))
    assert (part.content_type, part.filename, part.content) == ("image/png", "a.png", b"x")


def test_a_part_behind_the_end_is_read_on() -> None:
    """Some mail programs don't stop at the closing delimiter either."""
    body = b"--b\r\n\r\nx\r\n--b--\r\n\r\n--b\r\n\r\ny\r\n--b--\r\n"
    parts = parse_parts(entity("Content-Type: multipart/mixed; boundary=b", body))
    assert [p.content for p in parts] == [b"x", b"y"]


def test_parts_of_nested_multiparts_end_with_the_outer_one() -> None:
    """An inner multipart whose end is missing ends where the part that holds it ends."""
    body = (
        b"--a\r\nContent-Type: multipart/mixed; boundary=ab\r\n\r\n--ab\r\n\r\nx"
        b"\r\n--a\r\n\r\ny\r\n--ab\r\n--a--\r\n"
    )
    parts = parse_parts(entity("Content-Type: multipart/mixed; boundary=a", body))
    assert [(p.content, p.depth) for p in parts] == [(b"x", 2), (b"y\r\n--ab", 1)]


@given(st.binary(max_size=400), st.sampled_from(["base64", "quoted-printable", "7bit", ""]))
def test_no_bytes_make_it_fail(body: bytes, encoding: str) -> None:
    """Whatever comes is read as something."""
    head = f"Content-Type: multipart/mixed; boundary=a\nContent-Transfer-Encoding: {encoding}"
    for raw in (body, entity(head, b"--a\r\n" + body), entity(head, body)):
        for part in parse_parts(raw):
            assert len(part.text) <= len(raw)
            assert len(part.beginning(100)) <= 151
