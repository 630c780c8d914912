"""The program itself: finding commands, exit codes, errors without tracebacks."""

import json
import subprocess
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

from filterrelay.cli.common import ConfigOption, JsonOption, find_config, load_settings
from filterrelay.cli.main import COMMANDS, main
from filterrelay.errors import FilterRelayError


@dataclass
class DoorStuck(FilterRelayError):
    """The door is stuck."""

    hinges: int


@pytest.fixture
def failing_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """`filterrelay trace` raises an error that has a name."""
    app = typer.Typer()

    @app.command()
    def trace(config: ConfigOption = None, as_json: JsonOption = False) -> None:
        load_settings(config) if config else None
        raise DoorStuck(hinges=3)

    module: Any = types.ModuleType("trace")
    module.app = app
    monkeypatch.setitem(sys.modules, "filterrelay.cli.trace", module)


def exit_code(*arguments: str) -> int:
    """How the program ends."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """A newcomer sees all there is, each in one line that isn't cut."""
    assert exit_code("--help") == 0
    shown = capsys.readouterr().out
    assert [name for name in COMMANDS if f"  {name} " not in shown] == []
    assert "..." not in shown.partition("Commands:")[2]


def test_help_imports_no_command() -> None:
    """`--help` answers at once: neither pydantic nor any command's module is imported."""
    code = (
        "import sys\nfrom filterrelay.cli.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'pydantic', 'rich', 'asyncio', 'filterrelay.cli.queue'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` prints the package's version."""
    assert exit_code("--version") == 0
    assert capsys.readouterr().out.startswith("filterrelay 0.")


def test_a_mistyped_command_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """The nearest command is named, and the exit code says wrong usage."""
    assert exit_code("quue") == 2
    assert "Did you mean 'queue'" in capsys.readouterr().err


@pytest.mark.usefixtures("failing_command")
def test_an_error_with_a_name_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """No operator has to read a traceback to learn what is the case."""
    assert exit_code("trace") == 1
    assert capsys.readouterr().err == "filterrelay: The door is stuck (hinges=3)\n"


@pytest.mark.usefixtures("failing_command")
def test_an_error_with_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    """Scripts that asked for JSON get JSON, also when it goes wrong."""
    assert exit_code("trace", "--json") == 1
    assert json.loads(capsys.readouterr().out) == {"error": "The door is stuck (hinges=3)"}


@pytest.mark.usefixtures("failing_command")
def test_a_bad_configuration_is_told_with_its_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Any command that reads the file says what is wrong in it."""
    file = tmp_path / "f.toml"
    file.write_text("wokers = 3\n")
    assert exit_code("trace", "-c", str(file)) == 1
    assert f"{file}:1: wokers: there is no such key; did you mean workers?" in (
        capsys.readouterr().err
    )


@pytest.mark.usefixtures("failing_command")
def test_a_configuration_that_is_not_there_is_wrong_usage(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A mistyped path is the caller's fault."""
    assert exit_code("trace", "-c", "/nowhere/f.toml") == 2
    assert "there is no file /nowhere/f.toml" in capsys.readouterr().err


def test_the_configuration_is_looked_for_here_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`filterrelay.toml` in the current directory comes before the machine's."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "filterrelay.toml").touch()
    assert find_config(None) == Path("filterrelay.toml")
