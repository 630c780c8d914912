"""Phrases are found as whole words, however they are broken or written."""

import pytest
from filterrelay_plugins.spam.rule import Phrases, listed

from .conftest import Reader


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Verify your account now", True),
        ("please VERIFY\nyour   account!", True),
        ("verify that your account is closed", False),
        ("verifying your accounts", False),
    ],
)
def test_a_phrase_is_its_words_one_after_the_other(reading: Reader, text: str, found: bool) -> None:
    """Case, line ends and punctuation don't hide it; other words between do."""
    assert Phrases("verify your account")(reading(text)) is found


def test_several_different_phrases_may_be_wanted(reading: Reader) -> None:
    """The same phrase twice counts once."""
    phrases = Phrases("free money, act now", wanted=2)
    assert not phrases(reading("Free money! Free money!"))
    assert phrases(reading("Free money! Act now!"))


def test_a_list_is_written_in_lines() -> None:
    """Blanks of any kind divide it."""
    assert listed("a b\n  c") == {"a", "b", "c"}
