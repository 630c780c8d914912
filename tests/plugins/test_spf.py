"""The SPF plugin: whom it checks, what it says, and what it does about it."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from filterrelay.plugin import AuthResult, Defer, Pass, Quarantine, Reject
from filterrelay.plugin.testing import (
    FakeResolver,
    Record,
    a_session,
    an_envelope,
    running,
    within_cpu_budget,
)

FORBIDS = {("office.example", "TXT"): [b"v=spf1 -all"]}
ALLOWS = {("office.example", "TXT"): [b"unrelated", b"v=spf1 ip4:192.0.2.0/24 -all"]}


async def judged(records: dict[tuple[str, str], Any], **changes: Any) -> Any:
    """What the plugin says to a client on the internet; options begin with `on_`."""
    options = {k: changes.pop(k) for k in list(changes) if k.startswith("on_")}
    failing = changes.pop("failing", ())
    sender = changes.pop("sender", "alice@office.example")
    resolver = FakeResolver(records, failing)
    async with running("spf", resolver=resolver, **options) as plugin:
        return await plugin.on_message(a_session(**changes), an_envelope(sender))


async def test_a_client_that_the_domain_forbids_is_refused() -> None:
    """`-all` is the domain's wish, and RFC 7372 has the code for it."""
    verdict = await judged(FORBIDS)
    assert isinstance(verdict, Reject)
    assert (verdict.reply.code, verdict.reply.enhanced) == (550, "5.7.23")
    assert verdict.reply.text == "office.example doesn't allow 192.0.2.1 to send its mail (SPF)"


async def test_a_permitted_client_passes_with_a_line_for_authentication_results() -> None:
    """The result names the identity that was checked."""
    verdict = await judged(ALLOWS)
    assert isinstance(verdict, Pass)
    assert verdict.finding is not None
    assert verdict.finding.result == "pass"
    assert verdict.finding.auth == (
        AuthResult(
            "spf",
            "pass",
            "192.0.2.1 is a permitted sender of office.example",
            (("smtp.mailfrom", "alice@office.example"),),
        ),
    )


async def test_a_bounce_is_checked_by_the_helo_name() -> None:
    """The null sender has no domain (RFC 7208 section 2.4)."""
    records = {("mx.office.example", "TXT"): [b"v=spf1 -all"]}
    verdict = await judged(records, sender="", helo="mx.office.example")
    assert isinstance(verdict, Reject)
    assert verdict.finding is not None
    assert verdict.finding.auth[0].properties == (("smtp.helo", "mx.office.example"),)


@pytest.mark.parametrize(
    "client",
    [
        {"login": "alice"},
        {"trusted": True},
        {"client_ip": ""},
        {"client_ip": "127.0.0.1"},
        {"client_ip": "::1"},
    ],
)
async def test_own_users_and_local_clients_are_not_checked(client: dict[str, Any]) -> None:
    """Who may relay sends from anywhere, and no record lists the loopback."""
    assert await judged(FORBIDS, **client) is None


@pytest.mark.parametrize(
    ("record", "result"),
    [
        (b"v=spf1 ~all", "softfail"),
        (b"v=spf1 ?all", "neutral"),
        (b"v=spf1 nonsense", "permerror"),
        (b"nothing of ours", "none"),
    ],
)
async def test_all_other_results_pass_unless_told_otherwise(record: bytes, result: str) -> None:
    """By default they are for later filters and for the reader of the header."""
    verdict = await judged({("office.example", "TXT"): [record]})
    assert isinstance(verdict, Pass)
    assert verdict.finding is not None
    assert verdict.finding.result == result


async def test_dns_that_fails_is_temperror_and_never_none() -> None:
    """A domain whose servers are down may still have a record."""
    verdict = await judged({}, failing={"office.example"})
    assert isinstance(verdict, Pass)
    assert verdict.finding is not None
    assert verdict.finding.result == "temperror"


async def test_dns_that_fails_can_defer() -> None:
    """`on_temperror = "defer"`: the client shall come again when DNS is back."""
    verdict = await judged({}, failing={"office.example"}, on_temperror="defer")
    assert isinstance(verdict, Defer)
    assert (verdict.reply.code, verdict.reply.enhanced) == (451, "4.7.24")


async def test_a_softfail_can_be_quarantined() -> None:
    """`on_softfail = "quarantine"`."""
    records = {("office.example", "TXT"): [b"v=spf1 ~all"]}
    assert isinstance(await judged(records, on_softfail="quarantine"), Quarantine)


async def test_a_broken_record_can_be_refused() -> None:
    """`on_permerror = "reject"` has a code of its own."""
    records = {("office.example", "TXT"): [b"v=spf1 nonsense"]}
    verdict = await judged(records, on_permerror="reject")
    assert isinstance(verdict, Reject)
    assert verdict.reply.enhanced == "5.7.24"


