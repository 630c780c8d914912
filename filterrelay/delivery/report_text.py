"""What reports say to people who don't run mail servers, in their language.

A language is one file beside this one, `report_en.toml`.
"""

import textwrap
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from typing import Any

_WIDTH = 72  # columns
_UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Reason:
    """What a status code means: why, and what the sender can do."""

    why: str
    advice: str


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of report: its subject, the sentence before the addresses, and the one behind."""

    subject: str
    what: str
    then: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A language's texts. reasons: by enhanced status code (RFC 3463) without its first digit."""

    language: str
    texts: Mapping[str, str]
    months: Sequence[str]
    kinds: Mapping[str, Kind]
    reasons: Mapping[str, Reason]

    def date(self, moment: datetime) -> str:
        """The time as people write it; moment is in UTC."""
        return self.texts["date"].format(
            day=moment.day,
            month=self.months[moment.month - 1],
            year=moment.year,
            time=f"{moment:%H:%M}",
        )

    def reason(self, status: str) -> Reason | None:
        """The most exact one for the status code, None when there is none."""
        detail = status.partition(".")[2]
        return self.reasons.get(detail) or self.reasons.get(detail.partition(".")[0])

    def reason_of(self, causes: Sequence[str]) -> Reason:
        """The whole reason; the last cause that is known says what to do."""
        known = [*dict.fromkeys(filter(None, map(self.reason, causes)))]
        if not known:
            return self.reasons[_UNKNOWN]
        return Reason(" ".join(reason.why for reason in known), known[-1].advice)


def catalogue(language: str) -> Catalogue:
    """The texts of that language."""
    file = resources.files("filterrelay.delivery") / f"report_{language}.toml"
    found: dict[str, Any] = tomllib.loads(file.read_text("utf-8"))
    return Catalogue(
        language,
        {key: value for key, value in found.items() if isinstance(value, str)},
        found["months"],
        {
            key: Kind(**value)
            for key, value in found.items()
            if isinstance(value, dict) and key != "reasons"
        },
        {key: Reason(**value) for key, value in found["reasons"].items()},
    )


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of the mail for one recipient.

    causes: status codes, the one that says least first. words: a server's own, host's, or
    ours when that is empty.
    """

    address: str
    causes: Sequence[str]
    host: str
    words: str


@dataclass(frozen=True, slots=True)
class About:
    """The message that a report is about. title: its subject, may be empty."""

    id: str
    title: str
    sent: datetime
    until: datetime | None = None


def text_of(
    speech: Catalogue, kind: str, hostname: str, about: About, fates: Sequence[Fate]
) -> str:
    """The whole text: what happened, to whom, why, what to do, and the servers' words last."""
    date = speech.date(about.sent)
    named = speech.texts["message" if about.title else "unnamed"]
    message = named.format(subject=about.title, date=date)
    until = speech.date(about.until) if about.until else ""
    success = kind in ("relayed", "delivered")
    form = speech.kinds[kind]
    paragraphs = [
        _wrapped(speech.texts["greeting"].format(hostname=hostname)),
        _wrapped(form.what.format(message=message, date=date)),
        *_listed(speech, fates, why=not success, advice=kind == "failed"),
        _wrapped(form.then.format(until=until)),
    ]
    if not success:
        paragraphs += [
            _wrapped(speech.texts["known_as"].format(id=about.id)),
            _wrapped(speech.texts["said"]),
            *_quoted(speech, fates),
        ]
    return "\n\n".join(paragraphs) + "\n"


def _listed(speech: Catalogue, fates: Sequence[Fate], *, why: bool, advice: bool) -> list[str]:
    """The recipients, those with the same reason together."""
    if not why:
        return ["\n".join(f"  {fate.address}" for fate in fates)]
    groups: dict[Reason, list[str]] = {}
    for fate in fates:
        groups.setdefault(speech.reason_of(fate.causes), []).append(fate.address)
    paragraphs = []
    for reason, addresses in groups.items():
        sentences = f"{reason.why} {reason.advice}" if advice else reason.why
        paragraphs += ["\n".join(f"  {each}" for each in addresses), _wrapped(sentences, "    ")]
    return paragraphs


def _quoted(speech: Catalogue, fates: Sequence[Fate]) -> list[str]:
    return [
        f"  {fate.address}\n"
        + _wrapped(f"{fate.host or speech.texts['ourselves']}: {fate.words}", "    ")
        for fate in fates
    ]


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
