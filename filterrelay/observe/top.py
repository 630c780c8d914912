"""Who counted most in the last hour: a few names in bounded memory, and the sum of all."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from operator import add
from typing import Any

SLOT = 300  # seconds
SLOTS = 12  # of the last hour, the present one among them
ROOM = 64  # names in a slot
LONGEST = 100  # characters of a name

Counts = list[int]  # a figure for each outcome


@dataclass(slots=True)
class Slot:
    """Five minutes. every: the sums. names: each name's weight, and what it counted for sure.

    Space-Saving (Metwally and others, 2005): a new name takes the place of the lightest,
    and its weight. So whoever has more than 1/ROOM of the whole is there, and no weight is
    less than its name's true count; what was counted since the name came never is more.
    """

    every: Counts
    names: dict[str, Counts] = field(default_factory=dict)

    def count(self, name: str, outcome: int, room: int) -> None:
        """One more. room: how many names may be kept."""
        self.every[outcome] += 1
        counts = self.names.get(name)
        if counts is None:
            if not room:
                return
            weight = 0
            if len(self.names) >= room:
                lightest = min(self.names, key=lambda each: self.names[each][0])
                weight = self.names.pop(lightest)[0]
            counts = self.names[name] = [weight, *([0] * len(self.every))]
        counts[0] += 1
        counts[outcome + 1] += 1

    def add(self, other: "Slot") -> None:
        """The same five minutes as another process saw them."""
        self.every = _sum(self.every, other.every)
        for name, counts in other.names.items():
            known = self.names.get(name)
            self.names[name] = _sum(known, counts) if known is not None else counts


def _sum(some: Iterable[int], more: Iterable[int]) -> Counts:
    return list(map(add, some, more))


class Top:
    """The last hour of one process, or of several. outcomes: what is told apart.

    room: most names in a slot, and so the memory; 0 to keep none.
    """

    def __init__(self, outcomes: tuple[str, ...], room: int = ROOM) -> None:
        self.outcomes = outcomes
        self.room = room
        self.slots: dict[int, Slot] = {}
        self._places = {outcome: place for place, outcome in enumerate(outcomes)}

    def count(self, name: str, outcome: str, at: datetime) -> None:
        """One more message or recipient."""
        number = int(at.timestamp()) // SLOT
        slot = self.slots.get(number)
        if slot is None:
            self._forget(number)
            slot = self.slots[number] = self._slot()
        slot.count(name[:LONGEST], self._places[outcome], self.room)

    def _slot(self) -> Slot:
        return Slot([0] * len(self.outcomes))

    def _forget(self, now: int) -> None:
        """Drops the slots that are not of the hours around this one: clocks go back, too."""
        near = [number for number in self.slots if abs(number - now) < SLOTS]
        self.slots = {number: self.slots[number] for number in near}

    def _recent(self, now: int) -> Iterator[int]:
        return (number for number in self.slots if now - SLOTS < number <= now)

    def trim(self) -> None:
        """Keeps the last hour alone, and the heaviest names, as many as there is room for."""
        self._forget(max(self.slots, default=0))
        for slot in self.slots.values():
            heaviest = sorted(slot.names, key=lambda name: slot.names[name][0], reverse=True)
            slot.names = {name: slot.names[name] for name in heaviest[: self.room]}

    def told(self, most: int, rest: str, at: datetime) -> dict[str, Counts]:
        """The last hour's counts of so many names, the highest first, and of all others as rest.

        What a name counted may be more than is told of it; the difference is in rest.
        """
        hour = self._slot()
        for number in self._recent(int(at.timestamp()) // SLOT):
            hour.add(self.slots[number])
        sure = {name: counts[1:] for name, counts in hour.names.items() if name != rest}
        highest = sorted(sure, key=lambda name: (-sum(sure[name]), name))[:most]
        told = {name: sure[name] for name in highest}
        others = hour.every
        for figures in told.values():
            others = [every - own for every, own in zip(others, figures, strict=True)]
        return {**told, rest: others}

    def facts(self) -> dict[str, Any]:
        """As JSON values."""
        return {str(number): [slot.every, slot.names] for number, slot in self.slots.items()}

    def learn(self, facts: Mapping[str, Any]) -> None:
        """Adds what `facts` gave. Raises ValueError when that was for other outcomes."""
        for number, (every, names) in facts.items():
            if {len(every) + 1, *map(len, names.values())} != {len(self.outcomes) + 1}:
                raise ValueError("counts of other outcomes")
            self.slots.setdefault(int(number), self._slot()).add(Slot(every, names))
