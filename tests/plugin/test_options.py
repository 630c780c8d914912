"""Values as the configuration file writes them."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import ValidationError

from filterrelay.plugin.options import (
    Duration,
    Options,
    Secret,
    Size,
    UnreadableSecret,
    at_least,
    with_secrets,
)


class Values(Options):
    """One of each."""

    duration: Duration = timedelta(0)
    """A duration."""
    size: Size = 0
    """A size."""


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("15m", 900), ("4h", 14400), ("5d", 432000), ("500ms", 0.5), ("1.5s", 1.5), ("2 w", 1209600)],
)
def test_durations_are_written_with_their_unit(text: str, seconds: float) -> None:
    """As the contract has them."""
    assert Values.model_validate({"duration": text}).duration.total_seconds() == seconds


@pytest.mark.parametrize(
    ("text", "octets"),
    [("50 MiB", 50 * 1024**2), ("64KiB", 65536), ("1 GB", 10**9), (1000, 1000), ("7", 7)],
)
def test_sizes_are_written_with_theirs(text: Any, octets: int) -> None:
    """Binary and decimal units are told apart."""
    assert Values.model_validate({"size": text}).size == octets


@pytest.mark.parametrize(
    "values",
    [{"duration": 15}, {"duration": "15"}, {"duration": "soon"}, {"size": "big"}, {"size": True}],
)
def test_what_is_neither_is_refused_with_an_example(values: dict[str, Any]) -> None:
    """A number without unit could be anything."""
    with pytest.raises(ValidationError, match=r"like|write"):
        Values.model_validate(values)


class Bounded(Options):
    """One of each, with a lower bound."""

    duration: Annotated[Duration, at_least("1s")] = timedelta(0)
    """A duration."""
    size: Annotated[Size, at_least("1 KB")] = 0
    """A size."""


@pytest.mark.parametrize("values", [{"duration": "1s"}, {"size": 1000}])
def test_a_bound_is_within(values: dict[str, Any]) -> None:
    """At least means that."""
    Bounded.model_validate(values)


@pytest.mark.parametrize(
    ("values", "bound"), [({"duration": "999ms"}, "1s"), ({"size": "0.9 KB"}, "1 KB")]
)
def test_what_is_too_little_is_told_the_bound(values: dict[str, Any], bound: str) -> None:
    """As the file would write it."""
    with pytest.raises(ValidationError, match=f'must be at least "{bound}"'):
        Bounded.model_validate(values)


def test_options_are_described_by_their_docstrings() -> None:
    """What stands under a field is what `filterrelay plugins` shows."""
    assert Values.model_fields["size"].description == "A size."


class Secretive(Options):
    """Secrets, and files that are none."""

    token: Secret | None = None
    """A secret."""
    ca: str = ""
    """No secret."""
    ca_file: str = ""
    """A file that is meant as one."""


def test_a_secret_is_read_from_its_file(tmp_path: Path) -> None:
    """`NAME_file`, relative to the configuration, without the final line end."""
    (tmp_path / "t").write_text("hunter2 \n")
    assert with_secrets({"token_file": "t"}, Secretive, tmp_path) == {"token": "hunter2 "}


def test_an_option_that_only_ends_in_file_stays_as_it_is(tmp_path: Path) -> None:
    """A plugin may want a file's name."""
    options = {"ca_file": "x", "other_file": "y"}
    assert with_secrets(options, Secretive, tmp_path) == options


def test_a_secret_is_given_in_one_way_only(tmp_path: Path) -> None:
    """Nobody guesses which one is meant."""
    with pytest.raises(ValueError, match="give token or token_file, not both"):
        with_secrets({"token": "x", "token_file": "t"}, Secretive, tmp_path)


@pytest.mark.parametrize("value", ["", 7])
def test_a_secret_file_must_be_named(tmp_path: Path, value: Any) -> None:
    """By a path."""
    with pytest.raises(ValueError, match="token_file must name a file"):
        with_secrets({"token_file": value}, Secretive, tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file or directory"),
        (b"\n", "it is empty"),
        (b"\xff", "it is not UTF-8 text"),
    ],
)
def test_a_secret_that_cannot_be_read_is_said_so(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    """With the file's name and never with what is in it."""
    if content is not None:
        (tmp_path / "t").write_bytes(content)
    with pytest.raises(UnreadableSecret, match=f"t can't be read: {reason}"):
        with_secrets({"token_file": "t"}, Secretive, tmp_path)
