"""Errors that explain themselves."""

import getpass
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from filterrelay.errors import FilterRelayError, why_unreadable


@dataclass
class KeyMissing(FilterRelayError):
    """The key is missing."""

    path: str


def test_a_named_error_says_its_docstring_and_its_particulars() -> None:
    """The log tells the operator what and which."""
    assert str(KeyMissing("a.pem")) == "The key is missing (path='a.pem')"


def test_an_error_without_particulars_says_what_it_was_given() -> None:
    """The plain base works like any exception."""
    assert str(FilterRelayError("odd")) == "odd"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A file that is there."""
    key = tmp_path / "keys" / "s1.pem"
    key.parent.mkdir()
    key.touch()
    return key


def refused(path: Path) -> PermissionError:
    """What the system says of a file that isn't for this user."""
    return PermissionError(13, "Permission denied", str(path))


def test_who_may_not_read_a_file_is_named_with_the_remedy(
    key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root reads this, and could read the file."""
    monkeypatch.setattr(os, "access", lambda path, _: path != key)
    user = getpass.getuser()
    assert why_unreadable(refused(key)) == (
        f"Permission denied for user {user}: chown {user} {key}"
    )


def test_a_directory_that_is_closed_is_named_instead(
    key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another owner of the file would help nobody."""
    monkeypatch.setattr(os, "access", lambda path, _: path not in (key, key.parent))
    assert why_unreadable(refused(key)).endswith(
        f"user {getpass.getuser()} can't enter {key.parent}"
    )


def test_other_troubles_are_told_in_the_systems_words(tmp_path: Path) -> None:
    """There is nothing to add."""
    missing = FileNotFoundError(2, "No such file or directory", str(tmp_path / "x"))
    assert why_unreadable(missing) == "No such file or directory"
    assert why_unreadable(refused(tmp_path)) == "Permission denied"
    assert why_unreadable(OSError("the name has no address")) == "the name has no address"
