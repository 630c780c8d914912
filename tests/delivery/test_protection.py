"""What destinations demand, and what of it an upstream keeps."""

from dataclasses import replace
from typing import Any, cast

import pytest

from filterrelay.delivery.mta_sts import MtaSts, StsPolicy, Told
from filterrelay.delivery.protection import Protected, Protections
from filterrelay.delivery.site import NoWay
from filterrelay.plugin.testing import SOME_TIME
from filterrelay.settings import Upstream

GROUPS = (("mx1.partner.example", "mx2.partner.example"), ("mx.backup.example",))
STRICT = StsPolicy("1", "enforce", ("mx1.partner.example", "*.backup.example"), 86_400, SOME_TIME)


class FakeSts:
    """Knows one policy, and notes whether it was asked for."""

    def __init__(self, policy: StsPolicy | None) -> None:
        self.told = Told(policy)
        self.asked = 0

    async def policy(self, domain: str) -> Told:
        """The one."""
        self.asked += 1
        return self.told


async def protected(
    policy: StsPolicy | None, *, secure: bool = False, groups: Any = GROUPS, **changes: Any
) -> Protected:
    """What is demanded of partner.example's servers at an upstream with these settings."""
    upstream = Upstream(name="mx", protocol="mx", **changes)
    sts = cast("MtaSts", FakeSts(policy))
    return await Protections(upstream, sts).of("partner.example", groups, secure=secure)


@pytest.mark.parametrize(
    ("enforced", "secure", "changes", "tls"),
    [
        (False, False, {}, ""),
        (False, True, {}, "may-dane"),
        (True, False, {}, "sts"),
        (True, True, {}, "sts-dane"),
        (False, True, {"dane": False}, ""),
        (True, True, {"dane": False}, "sts"),
        (True, False, {"mta_sts": False}, ""),
        (True, True, {"tls": "required"}, "sts"),
        (False, True, {"tls": "required"}, "sts"),
        (False, False, {"tls": "required"}, ""),
        (True, True, {"tls": "none"}, ""),
        (True, True, {"tls": "dane"}, ""),
    ],
)
async def test_the_strictest_that_holds_is_demanded(
    enforced: bool, secure: bool, changes: dict[str, Any], tls: str
) -> None:
    """DANE only where DNSSEC proves the servers; none of it where the file wants no TLS."""
    found = await protected(STRICT if enforced else None, secure=secure, **changes)
    assert found.tls == tls


async def test_a_policy_leaves_only_the_servers_that_it_names() -> None:
    """In the same order (RFC 8461 section 4.1)."""
    found = await protected(STRICT)
    assert found.groups == (("mx1.partner.example",), ("mx.backup.example",))


@pytest.mark.parametrize("mode", ["testing", "none"])
async def test_a_policy_that_is_not_enforced_stops_nothing(mode: Any) -> None:
    """It is for the reports only (section 5)."""
    assert await protected(replace(STRICT, mode=mode)) == Protected(GROUPS)


async def test_mail_waits_when_no_server_is_one_of_the_policy() -> None:
    """Somebody may have changed what DNS says."""
    with pytest.raises(NoWay) as no_way:
        await protected(STRICT, groups=(("mx.evil.example",),))
    assert no_way.value.reply.is_temporary


async def test_required_dane_waits_for_secure_servers() -> None:
    """Else TLSA records would prove only that somebody is who he says he is."""
    with pytest.raises(NoWay) as no_way:
        await protected(None, tls="dane")
    assert (no_way.value.reply.code, no_way.value.reply.enhanced) == (451, "4.7.5")


async def test_what_is_found_is_told() -> None:
    """To whom counts for the reports."""
    told: list[tuple[str, Told]] = []
    upstream = Upstream(name="mx", protocol="mx")
    sts = cast("MtaSts", FakeSts(STRICT))
    await Protections(upstream, sts, lambda *what: told.append(what)).of(
        "a.example", GROUPS, secure=False
    )
    assert told == [("a.example", Told(STRICT))]
