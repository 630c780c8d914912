"""`filterrelay learn` trains the filters that learn."""

import mailbox
from pathlib import Path

import pytest

from .conftest import Run


@pytest.fixture
def mail(configuration: Path) -> Path:
    """A folder of messages, and a configuration with the spam filter."""
    text = configuration.read_text()
    configuration.write_text(f'{text}[[filter]]\nuse = "spam"\n')
    folder = configuration.parent / "mail"
    folder.mkdir()
    for number in range(120):
        content = f"Message-ID: <{number}@x.example>\nSubject: cheap pills {number}\n\nBuy pills\n"
        (folder / f"{number}.eml").write_text(content)
    return folder


@pytest.mark.usefixtures("mail")
def test_messages_are_learned_once_and_can_be_moved(filterrelay: Run) -> None:
    """The command says what became of them."""
    first = filterrelay("learn", "spam", "mail", "--json")
    assert first.code == 0, first.err
    assert first.json["spam"]["learned"] == 120
    assert filterrelay("learn", "spam", "mail", "--json").json["spam"]["known"] == 120
    moved = filterrelay("learn", "ham", "mail", "--json").json["spam"]
    assert (moved["moved"], moved["ham"]) == (120, 120)


@pytest.mark.usefixtures("mail")
def test_a_person_reads_what_was_learned(filterrelay: Run) -> None:
    """And how much is known now."""
    ran = filterrelay("learn", "spam", "mail/1.eml")
    assert ran.code == 0, ran.err
    assert "learned 1 message as spam; knows 1 spam message and 0 ham messages now" in ran.out


def test_without_a_filter_that_learns_it_says_so(configuration: Path, filterrelay: Run) -> None:
    """Exit code 1, and which section is missing."""
    (configuration.parent / "one.eml").write_text("Subject: x\n\ny\n")
    ran = filterrelay("learn", "spam", "one.eml")
    assert ran.code == 1
    assert "[[filter]]" in ran.err


def test_a_missing_file_is_wrong_usage(configuration: Path, filterrelay: Run) -> None:
    """Exit code 2."""
    assert filterrelay("learn", "spam", "nowhere").code == 2


@pytest.mark.usefixtures("mail")
def test_mailboxes_of_every_kind_are_learned(filterrelay: Run, tmp_path: Path) -> None:
    """An mbox, a Maildir and a single message in one go."""
    box = mailbox.mbox(tmp_path / "mbox")
    box.add(b"Subject: one\n\nHello\n")
    box.add(b"Subject: two\n\nHello\n")
    box.close()
    maildir = mailbox.Maildir(tmp_path / "Maildir")
    maildir.add(b"Subject: three\n\nHello\n")
    maildir.close()
    ran = filterrelay("learn", "ham", "mbox", "Maildir", "mail/1.eml", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["spam"]["ham"] == 4


@pytest.mark.usefixtures("mail")
def test_what_it_knows_too_little_of_is_said(filterrelay: Run) -> None:
    """The operator learns how much more it needs; what is no terminal gets no bar."""
    ran = filterrelay("learn", "spam", "mail")
    assert "it speaks from 100 messages of each kind on" in ran.out
    assert ran.err == ""


@pytest.mark.usefixtures("mail")
def test_a_message_can_come_on_standard_input(filterrelay: Run) -> None:
    """As from `filterrelay quarantine show --raw ID |`."""
    ran = filterrelay("learn", "spam", "-", "mail/1.eml", "--json", stdin="Subject: x\n\nPills\n")
    assert ran.code == 0, ran.err
    assert ran.json["spam"]["learned"] == 2


@pytest.mark.usefixtures("mail")
def test_what_is_no_message_is_left_out(filterrelay: Run, tmp_path: Path) -> None:
    """A file that went astray among the mail spoils nothing that is learned."""
    (tmp_path / "hostname").write_text("relay.office.example\n")
    alone = filterrelay("learn", "ham", "hostname")
    assert alone.code == 1
    assert "left out hostname:1: it is no message" in alone.err
    ran = filterrelay("learn", "ham", "hostname", "mail/1.eml", "--json")
    assert (ran.code, ran.json["spam"]["ham"]) == (0, 1)


@pytest.mark.usefixtures("mail")
def test_one_filter_can_be_named(filterrelay: Run) -> None:
    """With several that learn, each can learn its own."""
    assert filterrelay("learn", "spam", "mail/1.eml", "--filter", "spam").code == 0
    refused = filterrelay("learn", "spam", "mail/1.eml", "--filter", "dkim")
    assert refused.code == 1
    assert "no filter dkim that learns" in refused.err


@pytest.mark.usefixtures("mail")
def test_a_damaged_file_is_never_written_over(filterrelay: Run, tmp_path: Path) -> None:
    """What was learned in years isn't lost to one bad block."""
    assert filterrelay("learn", "spam", "mail").code == 0
    learned = tmp_path / "state" / "spam" / "learned"
    learned.write_bytes(learned.read_bytes()[:-1])
    ran = filterrelay("learn", "spam", "mail")
    assert ran.code == 1
    assert "move the file away" in ran.err
    assert len(learned.read_bytes()) > 100
