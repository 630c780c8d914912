"""The mail log: Postfix-like lines in a file or to the system's log, for tools that count them."""

import contextlib
import errno
import os
import socket
import time
from collections.abc import Iterable, MutableMapping
from pathlib import Path
from typing import Any, Protocol

import structlog

from filterrelay.errors import why_unreadable
from filterrelay.mail.printable import printable
from filterrelay.observe.summary import Said, summary

SYSLOG = "syslog"  # what stands in the file in place of a path
LOOK_EVERY = 1.0  # seconds between looks whether the file was moved away
_NAME = "filterrelay"
_PRIORITY = 2 << 3 | 6  # facility mail, severity info: RFC 5424 section 6.2.1
_DEVICE = "/dev/log"
_APPENDING = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK

log = structlog.get_logger(__name__)


class Target(Protocol):
    """Where the lines go."""

    def write(self, lines: Iterable[Said]) -> None:
        """Writes all of them. Raises OSError."""


class LogFile:
    """A file that others write to and move away as well."""

    def __init__(self, path: Path) -> None:
        """Opens nothing yet: who does shall be the relay's own user."""
        self._path = path
        self._host = socket.gethostname().partition(".")[0]
        self._descriptor = -1
        self._looked = 0.0
        self._torn = False

    def write(self, lines: Iterable[Said]) -> None:
        """Appends them, in one go. Raises OSError."""
        begin = f"{_now()} {self._host} {_NAME}/"
        end = f"[{os.getpid()}]"
        text = "".join([f"{begin}{_line(process, end, words)}\n" for process, words in lines])
        octets = text.encode("utf-8", "backslashreplace")
        self._open()
        if self._torn:
            octets = b"\n" + octets
        written = os.write(self._descriptor, octets)
        self._torn = written < len(octets) and octets[written - 1 : written] != b"\n"
        if written < len(octets):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _open(self) -> None:
        """Opens it for the first time, and when another file, or none, has its name now."""
        if self._descriptor >= 0:
            now = time.monotonic()
            if now - self._looked < LOOK_EVERY:
                return
            self._looked = now
            if self._is_there():
                return
            self.close()
        self._descriptor = os.open(self._path, _APPENDING | os.O_CREAT, 0o640)
        self._torn = False

    def _is_there(self) -> bool:
        with contextlib.suppress(OSError):
            return os.path.samestat(self._path.stat(), os.fstat(self._descriptor))
        return False

    def close(self) -> None:
        """Opens it anew with the next line."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class SystemLog:
    """The system's log, as every program on it is heard (RFC 3164 section 4.1, without a host)."""

    def __init__(self, device: str = _DEVICE) -> None:
        self._device = device
        self._socket = socket.socket(
            socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        )

    def write(self, lines: Iterable[Said]) -> None:
        """Sends each. Raises OSError, of a reader that is slow, too."""
        begin, end = f"<{_PRIORITY}>{_now()} {_NAME}/", f"[{os.getpid()}]"
        for process, words in lines:
            line = f"{begin}{_line(process, end, words)}"
            self._socket.sendto(line.encode("utf-8", "backslashreplace"), self._device)

    def connect(self) -> None:
        """Finds out whether anybody hears. Raises OSError."""
        self._socket.connect(self._device)

    def close(self) -> None:
        """Sends nothing more."""
        self._socket.close()


class MailLog:
    """A processor that writes what there is to say in Postfix's words, and passes all on.

    What can't be written is lost, and counted: a log must not stop the mail.
    """

    def __init__(self, where: str, target: Target) -> None:
        self._where = where
        self._target = target
        self._lost = 0  # events

    def __call__(
        self, logger: Any, method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """The event as it was."""
        told = summary(event)
        if told is None:
            return event
        try:
            self._target.write(told.lines())
        except OSError as error:
            self._lost += 1
            if self._lost == 1:
                log.error(
                    "mail_log_not_written", path=self._where, reason=error.strerror or str(error)
                )
        else:
            if self._lost:
                lost, self._lost = self._lost, 0
                log.warning("mail_log_written_again", path=self._where, lines=lost)
        return event


def why_unwritable(where: str) -> str:
    """What keeps this process from writing there, or empty; no file is made for it."""
    path = Path(where)
    try:
        if where == SYSLOG:
            with contextlib.closing(SystemLog()) as target:
                target.connect()
        elif os.access(path, os.F_OK):
            os.close(os.open(path, _APPENDING))
        elif not os.access(path.parent, os.W_OK | os.X_OK):
            path.parent.stat()
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    except OSError as error:
        return why_unreadable(error)
    return ""


def mail_log(where: str) -> MailLog:
    """The one that the configuration names. where: a path, or `syslog`."""
    return MailLog(where, SystemLog() if where == SYSLOG else LogFile(Path(where)))


def _line(process: str, end: str, words: str) -> str:
    return f"{process}{end}: {printable(words, '?')}"


def _now() -> str:
    """The local time as syslog has it: `Nov  6 04:18:53`."""
    return time.strftime("%b %e %H:%M:%S")
