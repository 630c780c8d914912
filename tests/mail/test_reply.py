"""Replies as they go over the wire."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterrelay.mail.reply import MAX_LINE, MAX_LINES, Reply


def test_a_reply_has_code_enhanced_code_and_text() -> None:
    """RFC 5321 section 4.2 with RFC 3463's code in front of the text."""
    assert Reply(250, "2.0.0", "OK").encode() == b"250 2.0.0 OK\r\n"


def test_a_reply_of_several_lines_has_hyphens_up_to_the_last() -> None:
    """RFC 5321 section 4.2.1."""
    assert Reply(250, "", "a\nb").encode() == b"250-a\r\n250 b\r\n"


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_any_line_end_in_a_text_begins_another_line(end: str) -> None:
    """A lone CR never goes out: a client could take it for the end of the reply."""
    reply = Reply(550, "5.7.1", f"No{end}250 OK")
    assert reply.encode() == b"550-5.7.1 No\r\n550 5.7.1 250 OK\r\n"
    assert str(reply) == "550 5.7.1 No / 250 OK"


def test_what_commands_a_terminal_becomes_a_blank() -> None:
    """The reply is read by people, in a log and in a bounce."""
    assert Reply(550, "5.7.1", "a\0b\x1b[31m").encode() == b"550 5.7.1 a b [31m\r\n"
    assert str(Reply(550, "", "a\x1bb")) == "550 a b"


def test_a_long_text_becomes_several_lines() -> None:
    """A reply line has 512 octets at most (RFC 5321 section 4.5.3.1.5), and no word is cut."""
    text = "refused " * 700 + "[ID7]"
    lines = Reply(550, "5.7.1", text).encode().split(b"\r\n")[:-1]
    assert max(map(len, lines)) <= MAX_LINE - 2
    assert {line[:10] for line in lines[:-1]} == {b"550-5.7.1 "}
    assert b" ".join(line[10:] for line in lines).decode() == text


def test_a_text_without_end_is_cut_before_its_last_line() -> None:
    """A client hears a bounded reply, and still the ID at its end."""
    lines = Reply(550, "5.7.1", "x" * 1_000_000 + " [ID7]").encode().split(b"\r\n")[:-1]
    assert len(lines) == MAX_LINES
    assert lines[-1].startswith(b"550 5.7.1 ")
    assert lines[-1].endswith(b"[ID7]")


@given(st.text(st.sampled_from(["a", " ", "é", "€", "\n", "\r", "\ud800", "😀"]), max_size=2000))
def test_any_text_is_a_reply(text: str) -> None:
    """Whole characters, whole line ends, lines of the allowed length."""
    sent = Reply(550, "5.7.1", text).encode()
    *lines, rest = sent.split(b"\r\n")
    assert rest == b""
    assert all(len(line) <= MAX_LINE - 2 and line.decode().isprintable() for line in lines)
    assert all(line.startswith(b"550-5.7.1 ") for line in lines[:-1])
    assert lines[-1].startswith(b"550 5.7.1 ")


def test_a_reply_knows_whether_trying_again_helps() -> None:
    """4xx is temporary, 5xx is not."""
    assert Reply(451, "4.3.0", "x").is_temporary
    assert Reply(550, "5.7.1", "x").is_permanent
    assert not Reply(250, "", "x").is_permanent
