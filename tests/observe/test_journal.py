"""The journal's native protocol, against a reader that follows its description."""

import array
import fcntl
import os
import socket
import struct
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_mock import MockerFixture
from structlog.testing import capture_logs

from filterrelay.observe.journal import Journal, is_the_output, rendered

DELIVERED = {
    "event": "delivered",
    "level": "info",
    "at": "2026-01-01T00:00:00Z",
    "message_id": "06FZZZZZZZZZZZZZZ",
    "sender": "",
    "recipients": ["bob@partner.example", "carl@partner.example"],
    "upstream": "provider",
    "host": "mx:25",
    "address": "192.0.2.9:25",
    "tls": "none",
    "reply": "250 2.0.0 OK",
    "delay": 1.5,
    "delays": {"queue": 1.0, "connection": 0.5, "transaction": 0.0},
    "door": "smtp",
}


def parsed(entry: bytes) -> dict[str, list[str]]:
    """The fields of an entry, as https://systemd.io/JOURNAL_NATIVE_PROTOCOL/ says."""
    fields: dict[str, list[str]] = defaultdict(list)
    while entry:
        line, _, entry = entry.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (length,) = struct.unpack_from("<Q", entry)
            value, entry = entry[8 : 8 + length], entry[8 + length :]
            assert entry[:1] == b"\n"
            entry = entry[1:]
        assert name.replace(b"_", b"").isalnum()
        assert name == name.upper()
        fields[name.decode()].append(value.decode())
    return fields


class Reader:
    """A socket like journald's, and what writes to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(5)
        self.journal = Journal(str(path))

    def read(self) -> dict[str, list[str]]:
        """The next entry; a large one comes as a sealed file."""
        data, ancillary, _, _ = self.socket.recvmsg(2**20, socket.CMSG_SPACE(4))
        if not ancillary:
            return parsed(data)
        (file,) = array.array("i", ancillary[0][2])
        try:
            assert data == b""
            seals = fcntl.fcntl(file, fcntl.F_GET_SEALS)
            assert seals == 15, "shrink, grow, write and seal"
            return parsed(os.pread(file, os.fstat(file).st_size, 0))
        finally:
            os.close(file)

    def close(self) -> None:
        """Both."""
        self.socket.close()
        self.journal.close()


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """Somebody who listens."""
    listening = Reader(tmp_path / "socket")
    yield listening
    listening.close()


def test_each_field_can_be_searched_for(reader: Reader) -> None:
    """A message by its ID or any recipient; what a person reads is Postfix's summary."""
    reader.journal.msg(rendered(None, "info", dict(DELIVERED)))
    entry = reader.read()
    assert entry["FILTERRELAY_EVENT"] == ["delivered"]
    assert entry["FILTERRELAY_MESSAGE_ID"] == ["06FZZZZZZZZZZZZZZ"]
    assert entry["FILTERRELAY_RECIPIENTS"] == DELIVERED["recipients"]
    assert entry["FILTERRELAY_DELAY"] == ["1.5"]
    assert entry["PRIORITY"] == ["6"]
    assert entry["SYSLOG_IDENTIFIER"] == ["filterrelay"]
    assert "FILTERRELAY_AT" not in entry
    (sentence,) = entry["MESSAGE"]
    assert sentence.startswith("06FZZZZZZZZZZZZZZ: to=<bob@partner.example>, to=<carl@partner")
    assert sentence.endswith("status=sent (250 2.0.0 OK)")


def test_other_events_are_told_with_their_fields(reader: Reader) -> None:
    """And a traceback behind them, line by line."""
    event = {
        "event": "plugin_failed",
        "level": "error",
        "at": "now",
        "plugin": "mine",
        "odd näme": "x",
        "nothing": None,
        "shadow": True,
        "exception": "Traceback:\n  here\nValueError: \udcff",
    }
    reader.journal.error(rendered(None, "error", event))
    entry = reader.read()
    assert entry["PRIORITY"] == ["3"]
    assert entry["MESSAGE"][0].startswith("plugin_failed plugin=mine odd näme=x shadow=true\nTrace")
    assert entry["FILTERRELAY_EXCEPTION"] == ["Traceback:\n  here\nValueError: \\udcff"]
    assert entry["FILTERRELAY_ODD_N_ME"] == ["x"]
    assert "FILTERRELAY_NOTHING" not in entry


def test_a_field_can_not_forge_another(reader: Reader) -> None:
    """A line end in a value is part of it."""
    event = {"event": "refused", "level": "info", "reason": "x\nPRIORITY=0\nMESSAGE=all is well"}
    reader.journal.msg(rendered(None, "info", event))
    entry = reader.read()
    assert entry["PRIORITY"] == ["6"]
    assert len(entry["MESSAGE"]) == 1


def test_what_is_too_large_for_a_datagram_is_handed_over(reader: Reader) -> None:
    """As a file that nobody can change any more."""
    text = "line\n" * 2_000_000
    reader.journal.msg(rendered(None, "error", {"event": "x", "exception": text}))
    assert reader.read()["FILTERRELAY_EXCEPTION"] == [text]


def test_a_journal_that_is_gone_or_slow_stops_nothing(tmp_path: Path) -> None:
    """The lines are lost, and when they aren't any more, that is said once."""
    journal = Journal(str(tmp_path / "socket"))
    entry = rendered(None, "info", {"event": "x"})
    journal.msg(entry)
    reader = Reader(tmp_path / "socket")
    with capture_logs() as logs:
        journal.msg(entry)
        assert logs == [{"event": "log_lines_lost", "lines": 1, "log_level": "warning"}]
        for _ in range(5000):  # more than a socket holds
            journal.msg(entry)
        held = 0
        reader.socket.setblocking(False)
        while True:
            try:
                reader.read()
            except BlockingIOError:
                break
            held += 1
        assert held < 5000
        journal.msg(entry)
        assert logs[1:] == [
            {"event": "log_lines_lost", "lines": 5001 - held, "log_level": "warning"}
        ]
    reader.close()
    journal.close()


def test_the_count_of_lost_lines_is_not_lost(reader: Reader, mocker: MockerFixture) -> None:
    """Where the line that tells it isn't taken, the next one does."""
    told = mocker.patch("filterrelay.observe.journal.log")
    gone = Journal("/nowhere")
    entry = rendered(None, "info", {"event": "x"})
    for _ in range(3):
        gone.msg(entry)

    def not_taken(event: str, lines: int) -> None:
        gone._address = "/nowhere"
        gone.msg(entry)

    told.warning.side_effect = not_taken
    for _ in range(2):
        gone._address = str(reader.path)
        gone.msg(entry)
    assert [call.kwargs["lines"] for call in told.warning.call_args_list] == [3, 4]
    gone.close()


def test_the_journal_is_known_by_its_stream(tmp_path: Path) -> None:
    """systemd says which stream it reads, for a process may have sent its output elsewhere."""
    with (tmp_path / "stream").open("w") as stream:
        status = os.fstat(stream.fileno())
        environ = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert is_the_output(environ, stream.fileno())
        assert not is_the_output({}, stream.fileno())
        assert not is_the_output({"JOURNAL_STREAM": f"{status.st_dev}:1"}, stream.fileno())
    assert not is_the_output(environ, 1_000_000)
