"""A clamd of our own that knows two signatures: EICAR, and one written for these tests."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .process import LOOPBACK, Process, free_port, wait_until, workplace

# The industry's harmless test file (eicar.org), in two pieces so that no scanner stops this file.
EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
HAND_MADE = b"filterrelay hand-made signature 7f3c"
HAND_MADE_NAME = "Filterrelay.Test.HandMade"

_CONFIGURATION = """\
Foreground yes
DatabaseDirectory {home}/signatures
LocalSocket {home}/clamd.sock
LocalSocketMode 666
TCPSocket {port}
TCPAddr {loopback}
LogFile {home}/clamd.log
LogTime yes
StreamMaxLength 60M
MaxFileSize 60M
MaxScanSize 100M
SelfCheck 0
TemporaryDirectory {home}
"""


@dataclass
class Clamd:
    """A running clamd. socket and port lead to the same daemon."""

    directory: Path
    socket: Path
    port: int
    process: Process = field(repr=False)

    def log(self) -> str:
        """What it has logged so far."""
        return (self.directory / "clamd.log").read_text(errors="replace")

    def start(self) -> None:
        """Starts it again after stop()."""
        self.process = _start(self.directory, self.port)

    def stop(self) -> None:
        """Ends it; its socket refuses connections until start()."""
        self.process.kill_group()
        self.socket.unlink(missing_ok=True)


def _start(home: Path, port: int) -> Process:
    process = Process(["clamd", "-c", str(home / "clamd.conf")], home / "start.log")
    process.wait_for_port(port)
    wait_until((home / "clamd.sock").exists, "clamd's socket")
    return process


def _write_signatures(folder: Path) -> None:
    folder.mkdir()
    digest = hashlib.md5(EICAR, usedforsecurity=False).hexdigest()
    (folder / "test.hdb").write_text(f"{digest}:{len(EICAR)}:Eicar-Test-Signature\n")
    # Name, target 0 (any file), offset * (anywhere), the octets in hexadecimal.
    (folder / "test.ndb").write_text(f"{HAND_MADE_NAME}:0:*:{HAND_MADE.hex()}\n")


@contextmanager
def run_clamd() -> Iterator[Clamd]:
    """clamd on a Unix socket and a TCP port."""
    with workplace("clamd") as home:
        port = free_port()
        _write_signatures(home / "signatures")
        (home / "clamd.conf").write_text(
            _CONFIGURATION.format(home=home, port=port, loopback=LOOPBACK)
        )
        clamd = Clamd(home, home / "clamd.sock", port, _start(home, port))
        try:
            yield clamd
        finally:
            clamd.process.kill_group()
