"""Errors that explain themselves."""

from dataclasses import dataclass

from filterrelay.errors import FilterRelayError


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
