"""The lanes by next hop."""

from filterrelay.delivery.lane import Flight, Part
from filterrelay.delivery.lanes import Lanes
from filterrelay.delivery.route import NO_ROUTE, Way
from filterrelay.delivery.site import Site
from filterrelay.mail.hop import Hop
from filterrelay.observe.budget import MemoryBudget
from filterrelay.plugin.testing import SOME_TIME

from .hop import FakeHop, a_rest, a_stored_message

SITE = Site("mx.host.example", (("mx.host.example",),))
DIRECT = Way(Hop("mx", site=SITE.name), site=SITE)
PROVIDER = Way(Hop("provider"))


def lanes() -> Lanes:
    """Over next hops without a network."""
    return Lanes(lambda _: FakeHop(), 50, 8000, 200)


async def test_mail_for_one_hop_shares_a_lane() -> None:
    """Another policy, another site or other limits make another hop."""
    all_of_them = lanes()
    assert all_of_them.of(PROVIDER) is all_of_them.of(Way(Hop("provider"), reason="route 3"))
    others = [Hop("provider", "required"), Hop("provider", shape="slow"), Hop("mx", site="x")]
    assert len({id(all_of_them.of(Way(hop))) for hop in (PROVIDER.hop, *others)}) == 4
    assert all_of_them.rooms(1000) == dict.fromkeys(["provider", *map(str, others)], 50)


async def test_what_has_its_answer_waits_in_no_lane_of_a_hop() -> None:
    """Nothing is opened for it, and no hop's room is taken."""
    all_of_them = lanes()
    assert all_of_them.of(Way(PROVIDER.hop, NO_ROUTE)) is all_of_them.of(Way(Hop(""), NO_ROUTE))
    assert not all_of_them.rooms(1000)


async def test_a_direct_lane_is_forgotten_when_it_was_idle() -> None:
    """With its connections; one of the file's upstreams stays."""
    all_of_them = lanes()
    direct, fixed = all_of_them.of(DIRECT), all_of_them.of(PROVIDER)
    message = a_stored_message()
    flight = Flight(message, SOME_TIME, True, MemoryBudget(1).reservation())
    part = Part(flight, direct, DIRECT.hop, message.recipients, 0.0)
    direct.parts += 1
    all_of_them.forget_idle(1000.0)
    assert all_of_them.of(DIRECT) is direct
    direct.let_go(part, 1000.0)
    all_of_them.forget_idle(1100.0)
    assert all_of_them.of(DIRECT) is direct
    all_of_them.forget_idle(1200.0)
    assert all_of_them.of(DIRECT) is not direct
    assert direct.closed
    assert direct.upstream.closed  # type: ignore[attr-defined]  # the fake one's
    assert all_of_them.of(PROVIDER) is fixed


async def test_a_direct_lane_outlasts_its_outage() -> None:
    """Its mail waits on disk then; forgotten, the hop would be taken for one that is new."""
    hop = FakeHop()
    all_of_them = Lanes(lambda _: hop, 50, 8000, 200)
    lane = all_of_them.of(DIRECT)
    hop.outages = [a_rest()]
    all_of_them.forget_idle(600.0)
    hop.outages = []
    all_of_them.forget_idle(700.0)
    assert all_of_them.of(DIRECT) is lane
    all_of_them.forget_idle(720.0)
    assert lane.closed


async def test_only_lanes_that_mail_may_wait_for_are_asked_about() -> None:
    """But each once a minute, since another process may have left some."""
    all_of_them = lanes()
    direct, provider = all_of_them.of(DIRECT), all_of_them.of(PROVIDER)
    assert all_of_them.early(1000.0) == {str(DIRECT.hop): direct, "provider": provider}
    direct.missed = False
    assert all_of_them.early(1059.0) == {"provider": provider}
    provider.reached = False
    assert all_of_them.early(1060.0) == {str(DIRECT.hop): direct}
