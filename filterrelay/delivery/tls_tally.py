"""How connections to each destination came out, counted by day for its report (RFC 8460).

Each process appends to a file of its own below `tls-reports/<day>/`, a line of JSON for each
count; `tls_report.py` adds them up when the day is over.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import structlog

from filterrelay.delivery.mta_sts import NOTHING, Told
from filterrelay.delivery.tls import Rung
from filterrelay.delivery.tls_session import DESTINATIONS, Failure, TlsSession
from filterrelay.observe.clock import Clock

MOST_KINDS = 10_000  # of results that one process counts between two flushes
MOST_DOMAINS = 10_000  # whose policies are remembered
MOST_OCTETS = 16 * 1024 * 1024  # of one day's file
_REASON = 200  # characters

_log: Any = structlog.get_logger("filterrelay.delivery")

# What is no failure where nobody has asked for proof.
_PROOF_ONLY = (Failure.WRONG_NAME, Failure.EXPIRED, Failure.NOT_TRUSTED)


@dataclass(frozen=True, slots=True)
class Result:
    """One way in which connections came out.

    kind: `sts`, `tlsa` or `no-policy-found`. strings: the policy's lines or the TLSA records.
    mx: the servers that the policy names. host: the one that was connected to. failure: in
    the words of RFC 8460 section 4.3, or empty for success.
    """

    domain: str
    kind: str
    strings: tuple[str, ...] = ()
    mx: tuple[str, ...] = ()
    host: str = ""
    failure: str = ""
    reason: str = ""


class TlsTally:
    """One process's counts. name: its file's."""

    def __init__(self, directory: Path, name: str, clock: Clock) -> None:
        self._directory = directory
        self._name = name.replace("/", "_")
        self._clock = clock
        self._policies: dict[str, Told] = {}
        self._counts: Counter[tuple[date, Result]] = Counter()

    def found(self, domain: str, told: Told) -> None:
        """Remembers what MTA-STS policy a destination has."""
        self._policies.pop(domain, None)
        if told != NOTHING:
            self._policies[domain] = told
        if len(self._policies) > MOST_DOMAINS:
            del self._policies[next(iter(self._policies))]

    def note(self, session: TlsSession) -> None:
        """Counts a connection for every destination whose mail it was made for."""
        for domain in DESTINATIONS.get():
            self._count(result_of(domain, session, self._policies.get(domain, NOTHING)))

    def unnamed(self, domain: str, host: str) -> None:
        """Counts mail that waits because its domain's policy names none of its mail servers."""
        session = TlsSession(host, "none", Rung.VERIFIED)
        self._count(result_of(domain, session, self._policies.get(domain, NOTHING)))

    def _count(self, result: Result | None) -> None:
        if result is None:
            return
        key = self._clock.now().date(), result
        if len(self._counts) < MOST_KINDS or key in self._counts:
            self._counts[key] += 1

    def flush(self) -> None:
        """Appends what was counted since the last time."""
        counts, self._counts = self._counts, Counter()
        days: dict[date, list[str]] = {}
        for (day, result), count in counts.items():
            days.setdefault(day, []).append(json.dumps(asdict(result) | {"count": count}))
        for day, lines in days.items():
            file = self._directory / day.isoformat() / f"{self._name}.jsonl"
            try:
                file.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
                with file.open("a") as out:
                    if out.tell() < MOST_OCTETS:
                        out.write("".join(f"{line}\n" for line in lines))
                    else:
                        _log.warning("tls_results_not_kept", reason=f"{file} is full")
            except OSError as bad:
                _log.warning("tls_results_not_kept", reason=str(bad))


def result_of(domain: str, session: TlsSession, told: Told) -> Result | None:
    """What the connection means for the domain's report; None when that has no place for it."""
    failure = session.failure.value if session.failure is not None else ""
    reason, host = session.reason[:_REASON], session.host
    if session.tlsa or session.rung is Rung.DANE:
        return Result(domain, "tlsa", session.tlsa, (), host, failure, reason)
    if told.fault:
        return Result(domain, "sts", (), (), host, told.fault, told.reason[:_REASON])
    policy = told.policy
    if policy is not None and policy.mode != "none":
        if not failure and not policy.allows(host):
            failure, reason = Failure.OTHER.value, "the policy doesn't name this mail server"
        elif not failure and not session.proved:
            failure = Failure.OTHER.value
        return Result(domain, "sts", policy.lines, policy.mx, host, failure, reason)
    if session.failure in _PROOF_ONLY:
        return None
    return Result(domain, "no-policy-found", (), (), host, failure, reason)


def results_of(folder: Path) -> Iterator[tuple[Result, int]]:
    """What the processes have counted on a day; what can't be read is passed over."""
    for file in sorted(folder.glob("*.jsonl")):
        with file.open("rb") as lines:
            for line in lines:
                try:
                    stored = json.loads(line)
                    count = int(stored.pop("count"))
                    strings, mx = tuple(stored.pop("strings")), tuple(stored.pop("mx"))
                    yield Result(strings=strings, mx=mx, **stored), count
                except (ValueError, TypeError, KeyError):
                    _log.warning("tls_result_unreadable", path=str(file))
