"""DKIM's canonical forms: equal to dkimpy's, whatever the body."""

from hashlib import sha256

import pytest
from dkim.canonicalization import Relaxed, Simple
from hypothesis import given
from hypothesis import strategies as st

from filterrelay.mail.edits import AddHeader, ReplaceBody, edit_message
from filterrelay.mail.message import Message
from filterrelay.plugin.testing import a_message, within_cpu_budget
from filterrelay.wire.dkim_canonical import (
    body_digest,
    digest_of_body,
    relaxed_body,
    relaxed_field,
    signed_fields,
)

PIECES = st.sampled_from(
    [b"a", b"word", b" ", b"  ", b"\t", b"\r\n", b"\r\n\r\n", b" \r\n", b"\xe9"]
)
BODIES = st.lists(PIECES, max_size=40).map(b"".join)


@given(BODIES)
def test_relaxed_bodies_are_those_of_dkimpy(body: bytes) -> None:
    """The reference reduces blanks by regular expressions; here replacing does."""
    whole = body + b"\r\n" if body else body
    assert relaxed_body(whole) == Relaxed.canonicalize_body(whole)


@given(BODIES, st.binary(max_size=5))
def test_the_digest_is_that_of_the_canonical_body(body: bytes, before: bytes) -> None:
    """The short cuts for clean bodies end at the same hash; simple is as dkimpy has it."""
    raw, start = before + body, len(before)
    assert body_digest(raw, start, "relaxed") == sha256(relaxed_body(body)).digest()
    simple = Simple.canonicalize_body(body)
    assert body_digest(raw, start, "simple") == sha256(simple).digest()


@pytest.mark.parametrize(
    ("body", "relaxed", "simple"),
    [
        (b"", b"", b"\r\n"),
        (b"\r\n\r\n", b"", b"\r\n"),
        (b" C \r\nD \t E\r\n\r\n\r\n", b" C\r\nD E\r\n", b" C \r\nD \t E\r\n"),
        (b"no line end  ", b"no line end\r\n", b"no line end  \r\n"),
    ],
)
def test_the_forms_of_rfc_6376(body: bytes, relaxed: bytes, simple: bytes) -> None:
    """The example of section 3.4.5, and the ends that sections 3.4.3 and 3.4.4 speak of."""
    assert relaxed_body(body) == relaxed
    assert body_digest(body, 0, "simple") == sha256(simple).digest()


@given(st.sampled_from([b"", b"\r\n", b"A: 1", b"A: 1\r\n", b"A: 1\r\n\r\n"]), BODIES)
def test_a_body_below_new_fields_is_the_same_body(header: bytes, body: bytes) -> None:
    """Its digest is kept when fields are put on top, and is still that of the bytes."""
    message = Message("ID", header + body)
    digest_of_body(message, "relaxed")
    longer = edit_message(message, [AddHeader("X", "1")])
    afresh = body_digest(longer.raw, longer.header_end + 2, "relaxed")
    assert digest_of_body(longer, "relaxed") == afresh


def test_another_body_has_another_digest() -> None:
    """What replaces it is hashed for itself."""
    message = a_message(b"From: a@b.example\n\nold\n")
    digest_of_body(message, "relaxed")
    other = edit_message(message, [AddHeader("X", "1"), ReplaceBody(b"new\r\n")])
    assert digest_of_body(other, "relaxed") == sha256(b"new\r\n").digest()


def test_a_message_without_a_body_has_an_empty_one() -> None:
    """The header section may be all there is."""
    message = a_message(b"From: a@b.example\n")
    start = message.header_end + 2
    assert body_digest(message.raw, start, "relaxed") == sha256(b"").digest()


FIELDS = st.lists(
    st.sampled_from(["a", "B:", " ", "\t", "\r\n ", "\r\n\t", "é", "  "]), max_size=20
).map(lambda pieces: f"SuBject :{''.join(pieces)}\r\n".encode())


@given(FIELDS)
def test_relaxed_fields_are_those_of_dkimpy(raw: bytes) -> None:
    """Name in lower case, unfolded, blanks reduced (RFC 6376 section 3.4.2)."""
    name, _, value = raw.partition(b":")
    ((wanted_name, wanted),) = Relaxed.canonicalize_headers([(name, value)])
    assert relaxed_field(raw) == wanted_name + b":" + wanted


def test_repeated_fields_are_taken_from_the_bottom() -> None:
    """Each mention takes the next one up, and those beyond the last stand for nothing."""
    message = a_message(b"X: first\nX: second\nFrom: a@b.example\n\n")
    signed = signed_fields(message, ["x", "from", "x", "x", "absent"], "relaxed")
    assert signed == b"x:second\r\nfrom:a@b.example\r\nx:first\r\n"


@pytest.mark.parametrize(
    "body",
    [
        b" " * 1_000_000 + b"\r\n",
        b"\r\n" * 500_000,
        b" \r\n" * 300_000,
        b"\t \t x\r\n" * 100_000,
        (b"        <td>\r\n") * 70_000,
    ],
)
def test_no_body_makes_it_slow(body: bytes) -> None:
    """A megabyte of blanks or empty lines is hashed in the time that a megabyte takes."""
    with within_cpu_budget(milliseconds=100):
        body_digest(body, 0, "relaxed")
