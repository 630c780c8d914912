"""Stored mail: single messages, mbox files, Maildirs and folders of them."""

import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import typer

from filterrelay.errors import FilterRelayError
from filterrelay.mail.message import Message

MAX_MESSAGE = 64 * 1024 * 1024  # octets kept of one message in an mbox

# RFC 4155: a line that begins a message ends in a date in the manner of asctime.
_FROM_LINE = re.compile(rb"From .*\d\d:\d\d.*\d{4}\s*\Z")


STANDARD_INPUT = Path("-")
_USUAL = ("from", "date", "subject", "to", "message-id", "received")  # of one, a message has some


class BadFile(FilterRelayError):
    """The file isn't what it should be."""


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """One message, and how many octets of its file were read for it."""

    message: Message
    octets: int


def is_message(message: Message) -> bool:
    """Whether it has a field that mail has, and isn't just any text."""
    return any(message.all(name) for name in _USUAL)


def must_exist(paths: list[Path]) -> list[Path]:
    """The paths, if each is there or stands for standard input; else wrong usage."""
    for path in paths:
        if path != STANDARD_INPUT and not path.exists():
            raise typer.BadParameter(f"there is no file {path}")
    return paths


def must_be_files(paths: list[Path]) -> list[Path]:
    """The paths, if each is a file or stands for standard input; else wrong usage."""
    for path in must_exist(paths):
        if path.is_dir():
            raise typer.BadParameter(f"{path} is a folder")
    return paths


@contextmanager
def with_standard_input(paths: Iterable[Path]) -> Iterator[list[Path]]:
    """The paths, with what comes on standard input as a file in the place of `-`."""
    given = list(paths)
    if STANDARD_INPUT not in given:
        yield given
        return
    with TemporaryDirectory() as directory:
        copy = Path(directory) / "standard-input"
        copy.write_bytes(sys.stdin.buffer.read())
        yield [copy if path == STANDARD_INPUT else path for path in given]


def mail_files(paths: Iterable[Path]) -> list[Path]:
    """The files to read: of a Maildir those in new and cur, of another folder all below it.

    Names that begin with a dot are left out: Maildir keeps subfolders and its own notes there.
    """
    files: list[Path] = []
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        boxes = [path / name for name in ("new", "cur") if (path / name).is_dir()] or [path]
        for box in boxes:
            found = (file for file in box.rglob("*") if file.is_file())
            files += sorted(f for f in found if not _is_hidden(f.relative_to(box)))
    return files


def stored_messages(files: Iterable[Path]) -> Iterator[StoredMessage]:
    """The messages of all files in order, one in memory at a time; empty ones are left out."""
    for file in files:
        for number, lines in enumerate(_split(file)):
            octets = sum(map(len, lines))
            if octets > 1 and _FROM_LINE.match(lines[0]):
                del lines[0]
            content = b"".join(lines)
            if content.strip():
                yield StoredMessage(Message.stored(f"{file.name}:{number + 1}", content), octets)


def _split(file: Path) -> Iterator[list[bytes]]:
    """The lines of each message: an mbox begins with a From_ line, and each message in it."""
    lines: list[bytes] = []
    kept = 0
    is_mbox = blank = False
    with file.open("rb") as opened:
        for line in opened:
            if not lines and not is_mbox:
                is_mbox = bool(_FROM_LINE.match(line))
            elif is_mbox and blank and line.startswith(b"From ") and _FROM_LINE.match(line):
                yield lines
                lines, kept = [], 0
            blank = line in (b"\n", b"\r\n")
            kept += len(line)
            if kept <= MAX_MESSAGE:
                lines.append(line)
    if lines:
        yield lines


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
