"""The slots for connections that all sites of direct delivery share in this process."""

import resource
from typing import Protocol

_SCARCE = 16  # a pool may grow while it has less than one part in so many of what is free
_LEAST = 64


def most_slots() -> int:
    """Half the files that this process may open; the rest is for clients and the disk."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(_LEAST, soft // 2)


class Sharing(Protocol):
    """A pool, as the slots see it."""

    @property
    def size(self) -> int:
        """The slots that it has."""
        ...

    def grant(self) -> bool:
        """Gets one more, if somebody there still waits for it; whether it keeps it."""
        ...

    def spare(self) -> None:
        """Closes the connection that is idle longest, and gives its slot back."""
        ...


class Slots:
    """So many slots, of which each pool may have its first one soon.

    The fewer are free, the fewer one pool may have: those that hang can't take all of them
    (dynamic thresholds, Choudhury and Hahne, 1998). Who has none gets that of a connection
    that is idle, or else waits, and others then give theirs back sooner.
    """

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._idle: dict[Sharing, None] = {}  # pools with idle connections, longest first
        self._without: dict[Sharing, None] = {}  # pools that wait for their first slot
        self._wanting: dict[Sharing, None] = {}  # and those that wait for one more

    @property
    def starved(self) -> bool:
        """Whether a pool has no slot and waits for one."""
        return bool(self._without)

    def take(self, pool: Sharing) -> bool:
        """Gives the pool a slot, if there is one for it now."""
        if not self._free and not pool.size and self._idle:
            next(iter(self._idle)).spare()
        if not self._allows(pool):
            return False
        self._free -= 1
        return True

    def want(self, pool: Sharing) -> None:
        """The pool is given a slot, by `grant`, when there is one for it."""
        queue, other = self._without, self._wanting
        if pool.size:
            queue, other = other, queue
        other.pop(pool, None)
        queue.setdefault(pool)

    def forget(self, pool: Sharing) -> None:
        """The pool waits for none any more."""
        self._without.pop(pool, None)
        self._wanting.pop(pool, None)

    def idle(self, pool: Sharing, *, has: bool) -> None:
        """Whether the pool has idle connections."""
        if has:
            self._idle.setdefault(pool)
        else:
            self._idle.pop(pool, None)

    def back(self) -> None:
        """A slot is free again; it goes to who waits."""
        self._free += 1
        for queue in (self._without, self._wanting):
            while queue and self._allows(pool := next(iter(queue))):
                del queue[pool]
                self._free -= 1
                if not pool.grant():
                    self._free += 1

    def _allows(self, pool: Sharing) -> bool:
        return self._free > (pool.size * _SCARCE if pool.size else 0)
