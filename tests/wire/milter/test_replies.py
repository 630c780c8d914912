"""Replies as the MTA reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterrelay.mail.reply import Reply
from filterrelay.wire.milter import (
    ACCEPT,
    CONN_FAIL,
    CONTINUE,
    DISCARD,
    PROGRESS,
    REJECT,
    SHUTDOWN,
    SKIP,
    TEMPFAIL,
    Unsendable,
    reply,
)

from .mta import packets


def test_verdicts_are_a_letter() -> None:
    """SMFIR_*, nothing behind it: Postfix takes more for an error."""
    verdicts = (ACCEPT, CONTINUE, DISCARD, CONN_FAIL, PROGRESS, REJECT, SKIP, TEMPFAIL, SHUTDOWN)
    assert packets(b"".join(verdicts)) == [(letter, b"") for letter in "acdfprst4"]


@pytest.mark.parametrize(
    ("smtp", "sent"),
    [
        (b"550 5.7.1 No\r\n", b"550 5.7.1 No\0"),
        (b"451 4.7.1 Later", b"451 4.7.1 Later\0"),
        (b"550-5.7.1 a\r\n550 5.7.1 b\r\n", b"550-5.7.1 a\r\n550 5.7.1 b\0"),
        (b"550 5.7.1 100% %s %%\r\n", b"550 5.7.1 100%% %%s %%%%\0"),
        (b"550 5.7.1\r\n", b"550 5.7.1\0"),
        (b"550 No\r\n", b"550 5.0.0 No\0"),
        (b"450 5.7.1 is of the other class", b"450 4.0.0 5.7.1 is of the other class\0"),
        (b"550 5.7.1x\r\n", b"550 5.0.0 5.7.1x\0"),
        (b"550-5 things\r\n550 5.1.1 b", b"550-5.0.0 5 things\r\n550 5.1.1 b\0"),
        ("554 5.7.1 Nö\r\n".encode(), "554 5.7.1 Nö\0".encode()),
    ],
)
def test_a_reply_of_its_own_is_what_the_client_hears(smtp: bytes, sent: bytes) -> None:
    """Enhanced codes of the reply's class in each line, and percent signs twice."""
    assert packets(reply(smtp)) == [("y", sent)]


@pytest.mark.parametrize(
    "smtp",
    [
        b"",
        b"\r\n",
        b"250 2.0.0 OK\r\n",
        b"354 go\r\n",
        b"55 5.7.1 No\r\n",
        b"550",
        b"550-5.7.1 more comes\r\n",
        b"550 5.7.1 a\r\n550 5.7.1 b\r\n",
        b"550-5.7.1 a\r\n450 4.7.1 b\r\n",
        b"550-5.7.1 a\r\n551 5.7.1 b\r\n",
        b"550 5.7.1 a\nb\r\n",
        b"550 5.7.1 a\rb\r\n",
        b"550 5.7.1 a\0b\r\n",
        b"550 5.7.1 a\r\n\r\n",
    ],
)
def test_what_is_no_refusal_cannot_be_said(smtp: bytes) -> None:
    """Postfix would take the filter for broken, Sendmail make something of it."""
    with pytest.raises(Unsendable):
        reply(smtp)


@given(st.sampled_from([450, 550]), st.sampled_from(["", "x.7.1"]), st.text(max_size=600))
def test_any_reply_of_the_house_can_be_said(code: int, enhanced: str, text: str) -> None:
    """However long, of whatever characters; the client gets it back."""
    said = Reply(code, enhanced.replace("x", str(code)[0]), text).encode()
    ((letter, payload),) = packets(reply(said))
    assert (letter, payload[-1:]) == ("y", b"\0")
    lines = payload[:-1].replace(b"%%", b"%").split(b"\r\n")
    if enhanced:
        assert b"\r\n".join(lines) + b"\r\n" == said
    assert all(line[4:9].startswith(b"%d." % (code // 100)) for line in lines)
