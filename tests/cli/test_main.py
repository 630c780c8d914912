"""The program itself: finding commands, exit codes, errors without tracebacks."""

import json
import subprocess
import sys
import types
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import structlog
import typer
from typer.main import get_command

from filterrelay.cli.common import (
    ConfigOption,
    Exit,
    JsonOption,
    Refused,
    find_config,
    load_settings,
)
from filterrelay.cli.main import COMMANDS, main
from filterrelay.errors import FilterRelayError


@dataclass
class DoorStuck(FilterRelayError):
    """The door is stuck."""

    hinges: int


FAILURES: list[BaseException] = [DoorStuck(hinges=3)]


@pytest.fixture
def failing_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """`filterrelay trace` raises an error that has a name."""
    app = typer.Typer()

    @app.command()
    def trace(config: ConfigOption = None, as_json: JsonOption = False) -> None:
        load_settings(config) if config else None
        structlog.get_logger().info("unheard")
        structlog.get_logger().warning("creaking")
        raise FAILURES[-1]

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
    assert capsys.readouterr().err.endswith("filterrelay: The door is stuck (hinges=3)\n")


@pytest.mark.usefixtures("failing_command")
def test_an_error_with_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    """Scripts that asked for JSON get JSON, also when it goes wrong."""
    assert exit_code("trace", "--json") == 1
    assert json.loads(capsys.readouterr().out) == {"error": "The door is stuck (hinges=3)"}


@pytest.mark.usefixtures("failing_command")
def test_the_log_stays_out_of_the_output(capsys: pytest.CaptureFixture[str]) -> None:
    """Warnings stand on standard error; what is no warning isn't said at all."""
    exit_code("trace")
    out, err = capsys.readouterr()
    assert out == ""
    assert "creaking" in err
    assert "unheard" not in err


@pytest.mark.usefixtures("failing_command")
@pytest.mark.parametrize(
    ("failure", "code", "said"),
    [
        (PermissionError(13, "Permission denied", "/x"), 1, "/x: Permission denied"),
        (NotADirectoryError(20, "Not a directory", "/x"), 1, "/x: Not a directory"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), 1, "can't decode byte"),
        (Refused("not now", Exit.USAGE), 2, "not now"),
        (typer.BadParameter("no number"), 2, "no number"),
        (typer.Abort(), 1, "stopped before it was done"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_fails_is_a_sentence_or_a_document(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    failure: Exception,
    code: int,
    said: str,
) -> None:
    """What the system refuses and wrong usage, too: no traceback, and JSON for who asked for it."""
    monkeypatch.setitem(globals(), "FAILURES", [failure])
    assert exit_code("trace", "--json") == code
    assert said in json.loads(capsys.readouterr().out)["error"]
    assert exit_code("trace") == code
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err


def test_a_mistyped_option_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    """Scripts learn of their wrong usage in the form they read."""
    assert exit_code("trace", "--jsn", "--json") == 2
    assert "--jsn" in json.loads(capsys.readouterr().out)["error"]


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


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_a_configuration(command: str) -> None:
    """`-c FILE`, also where it means nothing; those with subcommands take it behind these."""
    found: Any = get_command(import_module(f"filterrelay.cli.{command}").app)
    for one in getattr(found, "commands", {command: found}).values():
        assert any("-c" in parameter.opts for parameter in one.params), one.name


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - {"serve", "init"}))
def test_every_command_that_tells_something_can_tell_it_as_json(command: str) -> None:
    """All subcommands included."""
    found: Any = get_command(import_module(f"filterrelay.cli.{command}").app)
    for one in getattr(found, "commands", {command: found}).values():
        assert any("--json" in parameter.opts for parameter in one.params), one.name
