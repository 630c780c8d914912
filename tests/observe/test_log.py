"""The log's lines."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

LOGGING = """
import logging, structlog
from filterrelay.observe.log import Options, configure
configure(Options("json", "info"))
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
from filterrelay.observe.log import Options, configure
log = structlog.get_logger()
configure(Options("json", "info"), final=False)
log.debug("unseen")
configure(Options("console", "debug"), final=False)
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
from filterrelay.observe.log import Options, configure
configure(Options("json", "info"))
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
    code = LOGGING.replace('"info"))', '"info"), sys.stderr)')
    ran = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}"], check=True, capture_output=True, text=True
    )
    assert ran.stdout == ""
    assert [json.loads(line)["level"] for line in ran.stderr.splitlines()] == [
        *("info", "warning", "error")
    ]


FOREIGN = """
import logging, structlog
from filterrelay.observe.log import Options, configure
configure(Options("console", "info"))
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
    assert "broken=?" in ours
    assert ("μ" if encoding == "utf-8" else r"\u03bc") in theirs
    assert done.stderr == b""


COUNTED = """
import structlog
from filterrelay.observe.log import Options, configure
configure(Options("json", "warning", "mail.log", "short"))
log = structlog.get_logger()
log.debug("removed", message_id="06FZZZZZZZZZZZZZZ")
log.info("login", client="192.0.2.7", result="bad", mechanism="PLAIN", login="anna@x.example")
log.warning("sessions_cut", sessions=1)
"""


def test_the_mail_log_is_whole_whatever_the_level(tmp_path: Path) -> None:
    """What is counted there doesn't depend on what is logged; addresses are private in both."""
    printed = subprocess.run(
        [sys.executable, "-c", COUNTED], check=True, capture_output=True, text=True, cwd=tmp_path
    ).stdout
    assert [json.loads(line)["event"] for line in printed.splitlines()] == ["sessions_cut"]
    removed, failed = (tmp_path / "mail.log").read_text().splitlines()
    assert removed.endswith(": 06FZZZZZZZZZZZZZZ: removed")
    assert failed.endswith("sasl_username=a…@x.example")


SUMMARISED = """
import structlog
from filterrelay.observe.log import Options, configure
configure(Options("console"))
structlog.get_logger().info(
    "login", client="192.0.2.7", result="bad", mechanism="PLAIN", login="anna", listener="smtp"
)
"""


def test_a_person_reads_postfixs_words() -> None:
    """And what those leave out."""
    (line,) = subprocess.run(
        [sys.executable, "-c", SUMMARISED], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert "warning: unknown[192.0.2.7]: SASL PLAIN authentication failed: bad" in line
    assert line.endswith("listener=smtp")


HOSTILE = """
import logging, structlog
from filterrelay.observe.log import Options, configure
configure(Options("console"))
log = structlog.get_logger()
log.info("client_named", helo="\\x1b[2J", client_name="a\\nb", login="\\x9b31m")
log.info("report_queued", message_id="X", about="", sender="", recipient_count=1, size=1,
    header_message_id="<\\x1b]0;\\x07\\n[info] forged>")
logging.getLogger("library").error("said \\x1b[2J\\nforged")
try:
    raise ValueError("odd \\x1b[2J")
except ValueError:
    log.exception("session_failed")
"""


def test_strangers_words_are_no_commands_to_a_terminal() -> None:
    """Whatever stands in mail, a name or an error: it forges no line, and no screen."""
    printed = subprocess.run(
        [sys.executable, "-c", HOSTILE], check=True, capture_output=True, text=True
    ).stdout
    named, queued, library, *failed = printed.splitlines()
    assert "?[2J" in named
    assert "message-id=<?]0;??[info] forged>" in queued
    assert "said ?[2J?forged" in library
    assert failed[-1] == "ValueError: odd ?[2J"
    assert printed.replace("\n", "").isprintable()


UNSAYABLE = """
import logging
from filterrelay.observe.log import Options, configure
configure(Options("journald"))
logging.getLogger("library").error("%d", "no number")
print("goes on")
"""


def test_a_library_that_speaks_badly_goes_on() -> None:
    """As with logging's own handlers: the fault is told on standard error."""
    done = subprocess.run(
        [sys.executable, "-c", UNSAYABLE], check=True, capture_output=True, text=True
    )
    assert done.stdout == "goes on\n"
    assert "Logging error" in done.stderr


KEYLESS = """
import structlog
from pathlib import Path
from filterrelay.observe.log import Options, configure
configure(Options("json", addresses="hashed", key_file=Path("/proc/none/log.key")))
structlog.get_logger().info("login", login="anna@x.example")
"""


def test_without_a_shared_key_addresses_are_hidden_all_the_same() -> None:
    """The log says that its hashes are this process's own."""
    trouble, login = [
        json.loads(line)
        for line in subprocess.run(
            [sys.executable, "-c", KEYLESS], check=True, capture_output=True, text=True
        ).stdout.splitlines()
    ]
    assert (trouble["event"], trouble["path"]) == ("log_key_not_kept", "/proc/none/log.key")
    assert "anna" not in login["login"]


STREAMED = """
import os, socket, sys, logging, structlog
from filterrelay.observe import journal
from filterrelay.observe.log import Options, configure
reader = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
reader.bind("socket")
journal.Journal.__init__.__defaults__ = ("socket",)
status = os.fstat(1)
os.environ["JOURNAL_STREAM"] = f"{status.st_dev}:{status.st_ino}"
configure(Options())
structlog.get_logger().info("serving", workers=2)
logging.getLogger("library").warning("said so")
for _ in range(2):
    sys.stderr.buffer.write(reader.recv(4096))
"""


def test_the_journal_is_taken_when_it_reads_the_output(tmp_path: Path) -> None:
    """With what libraries say, too; nothing goes to the output itself."""
    done = subprocess.run(
        [sys.executable, "-c", STREAMED], check=True, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stdout == ""
    assert "FILTERRELAY_WORKERS=2\n" in done.stderr
    assert "MESSAGE=said so logger=library\n" in done.stderr
