"""The places for connections that sites share."""

import resource

import pytest

from filterrelay.delivery.places import Places, most_places


class Site:
    """A pool that takes what it is given, as long as somebody there waits."""

    def __init__(self, places: Places, wants: int = 0, idle: int = 0) -> None:
        self.places = places
        self.size = 0
        self.wants = wants
        self.idle = idle

    def grant(self) -> bool:
        """Gets a place."""
        if not self.wants:
            return False
        self.wants -= 1
        self.size += 1
        if self.wants:
            self.places.want(self)
        return True

    def spare(self) -> None:
        """Gives an idle connection's back."""
        self.idle -= 1
        self.places.idle(self, has=bool(self.idle))
        self.end()

    def end(self) -> None:
        """One of its connections ends."""
        self.size -= 1
        self.places.back()

    def grow(self) -> int:
        """Takes what it can have now; returns how many it has."""
        while self.places.take(self):
            self.size += 1
        return self.size


def test_hanging_sites_leave_places_for_all_others() -> None:
    """The fewer are free, the fewer one site may take: there is always a first one for another."""
    places = Places(256)
    taken = [Site(places).grow() for _ in range(30)]
    assert taken[0] == 16
    assert taken == sorted(taken, reverse=True)
    assert taken[-1] >= 1
    assert sum(taken) < 240


def test_the_place_of_an_idle_connection_is_had_at_once() -> None:
    """The one that has been idle longest; and nobody waits."""
    places = Places(2)
    old, new, third = (Site(places) for _ in range(3))
    for site in (old, new):
        assert places.take(site)
        site.size, site.idle = 1, 1
        places.idle(site, has=True)
    assert places.take(third)
    assert (old.size, new.size) == (0, 1)


def test_who_has_none_comes_first_then_in_order() -> None:
    """A site's first connection means more than another's second; each is served in its turn."""
    places = Places(40)
    holders = [Site(places) for _ in range(40)]
    for site in holders:
        assert places.take(site)
        site.size = 1
    more, first, second = Site(places, 1), Site(places, 1), Site(places, 2)
    more.size = 1
    for site in (more, first, second):
        assert not places.take(site)
        places.want(site)
    assert places.starved
    holders.pop().end()
    assert (more.size, first.size, second.size) == (1, 1, 0)
    holders.pop().end()
    assert (second.size, places.starved) == (1, False)
    for _ in range(16):
        holders.pop().end()
    assert (more.size, second.size) == (1, 1)
    holders.pop().end()
    assert more.size == 2


def test_a_place_that_nobody_wants_any_more_stays_free() -> None:
    """Who waited was cancelled meanwhile."""
    places = Places(1)
    holder, gone, other = Site(places), Site(places, 0), Site(places)
    assert places.take(holder)
    holder.size = 1
    places.want(gone)
    holder.end()
    assert places.take(other)


def test_half_of_the_files_are_for_connections_to_sites(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clients' connections and the spool's files need theirs."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    assert most_places() == 512
