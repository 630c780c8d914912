"""Envelopes in a few words."""

from dataclasses import fields, replace

from filterrelay.mail.address import Address
from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.plugin.testing import an_envelope


def test_the_null_sender_is_an_empty_return_path() -> None:
    """A bounce has no address to bounce to."""
    assert an_envelope("").return_path == ""
    assert an_envelope("a@b.example").return_path == "a@b.example"


def test_other_recipients_change_nothing_else() -> None:
    """Whatever an envelope says beside them comes along, what it may say one day included."""
    sender, bob = Address("a", "b.example"), Recipient(Address("bob", "b.example"))
    said = Envelope(sender, (), "8BITMIME", True, True, "FULL", "id", "c@b.example", 5)
    for field in fields(Envelope):
        if field.name not in ("sender", "recipients"):
            assert getattr(said, field.name) != field.default, f"{field.name} is not tried"
    assert said.to([bob]) == replace(said, recipients=(bob,))
