"""The log's lines."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

LOGGING = """
import logging, structlog
from filterrelay.observe.log import configure
configure("json", "info")
structlog.get_logger().debug("unseen")
structlog.get_logger().info("message", message_id="X", size=3)
logging.getLogger("library").warning("said %s", "so")
try:
    password = "hunter2"
    1 / 0
except ZeroDivisionError:
    structlog.get_logger().exception("failed")
"""


def test_each_event_is_one_json_object_a_line() -> None:
    """Events of ours, of libraries, and tracebacks alike; below the level nothing."""
    printed = subprocess.run(
        [sys.executable, "-c", LOGGING], check=True, capture_output=True, text=True
    ).stdout
    assert "hunter2" not in printed
    ours, theirs, failed = [json.loads(line) for line in printed.splitlines()]
    assert (ours["event"], ours["message_id"], ours["level"]) == ("message", "X", "info")
    assert theirs["event"] == "said so"
    assert failed["exception"][0]["exc_type"] == "ZeroDivisionError"


CHANGING = """
import structlog
from filterrelay.observe.log import configure
log = structlog.get_logger()
configure("json", "info", final=False)
log.debug("unseen")
configure("console", "debug", final=False)
log.debug("seen")
"""


def test_format_and_level_change_where_the_file_is_read_again() -> None:
    """A logger that has been used takes the new ones, too."""
    (line,) = subprocess.run(
        [sys.executable, "-c", CHANGING], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert "[debug" in line
    assert "seen" in line


BROKEN = """
import os, structlog
from filterrelay.observe.log import configure
configure("json", "info")
os.close(1)
structlog.get_logger().info("message")
open("done", "w").close()
os._exit(0)
"""


def test_a_log_that_can_not_be_written_stops_nothing(tmp_path: Path) -> None:
    """A full disk or a reader that is gone loses lines, not mail."""
    subprocess.run([sys.executable, "-c", BROKEN], check=True, cwd=tmp_path, capture_output=True)
    assert (tmp_path / "done").exists()


def test_the_log_can_stand_beside_the_output() -> None:
    """Commands whose output is their own log to standard error."""
    code = LOGGING.replace('configure("json", "info")', 'configure("json", "info", sys.stderr)')
    ran = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}"], check=True, capture_output=True, text=True
    )
    assert ran.stdout == ""
    assert [json.loads(line)["level"] for line in ran.stderr.splitlines()] == [
        *("info", "warning", "error")
    ]


FOREIGN = """
import logging, structlog
from filterrelay.observe.log import configure
configure("console", "info")
structlog.get_logger().info("message", sender="jörg@büro.example", broken="\\udcff")
logging.getLogger("library").warning("μ")
"""


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_any_letter_can_be_logged(encoding: str) -> None:
    """A sender beyond ASCII is written as escapes where the output can't show it."""
    done = subprocess.run(
        [sys.executable, "-c", FOREIGN],
        check=True,
        capture_output=True,
        env=dict(os.environ) | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
    )
    ours, theirs = done.stdout.decode(encoding).splitlines()
    shown = "jörg" if encoding != "ascii" else r"j\xf6rg"
    assert shown in ours
    assert r"\udcff" in ours
    assert ("μ" if encoding == "utf-8" else r"\u03bc") in theirs
    assert done.stderr == b""
