"""Message identifiers."""

from datetime import timedelta

from filterrelay.mail.identifier import derived_id, new_id
from filterrelay.plugin.testing import SOME_TIME


def test_identifiers_differ_and_sort_by_time() -> None:
    """No two are the same, and a later one is greater."""
    made = {new_id(SOME_TIME) for _ in range(1000)}
    assert len(made) == 1000
    assert max(made) < new_id(SOME_TIME + timedelta(milliseconds=1))


def test_an_identifier_can_be_read_aloud() -> None:
    """Digits and capitals without I, L, O and U."""
    made = new_id(SOME_TIME)
    assert len(made) == 17
    assert not set(made) & set("ILOU")
    assert made.isalnum()
    assert made.upper() == made


def test_the_same_parts_have_the_same_identifier() -> None:
    """And others another one, also when they are the same octets cut elsewhere."""
    assert derived_id(b"ab", b"c") == derived_id(b"ab", b"c")
    assert len({derived_id(b"ab", b"c"), derived_id(b"a", b"bc"), derived_id(b"abc")}) == 3
    assert len(derived_id()) == 17
