"""What strangers wrote can be shown."""

import pytest

from filterrelay.mail.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("Grüße, мир", "Grüße, мир"),
        ("\x1b[2Jgone", "?[2Jgone"),
        ("a\r\nb\x00\x7f\x9b", "a?\nb???"),
        ("\u202etxt.exe\udcff", "?txt.exe?"),
    ],
)
def test_what_a_terminal_would_obey_is_taken_out(text: str, shown: str) -> None:
    """Control characters of both sets, those that turn text around, and halves of characters."""
    assert printable(text, "?", keep="\n") == shown
    assert printable(text).isprintable()
