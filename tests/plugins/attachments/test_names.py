"""What names of files say and hide."""

import pytest
from filterrelay_plugins.attachments.names import (
    DANGEROUS,
    blocked_ending,
    disguise,
    is_message_name,
    shown,
)


@pytest.mark.parametrize(
    "name",
    [
        *("setup.exe", "SETUP.EXE", "setup.exe.", "setup.exe  ", "setup.exe. .", "a.b.c.exe"),
        *(
            "set\u200bup.e\u200bxe",
            "setup.exe\0",
            'setup.exe"',
            "dir/setup.exe",
            r"c:\x\setup.exe",
            ".exe",
        ),
    ],
)
def test_an_ending_is_found_however_it_is_written(name: str) -> None:
    """Letter case, trailing dots and blanks, paths and invisible characters don't hide it."""
    assert blocked_ending(name, DANGEROUS) == "exe"


@pytest.mark.parametrize("name", ["report.pdf", "exe", "", "scan.tar.gz", "exe.txt", "a.exe/b.txt"])
def test_a_harmless_ending_is_let_through(name: str) -> None:
    """Only the ending of the file itself counts."""
    assert not blocked_ending(name, DANGEROUS)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("invoice.pdf.exe", "it calls itself .pdf but is .exe"),
        ("invoice.pdf                    .js", "it calls itself .pdf but is .js"),
        ("photo.JPG.v2.SCR", "it calls itself .jpg but is .scr"),
        ("invoice\u202efdp.exe", "its name turns the direction of writing around"),
        ("x.{3050f4d8-98b5-11cf-bb82-00aa00bdce0b}", "its name ends in a Windows class ID"),
    ],
)
def test_a_disguise_is_seen_through(name: str, why: str) -> None:
    """A name that shows another ending than the file has."""
    assert disguise(name) == why


@pytest.mark.parametrize(
    "name",
    [
        *("report.2026.pdf", "backup.tar.gz", "letter.pdf.zip", "setup.exe", "v1.2.3.txt"),
        *("\u200eחשבונית.pdf", "данные.docx", "图.png", "mail@office.example"),
    ],
)
def test_an_honest_name_is_no_disguise(name: str) -> None:
    """Several dots, direction marks of Hebrew, and other scripts are usual."""
    assert not disguise(name)


def test_a_file_may_be_a_message_by_its_name() -> None:
    """Then mail programs show what is attached to it."""
    assert is_message_name("Fwd.EML")
    assert not is_message_name("eml.txt")


def test_a_name_in_a_reply_is_short_and_plain() -> None:
    """SMTP replies are ASCII, and nobody may write lines into them."""
    assert shown("a\r\n250 ok\u202e" + "x" * 100) == ("a??250 ok?" + "x" * 47 + "...")