async def test_the_domains_own_words_are_marked_as_such_and_cleaned() -> None:
    """Its explanation is a stranger's text (RFC 7208 section 6.2)."""
    records = {
        ("office.example", "TXT"): [b"v=spf1 -all exp=why.office.example"],
        ("why.office.example", "TXT"): [b"See %{i}\r\n250 OK"],
    }
    verdict = await judged(records)
    assert isinstance(verdict, Reject)
    assert verdict.reply.text.endswith("; office.example says: See 192.0.2.1  250 OK")


async def test_a_long_explanation_is_left_out() -> None:
    """A reply is no place for a book."""
    records = {
        ("office.example", "TXT"): [b"v=spf1 -all exp=why.office.example"],
        ("why.office.example", "TXT"): [b"a" * 501],
    }
    verdict = await judged(records)
    assert isinstance(verdict, Reject)
    assert "says" not in verdict.reply.text


async def test_the_third_look_up_without_an_answer_is_a_permerror() -> None:
    """Two void look-ups are allowed (RFC 7208 section 4.6.4)."""
    records = {("office.example", "TXT"): [b"v=spf1 a:x.example a:y.example a:z.example -all"]}
    verdict = await judged(records)
    assert verdict.finding.result == "permerror"


async def test_an_eleventh_look_up_is_a_permerror() -> None:
    """Ten mechanisms may ask DNS (RFC 7208 section 4.6.4)."""
    names = [f"n{i}.example" for i in range(11)]
    record = "v=spf1 " + " ".join(f"a:{name}" for name in names) + " -all"
    records: dict[tuple[str, str], Any] = {(name, "A"): ["198.51.100.1"] for name in names}
    verdict = await judged(records | {("office.example", "TXT"): [record.encode()]})
    assert verdict.finding.result == "permerror"


class Slow:
    """A DNS whose answers never come."""

    async def lookup(self, name: str, kind: str) -> Sequence[Record]:
        await asyncio.Event().wait()
        raise AssertionError


async def test_the_whole_check_has_a_time_limit() -> None:
    """A zone that stalls costs its own mail a temperror, and nobody else anything."""
    async with running("spf", resolver=Slow(), timeout="10ms") as plugin:
        verdict = await plugin.on_message(a_session(), an_envelope())
    assert verdict.finding.result == "temperror"


@pytest.mark.parametrize(
    "record",
    [
        "v=spf1 a:." + "a" * 60_000 + "! -all",
        "v=spf1 " + ("a:." + "a" * 490 + "! ") * 8 + "-all",
        "v=spf1 exp=%{" + "%{" * 200 + " -all",
        "v=spf1 " + "moo=" + "%{d}." * 90 + " -all",
        "v=spf1 a:" + "%{s}" * 110 + ".example -all",
    ],
)
async def test_a_hostile_record_keeps_nothing_busy(record: str) -> None:
    """Patterns that grow with the square of a record's length never see a long one."""
    async with running(
        "spf", resolver=FakeResolver({("office.example", "TXT"): [record.encode()]})
    ) as plugin:
        with within_cpu_budget(milliseconds=100):
            verdict = await plugin.on_message(a_session(), an_envelope())
    assert verdict is not None


async def test_the_hosts_of_an_mx_are_asked_for_at_once() -> None:
    """Ten of them one after the other would take ten times as long."""
    hosts = [f"mx{i}.office.example" for i in range(10)]
    records: dict[tuple[str, str], Any] = {(host, "A"): ["198.51.100.1"] for host in hosts}
    records["office.example", "TXT"] = [b"v=spf1 mx -all"]
    records["office.example", "MX"] = [(10, host) for host in hosts]
    waiting: list[str] = []

    class Counting(FakeResolver):
        most = 0

        async def lookup(self, name: str, kind: str) -> Sequence[Record]:
            waiting.append(name)
            Counting.most = max(Counting.most, len(waiting))
            await asyncio.sleep(0)
            waiting.remove(name)
            return await super().lookup(name, kind)

    async with running("spf", resolver=Counting(records)) as plugin:
        verdict = await plugin.on_message(a_session(), an_envelope())
    assert verdict.finding.result == "fail"
    assert Counting.most == 10


async def test_a_host_name_that_fails_does_not_hide_one_that_leads_back() -> None:
    """In `ptr` a DNS error skips a name (RFC 7208 section 5.5)."""
    records = {
        ("office.example", "TXT"): [b"v=spf1 ptr:office.example -all"],
        ("1.2.0.192.in-addr.arpa", "PTR"): ["down.example", "mx.office.example"],
        ("mx.office.example", "A"): ["192.0.2.1"],
    }
    verdict = await judged(records, failing={"down.example"})
    assert verdict.finding.result == "pass"


async def test_an_at_sign_in_a_quoted_name_hides_no_domain() -> None:
    """The domain is what follows the last @ (RFC 5321 section 4.1.2)."""
    verdict = await judged(FORBIDS, sender='"x@y"@office.example')
    assert isinstance(verdict, Reject)
    assert verdict.finding is not None
    assert verdict.finding.auth[0].properties == (("smtp.mailfrom", '"x@y"@office.example'),)
