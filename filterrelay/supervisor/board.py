"""A few bytes that all processes share: which workers are ready."""

import mmap


class Board:
    """One byte a slot, in memory that forked processes share."""

    def __init__(self, slots: int) -> None:
        """Nobody is ready yet."""
        self._memory = mmap.mmap(-1, max(slots, 1))
        self.slots = slots

    def mark(self, slot: int, *, ready: bool) -> None:
        """Says whether the worker in that slot takes mail."""
        self._memory[slot] = int(ready)

    def ready(self) -> int:
        """How many do."""
        return sum(self._memory[: self.slots])
