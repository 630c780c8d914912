"""What a plugin wants done with a message. A closed union: match it to the end."""

from dataclasses import dataclass

from filterrelay.mail.edits import Edit
from filterrelay.mail.finding import Finding
from filterrelay.mail.reply import Reply


@dataclass(frozen=True, slots=True)
class Pass:
    """Go on, with these edits."""

    finding: Finding | None = None
    edits: tuple[Edit, ...] = ()


@dataclass(frozen=True, slots=True)
class Reject:
    """Refuse for good: the client gets this 5xx reply."""

    reply: Reply
    finding: Finding | None = None


@dataclass(frozen=True, slots=True)
class Defer:
    """Refuse for now: the client gets this 4xx reply and tries again."""

    reply: Reply
    finding: Finding | None = None


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Accept, and set aside for a person to look at."""

    reason: str
    finding: Finding | None = None


@dataclass(frozen=True, slots=True)
class Discard:
    """Accept, and throw away without a word to the sender."""

    reason: str
    finding: Finding | None = None


Verdict = Pass | Reject | Defer | Quarantine | Discard


def name_of(verdict: Verdict) -> str:
    """The verdict's name in traces and metrics: `pass`, `reject`, …"""
    return type(verdict).__name__.lower()
