"""How commands lay out what they print."""

import pytest

from filterrelay.cli import layout
from filterrelay.cli.layout import print_fields, print_table, print_text

ID, LONG = "1M82V35Y0T9CKAJY1", "a.very.long.name.that.nobody.can.type@partner.office.example"
WORDS = "450 4.2.0 Greylisted, please come back in five minutes and all will be well"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 80 columns."""
    monkeypatch.setattr(layout, "columns", lambda: 80)


def shown(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines that were printed."""
    return capsys.readouterr().out.splitlines()


def test_empty_fields_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """And the others are aligned."""
    print_fields({"id": "1", "reason": "", "sender": "a"})
    assert shown(capsys) == ["id      1", "sender  a"]


def test_a_pipe_gets_one_line_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    """However long: grep and awk read lines."""
    print_table(("id", "size", "last reply"), [(ID, "7", WORDS * 9), (ID, "123", "")])
    assert shown(capsys) == [
        "id                 size  last reply",
        f"{ID}     7  {WORDS * 9}",
        f"{ID}   123",
    ]


@pytest.mark.usefixtures("terminal")
def test_free_text_is_folded_between_words(capsys: pytest.CaptureFixture[str]) -> None:
    """Below itself, so that the other columns stay columns."""
    print_table(("id", "recipient", "last reply"), [(ID, "bob@partner.example", WORDS)])
    assert shown(capsys) == [
        "id                 recipient            last reply",
        f"{ID}  bob@partner.example  450 4.2.0 Greylisted, please come back",
        "                                        in five minutes and all will be well",
    ]


@pytest.mark.usefixtures("terminal")
def test_rows_that_are_too_wide_become_paragraphs(capsys: pytest.CaptureFixture[str]) -> None:
    """No address is broken: somebody wants to copy it."""
    titles = ("id", "size", "sender", "recipient", "reason", "last reply")
    print_table(titles, [(ID, "7", LONG, LONG, "", WORDS)])
    assert shown(capsys) == [
        ID,
        "    size: 7",
        f"    sender: {LONG}",
        f"    recipient: {LONG}",
        "    last reply: 450 4.2.0 Greylisted, please come back in five minutes and all",
        "      will be well",
    ]


@pytest.mark.usefixtures("terminal")
def test_paragraphs_are_folded_and_hang(capsys: pytest.CaptureFixture[str]) -> None:
    """So that one sees where the next begins, and nothing in it commands the terminal."""
    print_text(f"bob@partner.example deferred:\x1b[2J {WORDS}", "  ")
    assert shown(capsys) == [
        "  bob@partner.example deferred: [2J 450 4.2.0 Greylisted, please come back in",
        "    five minutes and all will be well",
    ]


def test_a_long_table_is_printed_as_its_rows_come(capsys: pytest.CaptureFixture[str]) -> None:
    """Its titles stand there once, and its columns only grow."""
    table = layout.Table(("id", "text"))
    table.print([("1", "a")])
    table.print([("222", "b"), ("3", "c")])
    assert capsys.readouterr().out == "id  text\n1   a\n222  b\n3    c\n"
