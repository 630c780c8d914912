"""The plugin `attachments`: its options, and what follows from an objection."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Annotated, Any, Literal, assert_never

from filterrelay_plugins.attachments.archives import (
    Inspection,
    Objection,
    Rules,
    is_message,
    is_plain_reading,
)
from filterrelay_plugins.attachments.kinds import CONTAINERS, EXECUTABLE, holds_zip, kind_of
from filterrelay_plugins.attachments.names import DANGEROUS, shown
from pydantic import BeforeValidator, Field

from filterrelay.plugin import (
    AddHeader,
    Duration,
    Finding,
    Message,
    Options,
    Part,
    Pass,
    Quarantine,
    Reject,
    Reply,
    Services,
    Size,
    Verdict,
    hook,
)

Action = Literal["allow", "tag", "quarantine", "reject"]

_SEVERITY: dict[Action, int] = {"allow": 0, "tag": 1, "quarantine": 2, "reject": 3}
_MOST_DETAILS = 20  # objections that the trace shows
_INLINE_OCTETS = 256 * 1024  # files up to there are looked at without a thread
_AT_ONCE = 2  # inspections in threads a process: each may hold archive_size octets
_CLEAN = Pass(Finding("clean"))


def _lowered(value: Any) -> Any:
    """Endings and types in lower case, a leading dot of an ending dropped."""
    if isinstance(value, list | tuple):
        return tuple(v.lower().removeprefix(".") if isinstance(v, str) else v for v in value)
    return value


Words = Annotated[tuple[str, ...], BeforeValidator(_lowered)]


class AttachmentsOptions(Options):
    """What `attachments` can be told."""

    blocked_extensions: Words = tuple(sorted(DANGEROUS))
    """Endings of names that aren't accepted, letter case aside; replaces the usual list."""
    allowed_extensions: Words = ()
    """Endings to accept though they are on the list."""
    blocked_types: Words = EXECUTABLE
    """Media types that aren't accepted, as declared or as found by content."""
    blocked_sha256: Words = ()
    """SHA-256 hashes of files that aren't accepted, in hexadecimal."""
    blocked: Action = "reject"
    """What becomes of mail with a file that isn't accepted."""
    disguised: Action = "reject"
    """… whose name hides what it is: `invoice.pdf.exe`, or text turned around."""
    virus: Action = "reject"
    """… that is the EICAR test virus."""
    macros: Action = "quarantine"
    """… that is an office document with macros."""
    encrypted: Action = "allow"
    """… that is in an encrypted archive, and so can't be looked at."""
    unsupported: Action = "allow"
    """… that is an archive of a kind that can't be looked into: 7z, RAR, CAB."""
    unreadable: Action = "quarantine"
    """… that is a damaged archive, in which programs may see different files."""
    beyond_limits: Action = "quarantine"
    """… that is an archive beyond the limits below (as ZIP bombs are), or nested too deeply."""
    broken: Action = "quarantine"
    """What becomes of mail whose MIME structure is broken: programs may see another file in it."""
    archive_depth: int = Field(6, ge=0, le=30)
    """How many archives deep to look."""
    archive_members: int = Field(2000, ge=1)
    """How many files in all archives of one message."""
    archive_size: Size = Field(32 * 1024**2, ge=1)
    """How many octets all archives of one message may unpack to while they are looked into;
    two messages a worker are at once, so twice that is the memory it may take."""
    time_limit: Duration = Field(timedelta(seconds=10), gt=timedelta(0))
    """How long looking into one message's archives may take."""


class Attachments:
    """Judges attached files by name and by content, and looks into archives.

    Finds programs whatever they are called, names that hide an ending, macros in
    office documents, the EICAR test virus, and archives that are encrypted or made
    to burst; ZIP, tar, gzip, bzip2 and xz are looked into. For each of these
    an option says what becomes of the mail: `allow` only notes it, `tag` adds
    the header `X-Attachment-Warning`. Its findings are `clean` or the gravest
    of what was found.
    """

    options_type = AttachmentsOptions

    def __init__(self, options: AttachmentsOptions) -> None:
        """Works out what each kind of objection leads to."""
        self._actions: dict[str, Action] = {
            "virus": options.virus,
            "blocked": options.blocked,
            "disguised": options.disguised,
            "macros": options.macros,
            "encrypted": options.encrypted,
            "unsupported": options.unsupported,
            "unreadable": options.unreadable,
            "beyond-limits": options.beyond_limits,
            "broken": options.broken,
        }
        self._rules = Rules(
            endings=frozenset(options.blocked_extensions) - frozenset(options.allowed_extensions),
            kinds=frozenset(options.blocked_types),
            hashes=frozenset(options.blocked_sha256),
            depth=options.archive_depth,
            members=options.archive_members,
            octets=options.archive_size,
        )
        self._seconds = options.time_limit.total_seconds()
        self.edits = "tag" in self._actions.values()

    @hook
    @asynccontextmanager
    async def lifespan(self, services: Services) -> AsyncIterator[None]:
        """Keeps the threads and the clock."""
        self._services = services
        self._turns = asyncio.Semaphore(_AT_ONCE)
        yield

    @hook
    async def on_message(self, message: Message) -> Verdict:
        """Looks at every part that isn't plain text for reading."""
        parts = [part for part in message.parts if not is_plain_reading(part)]
        if not parts:
            return _CLEAN
        if any(_needs_thread(part) for part in parts):
            async with self._turns:
                objections = await self._services.in_thread(self._inspect, parts)
        else:
            objections = self._inspect(parts)
        return self._verdict(objections) if objections else _CLEAN

    def _inspect(self, parts: Sequence[Part]) -> list[Objection]:
        clock = self._services.clock
        end = clock.monotonic() + self._seconds
        inspection = Inspection(self._rules, lambda: end - clock.monotonic())
        for part in parts:
            inspection.inspect(part)
        return inspection.objections

    def _gravity(self, objection: Objection) -> tuple[int, bool]:
        """What to go by: the gravest action, and of those a virus first."""
        return _SEVERITY[self._actions[objection.kind]], objection.kind == "virus"

    def _verdict(self, objections: Sequence[Objection]) -> Verdict:
        """What the gravest objection leads to; of equally grave ones the first."""
        gravest = max(objections, key=self._gravity)
        text = f"{shown(gravest.file)}: {shown(gravest.why)}"
        details = tuple((one.file, one.why) for one in objections[:_MOST_DETAILS])
        finding = Finding(gravest.kind, text, details=details)
        action = self._actions[gravest.kind]
        match action:
            case "reject":
                return Reject(Reply(550, "5.7.1", f"Attachment not accepted: {text}"), finding)
            case "quarantine":
                return Quarantine(text, finding)
            case "tag":
                warning = AddHeader("X-Attachment-Warning", f"{gravest.kind}; {text}")
                return Pass(finding, (warning,))
            case "allow":
                return Pass(finding)
            case _:
                assert_never(action)


def _needs_thread(part: Part) -> bool:
    """Whether looking at it may take longer than other sessions should wait."""
    if part.size > _INLINE_OCTETS or is_message(part):
        return True
    content = part.content
    return kind_of(content) in CONTAINERS or holds_zip(content)
