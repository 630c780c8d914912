"""All that keeps a file from being served is found at once."""

import os
import sys
from pathlib import Path

import pytest

from filterrelay.cli import servable
from filterrelay.cli.servable import can_run, servable_settings, unreachable_python
from filterrelay.settings.problems import SettingsError
from filterrelay.supervisor.privileges import Account, NoSuchUser, account_to_become


def test_a_file_that_can_be_served_is_read(configuration: Path) -> None:
    """As `filterrelay serve` reads it."""
    assert servable_settings(configuration).hostname == "relay.office.example"


def test_plugins_of_a_faulty_file_are_checked_too(configuration: Path) -> None:
    """One round of mending is enough."""
    text = configuration.read_text()
    configuration.write_text(
        f'wrokers = 1\n{text}[spool]\nurl = "postgresql://db/mail"\n[[filter]]\nuse = "spff"\n'
    )
    with pytest.raises(SettingsError) as caught:
        servable_settings(configuration)
    assert [problem.key for problem in caught.value.problems] == [
        "wrokers",
        "spool.url",
        "filter[0].use",
    ]


def test_what_is_no_toml_is_said_alone(configuration: Path) -> None:
    """Nothing further can be known."""
    configuration.write_text("[[")
    with pytest.raises(SettingsError, match="no valid TOML"):
        servable_settings(configuration)


def test_a_plugin_in_the_wrong_place_is_told_so_and_no_more(configuration: Path) -> None:
    """Another name for it would help nobody."""
    text = configuration.read_text()
    configuration.write_text(f'{text}[[filter]]\nuse = "spam"\n[[signer]]\nuse = "spam"\n')
    with pytest.raises(SettingsError) as caught:
        servable_settings(configuration)
    (problem,) = caught.value.problems
    assert problem.key == "signer[0].use"
    assert problem.text.startswith("spam can't stand under [[signer]]")


def test_a_python_that_the_relay_cannot_read_is_told(
    configuration: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a worker fails to import something."""
    account = Account("filterrelay", os.getuid(), os.getgid())
    monkeypatch.setattr(servable, "account_of", lambda _: account)
    monkeypatch.setattr(servable, "can_run", lambda *_: False)
    why = unreachable_python(servable_settings(configuration))
    assert why.startswith(
        f"user filterrelay can't run the Python that this is, in {sys.base_prefix}"
    )
    assert "/usr/bin/python3" in why


def test_a_user_that_is_not_there_is_a_problem_of_the_file(
    configuration: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its line, beside all the others."""

    def nobody(_: object) -> None:
        raise NoSuchUser("filterrelay")

    monkeypatch.setattr(servable, "account_of", nobody)
    with pytest.raises(SettingsError) as caught:
        servable_settings(configuration)
    assert [problem.key for problem in caught.value.problems] == ["user"]


def test_a_group_that_is_not_there_is_a_problem_of_the_file(configuration: Path) -> None:
    """Before it keeps the socket from being made."""
    text = configuration.read_text()
    configuration.write_text(text.replace("[[upstream]]", 'group = "postfx"\n[[upstream]]'))
    with pytest.raises(
        SettingsError, match=r":7: listener\[0\]\.group: there is no group 'postfx'"
    ):
        servable_settings(configuration)


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone may become somebody else")
def test_a_python_is_tried_as_the_user_that_serves(tmp_path: Path) -> None:
    """Here one that only root can reach, as in root's home."""
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    root, nobody = (account_to_become(name) for name in ("root", "nobody"))
    assert root is not None
    assert nobody is not None
    tmp_path.chmod(0o700)
    assert can_run(root, python)
    assert not can_run(nobody, python)
