"""Parameters of header values: all that mail programs would read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterrelay.mail.parameters import (
    MAX_PARAMETERS,
    first_word,
    media_type,
    parameter,
    parameters,
    token_of,
    values_of,
)


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
    ("value", "name"),
    [
        ("attachment; filename=my doc.js", "my doc.js"),
        ("attachment; filename=a.js(c)", "a.js"),
        ("attachment; filename=a.txt; filename*=utf-8''a.js", "a.js"),
        ("attachment; filename=a.txt; filename=a.js", "a.js"),
        ("attachment filename=a.js", "a.js"),
        ("attachment; (c) filename=a.js", "a.js"),
        ("attachment; filename (c) = (c) a.js", "a.js"),
        ('attachment; filename="a.js; x=y', "a.js"),
        ('attachment; filename="a.txt; b.js', "a.txt; b.js"),
        ('attachment; filename="a.txt".js', "a.txt.js"),
        ('attachment; a="b"filename="a.js"', "a.js"),
        ("attachment; filename*0=a.js; filename*2=.txt", "a.js"),
        ("attachment; filename*0=a; filename*1=.txt; filename*1=.js", "a.js"),
        ("attachment; filename*=a.js", "a.js"),
        ("attachment; filename*0*=''a%2Ejs", "a.js"),
        ("attachment; filename*" + "9" * 5000 + "=a.js", "a.js"),
        ("attachment; filename=\xc3\xa4.js", "ä.js"),
    ],
)
def test_all_names_that_a_program_may_read_are_found(value: str, name: str) -> None:
    """Whatever is wrong with how the name is written."""
    assert name in values_of(parameters(value), "filename")


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        *(("Text/HTML; charset=x", "text/html"), ("(a (b/c)) text/html", "text/html")),
        *(("text / html", "text/html"), ("text/html charset=x", "text/html")),
        *(("", "text/plain"), ("nonsense", "text/plain")),
    ],
)
def test_a_media_type_is_read(value: str, kind: str) -> None:
    """Comments and blanks left out; plain text when there is none."""
    assert media_type(value) == kind


@pytest.mark.parametrize("value", ["base64", " Base64 (c)", "(c) base64", "base64;", '"base64"'])
def test_a_first_word_is_read(value: str) -> None:
    """Without what programs overlook around it."""
    assert first_word(value) == "base64"


def test_a_token_ends_at_a_blank() -> None:
    """A comment behind a charset is no part of it."""
    assert token_of(parameters("text/plain; charset=us-ascii (plain)"), "charset") == "us-ascii"


def test_parameters_end_at_the_limit() -> None:
    """Nobody needs that many."""
    assert len(parameters("x; " + "a=b; " * 1000)) == MAX_PARAMETERS


@given(st.text(st.sampled_from(" ;=*'\"()\\%,a0x?"), max_size=60))
def test_no_value_makes_it_fail(rest: str) -> None:
    """Whatever is there is read as something."""
    for value in (f"a; filename={rest}", f"a; filename*0*={rest}", f"a; filename*={rest}"):
        values_of(parameters(value), "filename")
        media_type(value)
