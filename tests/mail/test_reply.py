"""Replies as they go over the wire."""

from filterrelay.mail.reply import Reply


def test_a_reply_has_code_enhanced_code_and_text() -> None:
    """RFC 5321 section 4.2 with RFC 3463's code in front of the text."""
    assert Reply(250, "2.0.0", "OK").encode() == b"250 2.0.0 OK\r\n"


def test_a_reply_of_several_lines_has_hyphens_up_to_the_last() -> None:
    """RFC 5321 section 4.2.1."""
    assert Reply(250, "", "a\nb").encode() == b"250-a\r\n250 b\r\n"


def test_a_reply_knows_whether_trying_again_helps() -> None:
    """4xx is temporary, 5xx is not."""
    assert Reply(451, "4.3.0", "x").is_temporary
    assert Reply(550, "5.7.1", "x").is_permanent
    assert not Reply(250, "", "x").is_permanent
