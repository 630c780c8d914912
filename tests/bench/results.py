"""All samples of a benchmark: medians over the rounds, and relays compared round by round."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.measure import Sample

Figure = Callable[[Sample], float]


@dataclass(frozen=True, slots=True)
class Summary:
    """One relay at one work, medians of its rounds."""

    rounds: int
    rate: float  # messages a second
    reply_p50: float  # seconds
    reply_p99: float  # seconds
    cpu_per_thousand: float  # seconds
    peak_memory: int  # bytes, the highest of all rounds
    deferrals: int


@dataclass(slots=True)
class Results:
    """What was measured so far, and what could not be."""

    samples: list[Sample] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def of(self, relay: str, work: str) -> list[Sample]:
        """The samples of one relay at one work, in the order of the rounds."""
        return [one for one in self.samples if (one.relay, one.work) == (relay, work)]

    def summary(self, relay: str, work: str) -> Summary | None:
        """The medians, or None if it didn't run."""
        samples = self.of(relay, work)
        if not samples:
            return None
        return Summary(
            rounds=len(samples),
            rate=median(one.rate for one in samples),
            reply_p50=median(one.reply_quantile(0.5) for one in samples),
            reply_p99=median(one.reply_quantile(0.99) for one in samples),
            cpu_per_thousand=median(one.cpu_per_thousand for one in samples),
            peak_memory=max(one.peak_memory for one in samples),
            deferrals=sum(one.deferrals for one in samples),
        )

    def ratio(self, figure: Figure, relay: str, peer: str, work: str) -> float | None:
        """How relay compares with peer: the median of the quotients within each round.

        Both ran in the same minute of the round, so that what else the machine did then weighs on
        both; medians taken apart would not cancel it.
        """
        theirs = {one.round: figure(one) for one in self.of(peer, work)}
        quotients = [
            figure(one) / theirs[one.round] for one in self.of(relay, work) if theirs.get(one.round)
        ]
        return median(quotients) if quotients else None

    def peak_memory(self, relay: str, works: Iterable[str]) -> int | None:
        """The highest memory over some works, in bytes."""
        peaks = [one.peak_memory for work in works for one in self.of(relay, work)]
        return max(peaks, default=None)

    def write_json(self, path: Path, extra: dict[str, Any]) -> None:
        """Everything, each sample for itself; the single reply times are left out."""
        samples = [
            {
                "relay": one.relay,
                "work": one.work,
                "round": one.round,
                "messages": one.messages,
                "seconds": round(one.seconds, 3),
                "messages_per_second": round(one.rate, 1),
                "reply_p50_ms": round(one.reply_quantile(0.5) * 1000, 2),
                "reply_p99_ms": round(one.reply_quantile(0.99) * 1000, 2),
                "cpu_seconds_per_1000": round(one.cpu_per_thousand, 3),
                "peak_memory_bytes": one.peak_memory,
                "deferrals": one.deferrals,
            }
            for one in self.samples
        ]
        path.parent.mkdir(parents=True, exist_ok=True)
        document = {**extra, "samples": samples, "failures": self.failures}
        path.write_text(json.dumps(document, indent=2) + "\n")
