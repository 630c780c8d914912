"""Routes that lead to no upstream."""

import pytest

from filterrelay.mail.reply import Reply
from filterrelay.settings import RouteRule
from filterrelay.settings.routes import refusal_of


def test_a_closed_route_says_what_the_file_says() -> None:
    """Or something of our own."""
    closed = RouteRule(upstream="reject", reply="550 5.1.1 This mailbox is closed")
    assert refusal_of(closed) == Reply(550, "5.1.1", "This mailbox is closed")
    assert refusal_of(RouteRule(upstream="reject")).code == 550
    assert refusal_of(None).enhanced == "5.7.1"


@pytest.mark.parametrize("text", ["go away", "450 4.1.1 later", "550 4.1.1 x", "550 5.1.1 a\r\nb"])
def test_what_is_no_refusal_is_refused(text: str) -> None:
    """Before it is served."""
    with pytest.raises(ValueError, match="is no refusal"):
        refusal_of(RouteRule(upstream="reject", reply=text))
