"""What the lanes may hold of messages' bodies, one beside the other."""

from dataclasses import dataclass

from filterrelay.observe.budget import MemoryBudget, Reservation

_SHARE = 8  # one lane may hold one part in so many of what all of them have left


@dataclass(slots=True)
class Commons:
    """The octets that all lanes have together. used: by all of them."""

    total: int
    used: int = 0


class LaneMemory(MemoryBudget):
    """One lane's part of it: the more the others hold, the less it may.

    So lanes that hang can't hold all of it, however many they are (dynamic thresholds,
    Choudhury and Hahne, 1998). One message is always let through, as in every budget.
    """

    def __init__(self, commons: Commons) -> None:
        super().__init__(commons.total // _SHARE)
        self._commons = commons

    def take(self, reservation: Reservation, octets: int) -> bool:
        """Has the reservation cover that many octets, if the lane may hold so much now."""
        self.total = max(0, self._commons.total - self._commons.used) // _SHARE
        return super().take(reservation, octets)

    def _set(self, reservation: Reservation, octets: int) -> None:
        self._commons.used += octets - reservation.octets
        super()._set(reservation, octets)
