"""What the door says keeps the form of RFC 5321 and RFC 2034."""

import pytest

from filterrelay.doors import replies
from filterrelay.mail.reply import Reply

ALL = {name: value for name, value in vars(replies).items() if isinstance(value, Reply)}


@pytest.mark.parametrize("name", sorted(ALL))
def test_each_reply_has_its_form(name: str) -> None:
    """An enhanced code of the same class, one printable line, none longer than 512 octets."""
    reply = ALL[name]
    if reply.code not in (334, 354):
        assert reply.enhanced.startswith(f"{reply.code // 100}.")
        assert len(reply.enhanced.split(".")) == 3
    assert reply.text.isprintable()
    assert len(reply.encode()) <= 512


def test_421_is_said_only_at_the_end() -> None:
    """RFC 5321 section 3.8: after 421 the connection closes, and the texts say so."""
    for reply in (r for r in ALL.values() if r.code == 421):
        assert any(word in reply.text for word in ("closing", "try again", "reconnect", "close"))
