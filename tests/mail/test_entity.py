"""Header sections of MIME parts, in order or not."""

import pytest

from filterrelay.mail.entity import NO_EMPTY_LINE, NO_FIELD, read_entity
from filterrelay.plugin.testing import within_cpu_budget


def test_a_section_ends_at_the_empty_line() -> None:
    """And folded fields are whole."""
    raw = b"X: y\r\nContent-Type: text/html;\r\n\tcharset=x\r\n\r\nContent-Type: a/b\r\n\r\n"
    read = read_entity(raw, 0)
    assert (read.content_type, read.charset, read.fault) == ("text/html", "x", "")
    assert raw[read.body :].startswith(b"Content-Type: a/b")


def test_a_section_ends_before_a_line_that_is_no_field() -> None:
    """Mail programs decode base64 that follows the fields at once."""
    raw = b"Content-Transfer-Encoding: base64\r\nTVqQAAMAAAA\r\n\r\nmore"
    read = read_entity(raw, 0)
    assert (read.encoding, read.fault) == ("base64", NO_EMPTY_LINE)
    assert raw[read.body :].startswith(b"TVqQ")


def test_a_damaged_line_amid_a_section_hides_no_field() -> None:
    """Other programs skip it and read on."""
    raw = b"Subject: x\r\nnonsense\r\nContent-Type: a/b\r\n\r\nbody"
    read = read_entity(raw, 0)
    assert (read.content_type, read.fault) == ("a/b", NO_FIELD)
    assert raw[read.body :] == b"body"


@pytest.mark.parametrize("line", [b"From alice Fri Jan  2 03:04:05 2026", b">From alice"])
def test_the_line_of_a_mailbox_file_is_overlooked(line: bytes) -> None:
    """Stored mail begins with it."""
    read = read_entity(line + b"\r\nContent-Type: a/b\r\n\r\nbody", 0)
    assert (read.content_type, read.fault) == ("a/b", "")


def test_a_text_without_a_header_is_no_fault() -> None:
    """Printers and scripts send such, and it is plain text to everybody."""
    assert read_entity(b"Subject: x\r\nPaper is out.\r\n\r\nSee to it.\r\n", 0).fault == ""


def test_a_header_cut_off_in_a_line_is_no_fault() -> None:
    """Bounces return such."""
    raw = b"--b\r\nContent-Type: a/b\r\nX-Trace\r\n--b--\r\n"
    assert read_entity(raw, 5).fault == ""


def test_a_field_given_very_often_is_a_contradiction() -> None:
    """Only its beginnings are read."""
    with within_cpu_budget(300):
        read = read_entity(b"Content-Type: a/b; name=x\r\n" * 100_000 + b"\r\n", 0)
        assert (read.fault, read.names) == ("fields that contradict each other", ("x",))


@pytest.mark.parametrize("raw", [b"", b"\r\n", b"Content-Type: a/b", b"Content-Type: a/b\r\n--x"])
def test_a_section_without_a_body_is_no_fault(raw: bytes) -> None:
    """There may be nothing to say."""
    assert read_entity(raw, 0).fault == ""


def test_all_names_of_a_part_are_found() -> None:
    """Of both fields, and of fields that are there twice."""
    raw = (
        b"Content-Type: a/b; name=1.js\r\nContent-Disposition: attachment; filename=2.js\r\n"
        b"Content-Disposition: attachment; filename=3.js; filename=4.js\r\n\r\n"
    )
    assert read_entity(raw, 0).names == ("2.js", "3.js", "4.js", "1.js")


def test_a_long_header_costs_little() -> None:
    """A megabyte of fields, lines or letters: what goes over it anew each time takes minutes."""
    for line in (b"X: y\r\n", b" y\r\n", b"X: \r", b"X", b"X:"):
        with within_cpu_budget(1000):
            read_entity(b"A: b\r\n" + line * (1_000_000 // len(line)), 0)
