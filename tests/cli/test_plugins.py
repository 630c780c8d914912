"""`filterrelay plugins`: what is installed and what it can be told."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest
from typer.testing import CliRunner, Result

from filterrelay.cli.plugins import Option, app, options_of
from filterrelay.plugin import Duration, Options, Secret, Size
from filterrelay.plugin.discovery import BadPlugin


def plugins(*arguments: str) -> Result:
    """What `filterrelay plugins` says."""
    return CliRunner().invoke(app, list(arguments))


def test_all_installed_plugins_are_listed() -> None:
    """One a line, with a sentence."""
    lines = plugins().output.splitlines()
    assert any(line.startswith("clamav ") and "clamd" in line for line in lines)
    assert len(lines) >= 7


def test_the_list_comes_as_json_too() -> None:
    """With the hooks of each."""
    listed = {one["name"]: one for one in json.loads(plugins("--json").output)}
    assert listed["auth-file"]["hooks"] == ["lifespan", "authenticate", "reconfirm"]


def test_the_list_says_what_a_file_configures(configuration: Path) -> None:
    """With -c, each plugin's instances stand beside it."""
    text = configuration.read_text()
    configuration.write_text(f'{text}[[filter]]\nuse = "spf"\nname = "senders"\n')
    lines = plugins("-c", str(configuration)).output.splitlines()
    assert next(line for line in lines if line.endswith(" (filter senders)")).startswith("spf ")
    listed = json.loads(plugins("-c", str(configuration), "--json").output)
    assert [one["name"] for one in listed if one["configured"]] == ["spf"]


def test_a_plugin_is_described_with_its_options() -> None:
    """Its docstring, its hooks, and what the file may say to it."""
    said = plugins("clamav").output
    assert "Has clamd scan each message" in said
    assert "section: [[filter]]" in said
    assert 'action = "reject"  ("reject" | "quarantine" | "discard" | "tag")' in said


def test_a_description_comes_as_json_too() -> None:
    """For programs that write configurations."""
    told = json.loads(plugins("clamav", "--json").output)
    assert told["options"][0]["name"] == "socket"
    assert told["options"][0]["default"] == '"unix:/run/clamav/clamd.ctl"'


def test_an_unknown_plugin_is_said_so() -> None:
    """With the nearest that is installed."""
    assert isinstance(plugins("clmav").exception, BadPlugin)


class Inner(Options):
    """A table in a list."""

    word: str
    """A word."""


class SomeOptions(Options):
    """All kinds of options."""

    kind: Literal["a", "b"] = "a"
    """One of two."""
    big: Size | None = None
    """Octets."""
    small: Size = 64 * 1024
    """Octets too."""
    long: Duration = timedelta(hours=36)
    """A time."""
    file: Path
    """A file."""
    token: Secret | None = None
    """A secret."""
    tables: tuple[Inner, ...] = ()
    """Tables."""
    many: tuple[int, ...] = tuple(range(100))
    """Numbers."""


class Some:
    """A plugin that takes them."""

    options_type = SomeOptions


@pytest.mark.parametrize(
    "option",
    [
        Option("kind", '"a" | "b"', '"a"', "One of two."),
        Option("big", "size", "", "Octets."),
        Option("small", "size", '"64 KiB"', "Octets too."),
        Option("long", "duration", '"36h"', "A time."),
        Option("file", "path", "", "A file."),
        Option("token", "secret", "", "A secret."),
        Option("tables[].word", "text", "", "A word."),
    ],
    ids=lambda option: option.name,
)
def test_an_option_reads_as_the_file_has_it(option: Option) -> None:
    """Types and defaults in the words of the configuration, not of the program."""
    assert option in options_of(Some)


def test_a_long_default_is_cut() -> None:
    """It would fill the screen."""
    (many,) = [option for option in options_of(Some) if option.name == "many"]
    assert many.default.endswith("…")
    assert len(many.default) == 60
