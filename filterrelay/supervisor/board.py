"""A few bytes that all processes share: how each worker fares, and when it last said so."""

import mmap
import time
from enum import IntEnum

SILENT_AFTER = 30.0  # seconds without a mark; a look at the spool takes 15 with its pause


class Standing(IntEnum):
    """How a worker fares."""

    ABSENT = 0
    READY = 1
    AILING = 2  # it takes clients, but can't store their mail
    SILENT = 3  # it has given no sign for a while: it hangs, and its clients with it


class Board:
    """A byte and a time a slot, in memory that forked processes share."""

    def __init__(self, slots: int) -> None:
        """Nobody is ready yet."""
        self.slots = slots
        room = max(slots, 1)
        memory = memoryview(mmap.mmap(-1, 9 * room))  # a double and a byte for each
        self._at = memory[: 8 * room].cast("d")  # monotonic seconds, the same in all processes
        self._marks = memory[8 * room :]

    def mark(self, slot: int, standing: Standing) -> None:
        """Says how the worker in that slot fares now."""
        self._at[slot] = time.monotonic()
        self._marks[slot] = standing

    def standing(self, slot: int) -> Standing:
        """How it fares: as it has said, if that was lately."""
        said = Standing(self._marks[slot])
        late = said and time.monotonic() - self._at[slot] > SILENT_AFTER
        return Standing.SILENT if late else said

    def count(self, standing: Standing) -> int:
        """How many fare so."""
        return sum(self.standing(slot) == standing for slot in range(self.slots))
