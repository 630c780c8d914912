"""Where mail goes next, as text."""

import pytest

from filterrelay.mail.hop import Hop, is_of


@pytest.mark.parametrize(
    ("hop", "text"),
    [
        (Hop("provider"), "provider"),
        (Hop("provider", "required"), "provider+required"),
        (Hop("mx", "", "mx.host.example"), "mx:mx.host.example"),
        (Hop("mx", "dane", "mx.host.example+2", "slow"), "mx+dane:mx.host.example+2#slow"),
        (Hop("provider", shape="slow"), "provider#slow"),
        (Hop(""), ""),
    ],
)
def test_a_hop_is_its_text(hop: Hop, text: str) -> None:
    """There and back."""
    assert str(hop) == text
    assert Hop.parse(text) == hop


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        *((text, True) for text in ("mx", "mx:a.example", "mx+dane:a.example", "mx#slow")),
        *((text, False) for text in ("mx2", "", "provider")),
    ],
)
def test_an_upstreams_hops_are_found_by_its_name(text: str, meant: bool) -> None:
    """For who looks for mail by upstream."""
    assert is_of(text, "mx") is meant


def test_one_hop_is_found_by_its_whole_text() -> None:
    """Nothing else is."""
    assert is_of("mx:a.example", "mx:a.example")
    assert not is_of("mx:b.example", "mx:a.example")
