"""What the filter answers, as octets: each of these ends a command's turn, PROGRESS apart."""

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from filterrelay.errors import FilterRelayError
from filterrelay.wire.milter.codes import Action, Stage, Step

_HEAD = struct.Struct(">Ic")
_OPTIONS = struct.Struct(">III")
_STAGE = struct.Struct(">I")
_REPLY_LINE = re.compile(rb"([45])\d\d[- ](\1\.\d{1,3}\.\d{1,3}(?= |\Z))?")
_BREAK = re.compile(rb"[\r\n\0]")


@dataclass
class Unsendable(FilterRelayError):
    """The milter protocol can't say this, or the MTA doesn't take it."""

    reason: str


def packet(code: bytes, payload: bytes = b"") -> bytes:
    """One packet; code: a letter, SMFIR_*."""
    return _HEAD.pack(len(payload) + 1, code) + payload


CONTINUE = packet(b"c")
ACCEPT = packet(b"a")  # no more of this message; at Connect and Helo, of this connection
REJECT = packet(b"r")  # of the recipient at Rcpt, the connection at Connect and Helo
TEMPFAIL = packet(b"t")
DISCARD = packet(b"d")  # not at Connect and Helo
SKIP = packet(b"s")  # to Body, if Step.SKIP was granted: no more pieces, but EndOfMessage
PROGRESS = packet(b"p")  # at EndOfMessage: still at work, so the MTA goes on waiting
SHUTDOWN = packet(b"4")  # the MTA says 421 to the client and hangs up
CONN_FAIL = packet(b"f")  # Sendmail only: as if the filter couldn't be reached


def reply(smtp: bytes) -> bytes:
    """An SMTP reply of the filter's own (SMFIR_REPLYCODE).

    smtp: as a server sends it, of any number of lines, all 4yz or all 5yz. A line without an
    enhanced code of the same class gets one (RFC 2034 section 4), since the MTA would add its
    own. Percent signs are doubled: Sendmail takes the text as a format. Raises Unsendable.
    """
    lines = smtp.removesuffix(b"\r\n").split(b"\r\n")
    last = len(lines) - 1
    for number, line in enumerate(lines):
        found = _REPLY_LINE.match(line)
        wanted = b" " if number == last else b"-"
        clean = not _BREAK.search(line)
        if not (found and clean and line[:3] == lines[0][:3] and line[3:4] == wanted):
            raise Unsendable(f"no reply of a refusal: {line[:80]!r}")
        if not found[2]:
            lines[number] = b"%b%b.0.0 %b" % (line[:4], line[:1], line[4:])
    return packet(b"y", b"\r\n".join(lines).replace(b"%", b"%%") + b"\0")


def negotiation(
    version: int, actions: Action, steps: Step, macros: Mapping[Stage, tuple[bytes, ...]]
) -> bytes:
    """The answer to SMFIC_OPTNEG; macros: those wanted at a stage, names without braces."""
    lists = [
        _STAGE.pack(stage) + b" ".join(_symbol(name) for name in names) + b"\0"
        for stage, names in macros.items()
    ]
    return packet(b"O", _OPTIONS.pack(version, actions, steps) + b"".join(lists))


def _symbol(name: bytes) -> bytes:
    return name if len(name) == 1 else b"{%b}" % name
