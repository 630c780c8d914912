"""What a process notes beside its series: top lists, and a message for each bucket.

prometheus_client's files hold numbers alone, so each process keeps these in a file of
its own beside them, written anew every few seconds.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import structlog

from filterrelay.mail.address import ascii_domain
from filterrelay.observe.exemplars import Exemplars
from filterrelay.observe.top import Top

SAVE_EVERY = 2.0  # seconds
_REFUSING = ("reject", "defer")  # verdicts
_READABLE = (ValueError, TypeError, LookupError, AttributeError)  # what odd content raises

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Notes:
    """Those of one process, or the sum of several.

    logins: messages by login. destinations: recipients attempted by domain. accepted:
    of the time to the reply, by listener. delivered: of that to delivery, by upstream.
    """

    logins: Top
    destinations: Top
    accepted: Exemplars
    delivered: Exemplars
    changed: bool = False

    def message(self, login: str, verdict: str, at: datetime) -> None:
        """A message was answered. login: empty, and not counted, without one."""
        if login:
            outcome = "refused" if verdict in _REFUSING else "accepted"
            self.logins.count(login, outcome, at)
        self.changed = True

    def recipient(self, domain: str, result: str, at: datetime) -> None:
        """A recipient was attempted. domain: of the address."""
        self.destinations.count(ascii_domain(domain) or domain.lower(), result, at)
        self.changed = True

    def text(self) -> str:
        """As JSON: 64 KiB and a millisecond where every list is full."""
        return json.dumps([part.facts() for part in self._parts()], separators=(",", ":"))

    def learn(self, text: str) -> None:
        """Adds what another's `text` gave. Raises ValueError when it isn't of that form."""
        try:
            for part, facts in zip(self._parts(), json.loads(text), strict=True):
                part.learn(facts)
        except _READABLE as error:
            raise ValueError(f"these are no notes: {error}") from error

    def trim(self) -> None:
        """Drops what goes beyond the bounds of one process's."""
        self.logins.trim()
        self.destinations.trim()

    def _parts(self) -> tuple[Top | Exemplars, ...]:
        return self.logins, self.destinations, self.accepted, self.delivered

    def learn_from(self, file: Path) -> None:
        """Adds what a file holds, if it is there and whole."""
        try:
            self.learn(file.read_text())
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            log.warning("notes_not_read", path=str(file), reason=str(error))


def notes_file(directory: Path, process: str) -> Path:
    """Where the process of that name keeps its notes."""
    return directory / f"notes_{process}.json"


def notes_files(directory: Path) -> Iterator[Path]:
    """Those of all processes."""
    return directory.glob(notes_file(directory, "*").name)


def half_written(file: Path) -> Path:
    """Where notes are written before they take the file's place."""
    return file.with_suffix(".new")


def save(file: Path, text: str) -> None:
    """Puts the text in the file's place, all at once; it belongs to the folder's owner.

    Raises OSError.
    """
    beside, owner = half_written(file), file.parent.stat()
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(beside, flags, 0o600), "w") as new:
        os.fchown(new.fileno(), owner.st_uid, owner.st_gid)
        new.write(text)
    beside.replace(file)


@asynccontextmanager
async def kept(notes: Notes, file: Path) -> AsyncIterator[None]:
    """Saves the notes within: every few seconds when something was added, and at the end."""
    ended = asyncio.Event()
    keeping = asyncio.create_task(_keep(notes, file, ended))
    try:
        yield
    finally:
        ended.set()
        await keeping


async def _keep(notes: Notes, file: Path, ended: asyncio.Event) -> None:
    """A disk that is full costs no more than what is told of the last hour."""
    over = False
    while not over:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SAVE_EVERY):
                await ended.wait()
        over = ended.is_set()  # what comes while the last but one is saved is saved, too
        if notes.changed:
            notes.changed = False
            with contextlib.suppress(OSError):
                await asyncio.to_thread(save, file, notes.text())
