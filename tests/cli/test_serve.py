"""`filterrelay serve` refuses what it can't serve, in words."""

from pathlib import Path

import pytest

from .conftest import Run


@pytest.mark.parametrize(
    ("added", "said"),
    [
        ("wrokers = 2", "workers"),
        ('[[filter]]\nuse = "clamv"', "did you mean clamav?"),
        ('[[filter]]\nuse = "spf"\n[filter.options]\ntimeuot = "3s"', "did you mean timeout?"),
    ],
)
def test_a_bad_file_ends_the_start_with_what_is_wrong(
    configuration: Path, filterrelay: Run, added: str, said: str
) -> None:
    """Exit code 1, the nearest right word, and no traceback."""
    text = configuration.read_text()
    configuration.write_text(f"{added}\n{text}" if "[" not in added else f"{text}{added}\n")
    ran = filterrelay("serve")
    assert ran.code == 1
    assert said in ran.err
    assert "Traceback" not in ran.out + ran.err


def test_all_that_is_wrong_is_said_at_once(configuration: Path, filterrelay: Run) -> None:
    """A wrong key, what isn't there yet and an unknown plugin, each with its line."""
    text = configuration.read_text()
    configuration.write_text(
        f'wrokers = 2\n{text}[spool]\nurl = "postgresql://db/mail"\n[[filter]]\nuse = "clamv"\n'
    )
    said = filterrelay("serve").err
    for problem in (":1: wrokers: ", ":13: spool.url: ", ":15: filter[0].use: "):
        assert problem in said


def test_a_missing_file_is_wrong_usage(filterrelay: Run) -> None:
    """Exit code 2."""
    assert filterrelay("serve", "-c", "nowhere.toml").code == 2
