"""What of the routes can't be seen from one line."""

from pathlib import Path

import pytest

from filterrelay.settings.file import load
from filterrelay.settings.route_checks import route_warnings

UPSTREAMS = "".join(
    f'[[upstream]]\nname = "{name}"\nhosts = ["{name}.example:25"]\ntls = "required"\n'
    for name in ("provider", "partner", "idle")
)
BEGINNING = '[[listener]]\nkind = "smtp"\naddress = "127.0.0.1:2525"\n' + UPSTREAMS


def warned(directory: Path, *rules: str) -> list[str]:
    """What is said of these routes, which begin on line 16, three lines each."""
    file = directory / "f.toml"
    routes = "".join(f'[[route]]\nupstream = "partner"\n{rule}\n' for rule in rules)
    file.write_text(BEGINNING + routes)
    return [text for text in route_warnings(load(file, {})) if not text.startswith("upstream idle")]


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("", 'recipients = ["a.example"]'),
        ("", ""),
        ('recipients = ["a.example"]', 'recipients = ["*@A.example", "x@a.example"]'),
        ('recipients = ["*.a.example"]', 'recipients = ["b.a.example", "*.c.a.example"]'),
        ('senders = ["a.example"]', 'senders = ["a.example"]\nlogins = ["eve"]'),
        ('logins = ["*"]', 'logins = ["eve"]'),
    ],
)
def test_a_rule_behind_one_that_takes_all_it_means_is_warned_of(
    tmp_path: Path, earlier: str, later: str
) -> None:
    """With both lines of the file."""
    (warning,) = warned(tmp_path, earlier, later)
    assert warning == (
        "route 2 (line 19) can never match: route 1 (line 16) matches all that it does"
    )


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ('recipients = ["a.example"]', ""),
        ('recipients = ["x@a.example"]', 'recipients = ["a.example"]'),
        ('recipients = ["*.a.example"]', 'recipients = ["a.example"]'),
        ('recipients = ["a.example"]', 'recipients = ["a.example", "b.example"]'),
        ('senders = ["*"]', ""),
        ('logins = ["*"]', 'recipients = ["a.example"]'),
        ('logins = ["eve"]', 'logins = ["*"]'),
    ],
)
def test_a_rule_that_may_match_is_not(tmp_path: Path, earlier: str, later: str) -> None:
    """Be it only the null sender's mail, or that of who hasn't logged in."""
    assert warned(tmp_path, earlier, later) == []


def test_an_upstream_that_nothing_leads_to_is_warned_of(tmp_path: Path) -> None:
    """The first one is where all mail goes that no route knows."""
    file = tmp_path / "f.toml"
    file.write_text(BEGINNING + '[[route]]\nupstream = "partner"\n')
    (warning,) = route_warnings(load(file, {}))
    assert warning.startswith("upstream idle: no route leads to it")
