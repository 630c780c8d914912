"""A message for each bucket of a histogram, by which to find out why it took so long."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(slots=True)
class Example:
    """The latest message of a bucket. seconds: what it took. at: Unix time."""

    message_id: str
    seconds: float
    at: float


class Exemplars:
    """Those of a histogram with one label. bounds: of its buckets, without infinity."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._latest: dict[tuple[str, int], Example] = {}  # by the label's value and the bucket

    def note(self, label: str, message_id: str, seconds: float, at: datetime) -> None:
        """A message was counted under that label's value."""
        bucket = bisect_left(self._bounds, seconds)
        self._latest[label, bucket] = Example(message_id, seconds, at.timestamp())

    def of(self, label: str, bound: float) -> Example | None:
        """The one of the bucket that ends there."""
        return self._latest.get((label, bisect_left(self._bounds, bound)))

    def facts(self) -> list[Any]:
        """As JSON values."""
        return [
            [*key, each.message_id, each.seconds, each.at] for key, each in self._latest.items()
        ]

    def learn(self, facts: Iterable[Sequence[Any]]) -> None:
        """Adds what `facts` gave, where it is later."""
        for label, bucket, message_id, seconds, at in facts:
            known = self._latest.get((label, bucket))
            if known is None or known.at < at:
                self._latest[label, bucket] = Example(message_id, seconds, at)
