"""Envelopes in a few words."""

from filterrelay.plugin.testing import an_envelope


def test_the_null_sender_is_an_empty_return_path() -> None:
    """A bounce has no address to bounce to."""
    assert an_envelope("").return_path == ""
    assert an_envelope("a@b.example").return_path == "a@b.example"
