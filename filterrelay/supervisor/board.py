"""A few bytes that all processes share: how each worker fares."""

import mmap
from enum import IntEnum


class Standing(IntEnum):
    """How a worker fares."""

    ABSENT = 0
    READY = 1
    AILING = 2  # it takes clients, but can't store their mail


class Board:
    """One byte a slot, in memory that forked processes share."""

    def __init__(self, slots: int) -> None:
        """Nobody is ready yet."""
        self._memory = mmap.mmap(-1, max(slots, 1))
        self.slots = slots

    def mark(self, slot: int, standing: Standing) -> None:
        """Says how the worker in that slot fares."""
        self._memory[slot] = standing

    def count(self, standing: Standing) -> int:
        """How many fare so."""
        return self._memory[: self.slots].count(standing)
