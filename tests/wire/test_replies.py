"""Replies cut out of a stream of bytes."""

import pytest

from filterrelay.mail.reply import Reply
from filterrelay.wire.replies import MAX_TEXT, BadReply, ReplyReader, reply_of

STREAM = b"250-2.1.0 Sender\r\n250 2.1.0 Ok\r\n550 5.1.1 Unknown\r\n354 Go on\r\n250\r\n"
REPLIES = [
    Reply(250, "2.1.0", "Sender\nOk"),
    Reply(550, "5.1.1", "Unknown"),
    Reply(354, "", "Go on"),
    Reply(250, "", ""),
]


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
def test_replies_survive_any_cut(cut: int) -> None:
    """They may arrive in any two pieces."""
    reader = ReplyReader()
    assert reader.feed(STREAM[:cut]) + reader.feed(STREAM[cut:]) == REPLIES


@pytest.mark.parametrize(
    "noise",
    [b"HTTP/1.1 400\r\n", b"\r\n", b"25\r\n", b"250_Ok\r\n", b"999 Ok\r\n", b"250-a\r\n550 b\r\n"],
)
def test_what_is_no_reply_is_refused(noise: bytes) -> None:
    """Rather than guessed at."""
    with pytest.raises(BadReply):
        ReplyReader().feed(noise)


@pytest.mark.parametrize("endless", [b"2" * 5000, (b"250-" + b"x" * 500 + b"\r\n") * 200])
def test_an_endless_reply_is_refused(endless: bytes) -> None:
    """Whether it is one line or many."""
    with pytest.raises(BadReply):
        ReplyReader().feed(endless)


def test_an_enhanced_code_of_another_class_is_text() -> None:
    """RFC 2034 section 4: it must agree with the reply's first digit."""
    assert reply_of(250, "5.1.1 odd") == Reply(250, "", "5.1.1 odd")


@pytest.mark.parametrize(
    "said", ["5.1.1 No", "#5.1.1 No", "[5.1.1] No", "(5.1.1) No", "5.1.1: No", "5.1.1\tNo"]
)
def test_an_enhanced_code_is_found_in_the_forms_that_servers_write(said: str) -> None:
    """Only the first is RFC 2034's."""
    assert reply_of(550, said) == Reply(550, "5.1.1", "No")


@pytest.mark.parametrize("said", ["5.1.1No", "5.1 No", "5.1.1.1 No", "05.1.1 No", "5.1.1234 No"])
def test_what_only_looks_like_an_enhanced_code_is_text(said: str) -> None:
    """Such as an address."""
    assert reply_of(550, said) == Reply(550, "", said)


def test_an_enhanced_code_in_every_line_is_one() -> None:
    """As RFC 2034 section 4 wants them."""
    (reply,) = ReplyReader().feed(b"550-5.1.1 No such\r\n550 5.1.1 user\r\n")
    assert reply == Reply(550, "5.1.1", "No such\nuser")


def test_control_characters_reach_no_log() -> None:
    """A far side can't forge lines in our log, nor colour the terminal."""
    (reply,) = ReplyReader().feed(b"550 5.7.1 \x1b[31mred\x07\xff\r\n")
    assert reply.text == " [31mred \ufffd"


def test_of_a_long_reply_the_beginning_is_kept() -> None:
    """It is written down for each of a hundred recipients, after each attempt."""
    lines = b"".join(b"550-5.7.1 " + b"x" * 900 + b"\r\n" for _ in range(30))
    (reply,) = ReplyReader().feed(lines + b"550 5.7.1 No\r\n")
    assert reply.enhanced == "5.7.1"
    assert len(reply.text) == MAX_TEXT
