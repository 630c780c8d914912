"""The mail log's file, and the system's log."""

import errno
import os
import re
import socket
import stat
import time
from multiprocessing import get_context
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from filterrelay.observe import mail_log as module
from filterrelay.observe.mail_log import LogFile, SystemLog, mail_log, why_unwritable

REMOVED = {"event": "removed", "message_id": "06FZZZZZZZZZZZZZZ"}
LINE = re.compile(r"[A-Z][a-z]{2} [ 1-3]\d \d\d:\d\d:\d\d \S+ filterrelay/qmgr\[(\d+)\]: (.*)")


@pytest.fixture(autouse=True)
def looks_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A moved file is noticed with the next line."""
    monkeypatch.setattr(module, "LOOK_EVERY", 0.0)


def test_lines_are_as_syslog_writes_them(tmp_path: Path) -> None:
    """For the relay and its group to read."""
    file = tmp_path / "mail.log"
    log = mail_log(str(file))
    assert log(None, "debug", REMOVED) is REMOVED
    assert log(None, "info", {"event": "serving"}) == {"event": "serving"}
    (line,) = file.read_text().splitlines()
    found = LINE.fullmatch(line)
    assert found is not None
    assert found.groups() == (str(os.getpid()), "06FZZZZZZZZZZZZZZ: removed")
    assert stat.S_IMODE(file.stat().st_mode) == 0o640 & ~_umask()


def _umask() -> int:
    mask = os.umask(0o77)
    os.umask(mask)
    return mask


def test_no_word_begins_a_line_of_its_own(tmp_path: Path) -> None:
    """A client that names itself with a line end forges nothing."""
    file = tmp_path / "mail.log"
    LogFile(file).write([("smtpd", "helo=<x\nNov  1 …\x1b[2J\udcff>")])
    assert file.read_text().count("\n") == 1
    assert file.read_text().endswith("helo=<x?Nov  1 …?[2J?>\n")


def test_a_file_that_was_moved_is_left(tmp_path: Path) -> None:
    """As logrotate does it, without a signal."""
    file = tmp_path / "mail.log"
    log = LogFile(file)
    log.write([("qmgr", "one")])
    file.rename(tmp_path / "mail.log.1")
    log.write([("qmgr", "two")])
    assert "one" in (tmp_path / "mail.log.1").read_text()
    assert "one" not in file.read_text()
    assert "two" in file.read_text()


def test_between_two_looks_nothing_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is logged many times a second doesn't ask each time."""
    monkeypatch.setattr(module, "LOOK_EVERY", 3600.0)
    file = tmp_path / "mail.log"
    log = LogFile(file)
    log._looked = time.monotonic()
    log.write([("qmgr", "one")])
    file.unlink()
    log.write([("qmgr", "two")])
    assert not file.exists()


def _write(file: Path) -> None:
    log = LogFile(file)
    for number in range(500):
        log.write([("qmgr", f"{number:0>200}"), ("qmgr", "second")])


def test_several_processes_write_whole_lines(tmp_path: Path) -> None:
    """Each of them appends, and none cuts into another's."""
    file = tmp_path / "mail.log"
    processes = [get_context("fork").Process(target=_write, args=(file,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    lines = file.read_text().splitlines()
    assert len(lines) == 4000
    assert all(map(LINE.fullmatch, lines))


def test_a_full_disk_loses_lines_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that was cut off is ended before the next one; how many are missing is told."""
    file = tmp_path / "mail.log"
    log = mail_log(str(file))
    full = True
    write = os.write

    def writing(descriptor: int, octets: bytes) -> int:
        if not full:
            return write(descriptor, octets)
        if not file.read_bytes():
            return write(descriptor, octets[:20])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", writing)
    with capture_logs() as logs:
        for _ in range(3):
            log(None, "debug", REMOVED)
        full = False
        log(None, "debug", REMOVED)
        log(None, "debug", REMOVED)
    assert [line["event"] for line in logs] == ["mail_log_not_written", "mail_log_written_again"]
    assert logs[0]["reason"] == "No space left on device"
    assert logs[1]["lines"] == 3
    torn, *whole = file.read_text().splitlines()
    assert len(torn) == 20
    assert len(whole) == 2
    assert all(map(LINE.fullmatch, whole))


def test_a_folder_that_is_not_there_stops_nothing(tmp_path: Path) -> None:
    """Once it is there, the lines are, too."""
    file = tmp_path / "folder" / "mail.log"
    log = mail_log(str(file))
    with capture_logs() as logs:
        log(None, "debug", REMOVED)
        file.parent.mkdir()
        log(None, "debug", REMOVED)
    assert [line["event"] for line in logs] == ["mail_log_not_written", "mail_log_written_again"]
    assert file.read_text().count("\n") == 1


def test_the_systems_log_gets_them_as_mail(tmp_path: Path) -> None:
    """Facility mail, severity info; a reader that is gone or slow is no trouble."""
    device = tmp_path / "log"
    log = SystemLog(str(device))
    with pytest.raises(FileNotFoundError):
        log.write([("qmgr", "lost")])
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reader:
        reader.bind(str(device))
        log.write([("qmgr", "X: removed")])
        line = reader.recv(4096).decode()
        assert re.fullmatch(r"<22>... .. ..:..:.. filterrelay/qmgr\[\d+\]: X: removed", line)
        with pytest.raises(BlockingIOError):
            log.write([("qmgr", "X: removed")] * 5000)
    log.close()


def test_what_keeps_it_from_writing_is_known_before(tmp_path: Path) -> None:
    """And finding out leaves no file behind."""
    file = tmp_path / "mail.log"
    assert why_unwritable(str(tmp_path / "folder" / "mail.log")) == "No such file or directory"
    assert why_unwritable(str(tmp_path)) == "Is a directory"
    assert why_unwritable(str(file)) == ""
    assert not file.exists()
    file.write_text("one\n")
    assert why_unwritable(str(file)) == ""
    assert file.read_text() == "one\n"


def test_a_folder_of_somebody_else_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the user who would have to be let in, who isn't root."""
    monkeypatch.setattr(os, "access", lambda at, mode: Path(at).exists() and not mode & os.W_OK)
    assert f"can't write to {tmp_path}" in why_unwritable(str(tmp_path / "mail.log"))


def test_a_system_without_a_log_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a container is, mostly."""
    device = tmp_path / "log"
    monkeypatch.setattr(module, "SystemLog", lambda: SystemLog(str(device)))
    assert why_unwritable("syslog") == "No such file or directory"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reader:
        reader.bind(str(device))
        assert why_unwritable("syslog") == ""
