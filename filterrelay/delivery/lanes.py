"""The lanes by next hop, made when the first mail for one comes; direct ones are forgotten."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from filterrelay.delivery.lane import Lane
from filterrelay.delivery.memory import Commons
from filterrelay.delivery.route import Way
from filterrelay.delivery.upstream import Nowhere, UpstreamLike
from filterrelay.mail.hop import Hop
from filterrelay.spool.store import StoredMessage

_LINGER = 120.0  # seconds that a lane without mail is kept, and its connections with it


class Lanes:
    """One lane a hop, and one for all mail that is answered without an attempt.

    open: makes the next hop's connections. most_spooled: parts of mail from the spool that
    one lane may hold. octets: what all lanes' bodies may take.
    """

    def __init__(
        self, open_: Callable[[Way], UpstreamLike], most_spooled: int, octets: int, batch: int
    ) -> None:
        self._open = open_
        self._most_spooled = most_spooled
        self._commons = Commons(octets)
        self._answered = Lane(Nowhere(), batch, Commons(0))  # it holds nothing up
        self._lanes: dict[Hop, Lane] = {}

    def __iter__(self) -> Iterator[Lane]:
        """All of them."""
        yield from self._lanes.values()
        yield self._answered

    def of(self, way: Way) -> Lane:
        """The lane for mail that goes this way."""
        if way.answer is not None:
            return self._answered
        lane = self._lanes.get(way.hop)
        if lane is None:
            lane = Lane(self._open(way), self._most_spooled, self._commons)
            self._lanes[way.hop] = lane
        return lane

    def rooms(self) -> dict[str, int]:
        """How many more parts from the spool each lane can take, by its hop's text."""
        return {str(hop): lane.room for hop, lane in self._lanes.items()}

    def look_back(
        self,
        rooms: Mapping[str, int],
        leased: Iterable[StoredMessage],
        early: Iterable[StoredMessage],
    ) -> None:
        """Has each lane know whether more may wait for it, by what was leased with these rooms.

        early: what was leased before its time, of which there may always be more.
        """
        taken = Counter(hop for message in leased for hop in message.hops())
        coming = {hop for message in early for hop in message.hops()}
        for hop, lane in self._lanes.items():
            name = str(hop)
            lane.behind = name in coming or taken[name] >= rooms.get(name, 1)

    def early_rooms(self) -> dict[str, int]:
        """How many parts each lane can take before their time; without those that take none."""
        rooms = {str(hop): lane.early_room for hop, lane in self._lanes.items()}
        return {hop: room for hop, room in rooms.items() if room}

    def to_probe(self) -> list[Lane]:
        """Those of the file's upstreams that couldn't be reached and may be tried again.

        Direct ones are left to their mail: their owners have asked for none of it.
        """
        return [
            lane
            for hop, lane in self._lanes.items()
            if not hop.site and lane.reached is False and lane.upstream.outage() is None
        ]

    def forget_idle(self, now: float) -> None:
        """Lets go of direct lanes that have had no mail for a while. now: monotonic seconds."""
        for hop, lane in [*self._lanes.items()]:
            if hop.site and lane.is_idle_since(now - _LINGER):
                del self._lanes[hop]
                lane.close()
