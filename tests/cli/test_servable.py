"""All that keeps a file from being served is found at once."""

from pathlib import Path

import pytest

from filterrelay.cli.servable import servable_settings
from filterrelay.settings.problems import SettingsError


def test_a_file_that_can_be_served_is_read(configuration: Path) -> None:
    """As `filterrelay serve` reads it."""
    assert servable_settings(configuration).hostname == "relay.office.example"


def test_plugins_of_a_faulty_file_are_checked_too(configuration: Path) -> None:
    """One round of mending is enough."""
    text = configuration.read_text()
    configuration.write_text(f'wrokers = 1\n{text}xforward = true\n[[filter]]\nuse = "spff"\n')
    with pytest.raises(SettingsError) as caught:
        servable_settings(configuration)
    assert [problem.key for problem in caught.value.problems] == [
        "wrokers",
        "upstream[0].xforward",
        "filter[0].use",
    ]


def test_what_is_no_toml_is_said_alone(configuration: Path) -> None:
    """Nothing further can be known."""
    configuration.write_text("[[")
    with pytest.raises(SettingsError, match="no valid TOML"):
        servable_settings(configuration)
