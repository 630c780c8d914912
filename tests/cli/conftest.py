"""A configuration with a spool for the commands to work on."""

import getpass
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

CONFIGURATION = f"""\
hostname = "relay.office.example"
state_dir = "state"
user = "{getpass.getuser()}"
[[listener]]
kind = "smtp"
address = "127.0.0.1:2525"
[[upstream]]
name = "provider"
hosts = ["127.0.0.1:2626"]
tls = "none"
"""

Run = Callable[..., "Ran"]


@pytest.fixture(autouse=True)
def _logs(logs_as_before: None) -> None:
    """Every command sets up the log."""


@pytest.fixture(autouse=True)
def _ctrl_c() -> Iterator[None]:
    """Ctrl-C is heard, also when a script runs the tests in its background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Ran:
    """How a command ended."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr

    @property
    def json(self) -> Any:
        """Its output as JSON."""
        return json.loads(self.out)


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    """A file that loads."""
    file = tmp_path / "filterrelay.toml"
    file.write_text(CONFIGURATION)
    return file


@pytest.fixture
def filterrelay(tmp_path: Path) -> Run:
    """Runs the program in the directory of the configuration."""

    def run(*arguments: str, stdin: str = "") -> Ran:
        return Ran(
            subprocess.run(
                [sys.executable, "-m", "filterrelay", *arguments],
                cwd=tmp_path,
                input=stdin,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        )

    return run
