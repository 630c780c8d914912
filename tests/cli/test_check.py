"""`filterrelay check`: would it serve?"""

import getpass
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from filterrelay.cli.check import app

CONFIGURATION = f"""user = "{getpass.getuser()}"
hostname = "relay.office.example"
state_dir = "state"
[[listener]]
kind = "milter"
address = "127.0.0.1:2525"
"""


def check(directory: Path, text: str, *options: str) -> Result:
    """What `filterrelay check` says of a configuration."""
    file = directory / "f.toml"
    file.write_text(text)
    return CliRunner().invoke(app, ["-c", str(file), *options])


def test_a_good_configuration_would_serve(tmp_path: Path) -> None:
    """Exit code 0, and a table that says what was looked at."""
    said = check(tmp_path, CONFIGURATION)
    assert said.exit_code == 0
    assert "It would serve." in said.output


def test_a_good_configuration_is_told_as_json(tmp_path: Path) -> None:
    """One document."""
    told = json.loads(check(tmp_path, CONFIGURATION, "--json").output)
    assert told["would_serve"] is True
    found = [(one["part"], one["state"]) for one in told["checks"]]
    assert found == [("file", "ok"), ("spool", "ok")]


def test_a_bad_file_would_not_serve(tmp_path: Path) -> None:
    """Exit code 1, and each problem with its line."""
    said = check(tmp_path, CONFIGURATION + "tsl = 'none'\n")
    assert said.exit_code == 1
    assert "f.toml:7: listener[0].tsl: there is no such key; did you mean tls?" in said.output


def test_a_bad_option_of_a_plugin_has_its_line(tmp_path: Path) -> None:
    """As the core's own keys have."""
    text = CONFIGURATION + '[[filter]]\nuse = "clamav"\n[filter.options]\nsockt = "x"\n'
    told = json.loads(check(tmp_path, text, "--json").output)
    assert told["would_serve"] is False
    assert told["problems"] == [
        {
            "file": str(tmp_path / "f.toml"),
            "line": 10,
            "key": "filter[0].options.sockt",
            "text": "there is no such option; did you mean socket?",
        }
    ]


def test_a_warning_keeps_nobody_from_serving(tmp_path: Path) -> None:
    """A danger is shown, and the decision left to the operator."""
    told = json.loads(
        check(
            tmp_path,
            CONFIGURATION.replace("milter", "smtp")
            + 'relay_domains = ["*"]\n[[upstream]]\nname = "x"\nhosts = ["127.0.0.1:1"]\n',
            "--json",
        ).output
    )
    states = {(one["part"], one["state"]): one["text"] for one in told["checks"]}
    assert "OPEN RELAY" in states["file", "warning"]


def test_a_failed_check_would_not_serve(tmp_path: Path) -> None:
    """Exit code 1: here the filter's daemon is down."""
    text = CONFIGURATION + f'[[filter]]\nuse = "clamav"\noptions.socket = "unix:{tmp_path}/none"\n'
    said = check(tmp_path, text)
    assert said.exit_code == 1
    assert "It would not serve." in said.output


def test_it_looks_with_the_eyes_of_the_user_that_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What root could read and the relay can't is found before it matters."""
    became: list[str] = []
    privileges = "filterrelay.supervisor.privileges"
    monkeypatch.setattr(f"{privileges}.account_to_become", lambda user: user)
    monkeypatch.setattr(f"{privileges}.hand_over", lambda settings, account: None)
    monkeypatch.setattr(f"{privileges}.drop_to", became.append)
    check(tmp_path, CONFIGURATION.replace(getpass.getuser(), "postmaster", 1))
    assert became == ["postmaster"]
