"""Tokens: what the classifier counts."""

from zlib import crc32

from filterrelay_plugins.spam.reading import MAX_WORDS, read
from filterrelay_plugins.spam.tokens import Tokens, tokens_of
from hypothesis import given
from hypothesis import strategies as st

from filterrelay.plugin import Message

from .conftest import NOW, Reader


def names(tokens: Tokens) -> set[str]:
    """All tokens as a report shows them."""
    return {tokens.name(key) for key in tokens.keys}


def test_words_and_close_pairs_are_tokens(reading: Reader) -> None:
    """A pair may have one word between its two."""
    found = names(tokens_of(reading("click here now"), ()))
    assert {"click", "here", "now", "click here", "here now", "click .. now"} <= found


def test_header_words_are_tokens_of_their_own(reading: Reader) -> None:
    """The same word means something else in the subject, the sender's name or a program's."""
    read_as = reading(
        "http://www.shop.example/\n",
        subject="free money",
        **{"from": "Best Shop <a@shop.example>", "x-mailer": "Bulk 3"},
    )
    found = names(tokens_of(read_as, ["DOLLARS"]))
    assert {"subject:free", "subject:free money", "from:best", "from:shop.example"} <= found
    assert {"from:.example", "program:bulk", "link:www.shop.example", "rule:DOLLARS"} <= found
    assert "part:text/plain " in found


def test_a_pair_is_not_the_word_that_it_would_make(reading: Reader) -> None:
    """`click here` and `clickhere` are counted apart."""
    apart = tokens_of(reading("click here"), ()).keys
    together = tokens_of(reading("clickhere"), ()).keys
    shared = names(tokens_of(reading("nothing"), ()))
    assert {"click here"}.isdisjoint(shared)
    assert len(apart - together) == 3  # two words and the pair
    assert len(together - apart) == 1


def test_the_recipients_own_domain_tells_nothing(reading: Reader) -> None:
    """Whoever forges a sender takes the recipient's domain."""
    found = names(tokens_of(reading(**{"from": "a@office.example", "to": "b@office.example"}), ()))
    assert not any(name.startswith("from:") for name in found)


def test_the_same_mail_has_the_same_keys_in_every_process(reading: Reader) -> None:
    """Keys are stored: they don't hang on a process's hash seed."""
    (key,) = (
        tokens_of(reading(b"From: a@b\r\n\r\nword\r\n"), ()).keys
        - tokens_of(reading(b"From: a@b\r\n\r\n\r\n"), ()).keys
    )
    assert key == crc32(b"word")


@given(st.binary(max_size=3000))
def test_any_bytes_have_a_bounded_number_of_tokens(octets: bytes) -> None:
    """A word, two pairs with it, and some of the header: never more, and each has its name."""
    head = b"Subject: " + octets[:300] + b"\r\nX-Mailer: " + octets[:300] + b"\r\n\r\n"
    tokens = tokens_of(read(Message("", head + octets), NOW), ("RULE",))
    assert len(tokens) <= 3 * (MAX_WORDS + 50) + 120
    assert all(len(name) <= 40 for name in names(tokens))
