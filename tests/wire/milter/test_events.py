"""A field is put together as the message has it."""

import pytest

from filterrelay.wire.milter import Header


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (b" hello", b"X: hello\r\n"),
        (b"", b"X:\r\n"),
        (b"hello", b"X:hello\r\n"),
        (b"\ttab \t", b"X:\ttab \t\r\n"),
        (b" one\n\ttwo\n  three", b"X: one\r\n\ttwo\r\n  three\r\n"),
        (b"\n first", b"X:\r\n first\r\n"),
        (b" \xff\xfe\r", b"X: \xff\xfe\r\r\n"),
    ],
)
def test_a_field_keeps_each_octet(value: bytes, field: bytes) -> None:
    """Only the line ends differ between what an MTA tells and what it delivers."""
    assert Header(b"X", value).field == field
