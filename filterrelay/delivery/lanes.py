"""The lanes by next hop, made when the first mail for one comes; direct ones are forgotten."""

from collections.abc import Callable, Collection, Iterator

from filterrelay.delivery.lane import Lane, Part
from filterrelay.delivery.memory import Commons
from filterrelay.delivery.nowhere import Nowhere
from filterrelay.delivery.route import Way
from filterrelay.delivery.upstream import UpstreamLike
from filterrelay.mail.hop import Hop

_LINGER = 120.0  # seconds that a lane without mail is kept, and its connections with it
_SHARE = 8  # one lane may hold one part in so many of those that may still come
_ROUND = 60.0  # seconds after which all are asked about, since others leave mail for them, too


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
        self._round_at = 0.0

    def __len__(self) -> int:
        """How many next hops have one."""
        return len(self._lanes)

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

    def take_out(self, ids: Collection[str]) -> list[Part]:
        """What waits of these messages, which is no more in its lane then."""
        return [part for lane in self for part in lane.take_out(ids)] if ids else []

    def rooms(self, left: int) -> dict[str, int]:
        """How many more parts from the spool each lane can take, by its hop's text.

        left: how many more all of them may hold; the fewer that are, the fewer one may have,
        but always one, so that many next hops that hang stop no other.
        """
        most = max(1, left // _SHARE)
        return {
            str(hop): max(0, min(lane.room, most - lane.spooled))
            for hop, lane in self._lanes.items()
        }

    def early(self, now: float) -> dict[str, Lane]:
        """Those that can take parts before their time, where some may wait. now: monotonic."""
        whole_round = now >= self._round_at
        if whole_round:
            self._round_at = now + _ROUND
        return {
            str(hop): lane
            for hop, lane in self._lanes.items()
            if (lane.missed or whole_round) and lane.early_room
        }

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
        """Lets go of direct lanes that have had no mail for a while. now: monotonic seconds.

        One in an outage stays for its mail that comes afterwards: it knows how long the next
        one has to be.
        """
        moment = now - _LINGER
        idle = [h for h, lane in self._lanes.items() if h.site and lane.is_idle_since(moment)]
        for hop in idle:
            if self._lanes[hop].upstream.outage() is not None:
                self._lanes[hop].last_used = now
            else:
                self._lanes.pop(hop).close()
