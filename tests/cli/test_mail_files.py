"""Stored mail is read as people keep it."""

import mailbox
from pathlib import Path

import pytest
import typer

from filterrelay.cli import mail_files as mail_files_module
from filterrelay.cli.mail_files import is_message, mail_files, must_be_files, stored_messages
from filterrelay.mail.message import Message

FIRST = b"Subject: one\n\nHello\n"
SECOND = b"Subject: two\n\nFrom here on it is text.\n"


def subjects(*paths: Path) -> list[str]:
    """The subjects of all messages found there."""
    return [stored.message.get("subject") for stored in stored_messages(mail_files(paths))]


def test_single_messages_and_folders_of_them(tmp_path: Path) -> None:
    """Hidden files are left alone."""
    (tmp_path / "one.eml").write_bytes(FIRST)
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "two.eml").write_bytes(SECOND)
    (tmp_path / ".notes").write_bytes(b"Subject: no\n\n")
    assert sorted(subjects(tmp_path)) == ["one", "two"]
    assert subjects(tmp_path / "one.eml") == ["one"]


def test_an_mbox_as_python_writes_it(tmp_path: Path) -> None:
    """A line that begins with From in a text begins no message."""
    box = mailbox.mbox(tmp_path / "mbox")
    for content in (FIRST, SECOND):
        box.add(content)
    box.flush()
    box.close()
    assert subjects(tmp_path / "mbox") == ["one", "two"]


def test_a_maildir_as_python_writes_it(tmp_path: Path) -> None:
    """New and read mail, and nothing else."""
    box = mailbox.Maildir(tmp_path / "Maildir")
    for content in (FIRST, SECOND):
        box.add(content)
    (tmp_path / "Maildir" / "tmp" / "unfinished").write_bytes(b"Subject: no\n\n")
    box.close()
    assert sorted(subjects(tmp_path / "Maildir")) == ["one", "two"]


def test_empty_files_hold_no_message(tmp_path: Path) -> None:
    """Nothing is learned from nothing."""
    (tmp_path / "empty.eml").write_bytes(b"\n")
    assert subjects(tmp_path) == []


def test_the_octets_read_add_up_to_the_files(tmp_path: Path) -> None:
    """So that a progress bar ends where it should."""
    (tmp_path / "one.eml").write_bytes(FIRST)
    assert sum(stored.octets for stored in stored_messages(mail_files([tmp_path]))) == len(FIRST)


def test_an_mbox_without_its_last_line_end_and_with_crlf(tmp_path: Path) -> None:
    """However the mailbox came here."""
    line = b"From a@b.example Mon Jun 24 17:03:35 2002\r\n"
    crlf = [content.replace(b"\n", b"\r\n") for content in (FIRST, SECOND)]
    (tmp_path / "mbox").write_bytes(line + crlf[0] + b"\r\n" + line + crlf[1][:-2])
    messages = [stored.message for stored in stored_messages(mail_files([tmp_path / "mbox"]))]
    assert [m.get("subject") for m in messages] == ["one", "two"]
    assert messages[1].raw == crlf[1][:-2]


def test_a_huge_message_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mailbox of gigabytes takes no gigabytes of memory."""
    monkeypatch.setattr(mail_files_module, "MAX_MESSAGE", 1000)
    (tmp_path / "huge.eml").write_bytes(b"Subject: huge\n\n" + b"x\n" * 100_000)
    (stored,) = stored_messages(mail_files([tmp_path]))
    assert len(stored.message.raw) <= 2000


@pytest.mark.parametrize(
    ("content", "is_one"),
    [
        (b"Subject: x\r\n\r\nHello\r\n", True),
        (b"From: a@b.example\r\n", True),
        (b"relay.office.example\r\n", False),
        (b"root:x:0:0:root:/root:/bin/bash\r\n", False),
        (b"\r\nSubject: x\r\n", False),
    ],
)
def test_a_message_is_known_by_its_header(content: bytes, is_one: bool) -> None:
    """Nobody wants to learn from a file that went astray among the mail."""
    assert is_message(Message("ID", content)) is is_one


@pytest.mark.parametrize(("name", "why"), [("missing", "there is no file"), (".", "is a folder")])
def test_what_can_be_no_message_is_wrong_usage(tmp_path: Path, name: str, why: str) -> None:
    """A hyphen is standard input, though no such file is there."""
    with pytest.raises(typer.BadParameter, match=why):
        must_be_files([Path("-"), tmp_path / name])
