"""systemd's journal, by its native protocol: each field of an event is one to search for.

https://systemd.io/JOURNAL_NATIVE_PROTOCOL/
"""

import errno
import fcntl
import json
import os
import re
import socket
import struct
from array import array
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

import structlog

from filterrelay.observe.summary import summary

SOCKET = "/run/systemd/journal/socket"
PREFIX = "FILTERRELAY_"
_IDENTIFIER = "filterrelay"
_PRIORITIES = {"critical": 2, "error": 3, "warning": 4, "info": 6, "debug": 7}  # syslog(3)
_OF_ITS_OWN = ("at", "level")  # what the journal has under names of its own
_NOT_IN_NAMES = re.compile(r"[^A-Z0-9_]")
_LONGEST_NAME = 64 - len(PREFIX)  # characters
_TOO_LARGE = (errno.EMSGSIZE, errno.ENOBUFS)  # for a datagram
_BUFFER = 8 * 1024**2  # octets that may wait to be read, as libsystemd has it
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE

log = structlog.get_logger(__name__)


def is_the_output(environ: Mapping[str, str], *descriptors: int) -> bool:
    """Whether the journal reads one of these, by systemd's word (systemd.exec(5))."""
    device, _, inode = environ.get("JOURNAL_STREAM", "").partition(":")
    for descriptor in descriptors:
        try:
            status = os.fstat(descriptor)
        except OSError:
            continue
        if (device, inode) == (str(status.st_dev), str(status.st_ino)):
            return True
    return False


def rendered(logger: Any, method: str, event: MutableMapping[str, Any]) -> bytes:
    """The last processor: the event as the journal reads it."""
    parts = [
        _entry("MESSAGE", _sentence(event)),
        _entry("PRIORITY", str(_PRIORITIES.get(event.get("level", ""), 6))),
        _entry("SYSLOG_IDENTIFIER", _IDENTIFIER),
    ]
    for name, value in event.items():
        if name not in _OF_ITS_OWN:
            field = _NOT_IN_NAMES.sub("_", name.upper())[:_LONGEST_NAME]
            parts += [_entry(PREFIX + field, text) for text in _texts(value)]
    return b"".join(parts)


def _sentence(event: Mapping[str, Any]) -> str:
    """What a person reads."""
    told = summary(event)
    if told is not None:
        return str(told)
    details = [
        f" {name}={' '.join(_texts(value))}"
        for name, value in event.items()
        if name not in ("event", "exception", *_OF_ITS_OWN) and value not in ("", None)
    ]
    exception = event.get("exception")
    return f"{event['event']}{''.join(details)}" + (f"\n{exception}" if exception else "")


def _texts(value: Any) -> Iterator[str]:
    """A field's values; a list's are one each, so that any of them can be searched for."""
    match value:
        case None:
            return
        case str():
            yield value
        case list() | tuple():
            for each in value:
                yield from _texts(each)
        case bool() | dict():
            yield json.dumps(value, default=str)
        case _:
            yield str(value)


def _entry(name: str, value: str) -> bytes:
    """One field; a value of several lines has its length before it."""
    octets = value.encode("utf-8", "backslashreplace")
    if b"\n" in octets:
        return b"%b\n%b%b\n" % (name.encode(), struct.pack("<Q", len(octets)), octets)
    return b"%b=%b\n" % (name.encode(), octets)


class Journal:
    """A logger that sends to the journal, and never waits for it nor fails with it.

    What it doesn't take is lost, and counted; once it takes lines again it is told.
    """

    def __init__(self, address: str = SOCKET) -> None:
        self._address = address
        self._lost = 0
        self._socket = socket.socket(
            socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        )
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)

    def msg(self, entry: bytes) -> None:
        """Sends one entry, or loses it."""
        try:
            self._send(entry)
        except OSError:
            self._lost += 1
            return
        if self._lost:
            lost, self._lost = self._lost, 0
            log.warning("log_lines_lost", lines=lost)
            if self._lost:  # nor was that taken
                self._lost += lost

    debug = info = warning = error = critical = exception = msg

    def close(self) -> None:
        """Sends nothing more."""
        self._socket.close()

    def _send(self, entry: bytes) -> None:
        try:
            self._socket.sendto(entry, self._address)
        except OSError as error:
            if error.errno not in _TOO_LARGE:
                raise
            self._send_file(entry)

    def _send_file(self, entry: bytes) -> None:
        """Hands over a sealed file in memory with the entry in it."""
        file = os.memfd_create(_IDENTIFIER, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            with os.fdopen(os.dup(file), "wb") as output:
                output.write(entry)
            fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SEALS)
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [file]))
            self._socket.sendmsg([], [rights], 0, self._address)
        finally:
            os.close(file)
