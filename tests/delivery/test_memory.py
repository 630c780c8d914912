"""What the lanes may hold, one beside the other."""

from filterrelay.delivery.memory import Commons, LaneMemory


def fill(memory: LaneMemory, octets: int) -> int:
    """Takes messages of that size until there is room for no more; how many there were."""
    count = 0
    while memory.reservation().try_grow(octets):
        count += 1
    return count


def test_the_more_hang_the_less_each_may_hold() -> None:
    """Something is always left for one more lane."""
    commons = Commons(8000)
    held = [fill(LaneMemory(commons), 10) for _ in range(40)]
    assert held[0] == 89
    assert held == sorted(held, reverse=True)
    assert held[-1] >= 1
    assert commons.used < commons.total


def test_what_is_given_back_is_everybodys() -> None:
    """A lane that has come to its end leaves what it had to the others."""
    commons = Commons(8000)
    one = LaneMemory(commons)
    taken = one.reservation()
    assert taken.try_grow(900)
    assert commons.used == 900
    taken.release()
    assert (commons.used, one.used) == (0, 0)
    assert fill(LaneMemory(commons), 100) >= 8
