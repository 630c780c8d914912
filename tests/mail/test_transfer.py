"""Transfer encodings as mail programs read them."""

import binascii

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterrelay.mail.transfer import KNOWN, decoded, decoded_beginning, uuencoded_names
from filterrelay.plugin.testing import within_cpu_budget


@pytest.mark.parametrize(
    ("body", "content"),
    [
        (b"aGVsbG8gd29ybGQ=\r\n", b"hello world"),
        (b"aGVs*bG8g d29ybGQ=", b"hello world"),
        (b"aGVsbG8gd29ybGQ", b"hello world"),
        (b"!", b""),
        (b"aGVs=bG8gd29ybGQ=", b"hello world"),
        (b"aGU=\r\nbGxv", b"hello"),
    ],
)
def test_base64_is_read_as_mail_programs_read_it(body: bytes, content: bytes) -> None:
    """Foreign characters are left out, padding ends nothing, its lack loses nothing."""
    assert decoded(body, "base64") == content


def test_base64_in_many_runs_costs_little() -> None:
    """Padding behind every letter."""
    with within_cpu_budget(300):
        decoded(b"QQ==" * 1_000_000, "base64")


def uuencoded(name: str, content: bytes) -> bytes:
    """A file as uuencode writes it."""
    lines = [binascii.b2a_uu(content[at : at + 45]) for at in range(0, len(content), 45)]
    return b"".join([b"begin 644 ", name.encode(), b"\n", *lines, b"`\nend\n"]).replace(
        b"\n", b"\r\n"
    )


def test_uuencoded_files_are_decoded_and_named() -> None:
    """One or several, with text around them."""
    encoded = b"See:\r\n" + uuencoded("a.js", b"hello" * 20) + uuencoded("b c.js", b"world")
    assert decoded(encoded, "x-uuencode") == b"hello" * 20 + b"world"
    assert uuencoded_names(encoded, 10) == ["a.js", "b c.js"]
    assert uuencoded_names(uuencoded("a.js", b"x"), 10) == ["a.js"]


def test_what_is_in_no_known_encoding_stays_as_it_is() -> None:
    """Better to look at that than at nothing."""
    assert decoded(b"hello", "rot13") == b"hello"


@given(st.binary(max_size=200), st.sampled_from(sorted(KNOWN)))
def test_no_octets_make_it_fail(encoded: bytes, encoding: str) -> None:
    """Whatever comes is read as something."""
    decoded(encoded, encoding)
    decoded(b"begin 644 a\r\n" + encoded, encoding)
    decoded_beginning(encoded, encoding, 10)
