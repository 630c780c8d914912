"""Text out of octets, whatever charset the sender names."""

import encodings

import pytest

from filterrelay.mail.parameters import parameter
from filterrelay.mail.words import as_text, decode_words
from filterrelay.plugin.testing import within_cpu_budget


def test_unknown_charsets_leave_nothing_in_memory() -> None:
    """A sender can't fill Python's codec cache with invented names."""
    for number in range(3):
        name = f"nowhere{number}"
        assert as_text(b"x", name) == "x"
        assert decode_words(f"=?{name}?q?x?=") == "x"
        assert parameter(f"attachment; filename*={name}''x", "filename") == "x"
    assert not [name for name in vars(encodings)["_cache"] if name.startswith("nowhere")]


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
    with within_cpu_budget(1000):
        decode_words("=?utf-8?q?x?= " * 50_000)


def test_a_character_cut_off_is_left_out() -> None:
    """When only the beginning is read."""
    assert as_text("Grü".encode()[:-1], "utf-8", final=False) == "Gr"
