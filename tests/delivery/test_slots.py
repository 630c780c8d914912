"""The slots for connections that sites share."""

import resource

import pytest

from filterrelay.delivery.slots import Slots, most_slots


class Site:
    """A pool that takes what it is given, as long as somebody there waits."""

    def __init__(self, slots: Slots, wants: int = 0, idle: int = 0) -> None:
        self.slots = slots
        self.size = 0
        self.wants = wants
        self.idle = idle

    def grant(self) -> bool:
        """Gets a slot."""
        if not self.wants:
            return False
        self.wants -= 1
        self.size += 1
        if self.wants:
            self.slots.want(self)
        return True

    def spare(self) -> None:
        """Gives an idle connection's back."""
        self.idle -= 1
        self.slots.idle(self, has=bool(self.idle))
        self.end()

    def end(self) -> None:
        """One of its connections ends."""
        self.size -= 1
        self.slots.back()

    def grow(self) -> int:
        """Takes what it can have now; returns how many it has."""
        while self.slots.take(self):
            self.size += 1
        return self.size


def test_hanging_sites_leave_places_for_all_others() -> None:
    """The fewer are free, the fewer one site may take: there is always a first one for another."""
    slots = Slots(256)
    taken = [Site(slots).grow() for _ in range(30)]
    assert taken[0] == 16
    assert taken == sorted(taken, reverse=True)
    assert taken[-1] >= 1
    assert sum(taken) < 240


def test_the_place_of_an_idle_connection_is_had_at_once() -> None:
    """The one that has been idle longest; and nobody waits."""
    slots = Slots(2)
    old, new, third = (Site(slots) for _ in range(3))
    for site in (old, new):
        assert slots.take(site)
        site.size, site.idle = 1, 1
        slots.idle(site, has=True)
    assert slots.take(third)
    assert (old.size, new.size) == (0, 1)


def test_who_has_none_comes_first_then_in_order() -> None:
    """A site's first connection means more than another's second; each is served in its turn."""
    slots = Slots(40)
    holders = [Site(slots) for _ in range(40)]
    for site in holders:
        assert slots.take(site)
        site.size = 1
    more, first, second = Site(slots, 1), Site(slots, 1), Site(slots, 2)
    more.size = 1
    for site in (more, first, second):
        assert not slots.take(site)
        slots.want(site)
    assert slots.starved
    holders.pop().end()
    assert (more.size, first.size, second.size) == (1, 1, 0)
    holders.pop().end()
    assert (second.size, slots.starved) == (1, False)
    for _ in range(16):
        holders.pop().end()
    assert (more.size, second.size) == (1, 1)
    holders.pop().end()
    assert more.size == 2


def test_a_place_that_nobody_wants_any_more_stays_free() -> None:
    """Who waited was cancelled meanwhile."""
    slots = Slots(1)
    holder, gone, other = Site(slots), Site(slots, 0), Site(slots)
    assert slots.take(holder)
    holder.size = 1
    slots.want(gone)
    holder.end()
    assert slots.take(other)


def test_half_of_the_files_are_for_connections_to_sites(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clients' connections and the spool's files need theirs."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    assert most_slots() == 512
