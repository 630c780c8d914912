"""What follows an attempt: who is told, what is counted, what stays."""

from datetime import timedelta
from email import message_from_bytes

import pytest
import structlog

from filterrelay.mail.address import Address
from filterrelay.mail.envelope import Envelope
from filterrelay.settings import RouteRule
from filterrelay.spool.store import NoSuchMessage, SpoolFull, SpoolUnavailable

from .hop import LATER, TAKEN, UNKNOWN, FakeHop, Site, an_outage, delivering, gone

FOUR_HOURS = timedelta(hours=4)
FIVE_DAYS = timedelta(days=5)
POSTMASTER = Address("postmaster", "office.example")


async def keep_trying(site: Site, until: timedelta) -> None:
    """Lets time pass until then, one attempt after the other."""
    end = site.clock.now() + until
    while site.clock.now() < end:
        (waiting,) = (await site.spool.get("ID")).pending()
        assert waiting.next_attempt is not None
        await site.later(waiting.next_attempt - site.clock.now())


def kinds(site: Site) -> list[str]:
    """The action of each report sent, in order."""
    found = []
    for _, raw in site.reports:
        status = message_from_bytes(raw).get_payload(1)
        found.append(str(status.get_payload(1)["Action"]))  # type: ignore[union-attr, index]  # a status part's payload is its blocks
    return found


async def test_a_refused_recipient_bounces_to_the_sender() -> None:
    """The report is there before the recipient is forgotten."""
    seen: list[str] = []

    async def submit(envelope: Envelope, raw: bytes, about: str) -> None:
        seen.append(str((await site.spool.get("ID")).recipients[0].state))

    async with delivering(FakeHop(lambda *_: UNKNOWN), submit=submit) as site:
        await site.submitted()
        assert seen == ["queued"]
        with pytest.raises(NoSuchMessage):
            await site.spool.get("ID")


async def test_a_bounce_goes_from_nobody_to_the_sender() -> None:
    """With the null sender, and asking for no report on itself."""
    async with delivering(FakeHop(lambda *_: UNKNOWN)) as site:
        await site.submitted()
        ((envelope, _),) = site.reports
        assert envelope.sender is None
        assert [str(r) for r in envelope.recipients] == ["alice@office.example"]
        assert envelope.recipients[0].notify == ("NEVER",)


async def test_the_trace_says_which_message_the_bounce_is() -> None:
    """So that one finds whether the sender has got it."""
    async with delivering(FakeHop(lambda *_: UNKNOWN)) as site:
        await site.submitted()
        (bounce,) = [event for event in await site.spool.events("ID") if event.kind == "bounce"]
        assert bounce.data == {"recipients": ["bob@partner.example"], "report": "REPORT-ON-ID"}


async def test_two_refused_recipients_make_one_bounce() -> None:
    """And the delivered third isn't in it."""
    hop = FakeHop(lambda place, _: TAKEN if place == 2 else UNKNOWN)
    async with delivering(hop) as site:
        await site.submitted("ID", "a@p.example", "b@p.example", "c@p.example")
        ((_, raw),) = site.reports
        assert b"a@p.example" in raw
        assert b"b@p.example" in raw
        assert b"c@p.example" not in raw


async def test_a_bounce_never_bounces() -> None:
    """Nothing is sent for a null sender (RFC 5321 section 6.1); the message is gone."""
    async with delivering(FakeHop(lambda *_: UNKNOWN)) as site:
        await site.submitted(sender="")
        assert site.reports == []
        with pytest.raises(NoSuchMessage):
            await site.spool.get("ID")


@pytest.mark.parametrize(
    ("notify", "reports"),
    [((), 1), (("NEVER",), 0), (("SUCCESS",), 0), (("FAILURE", "DELAY"), 1)],
)
async def test_notify_decides_about_bounces(notify: tuple[str, ...], reports: int) -> None:
    """RFC 3461 section 4.1: nothing said means failures."""
    async with delivering(FakeHop(lambda *_: UNKNOWN)) as site:
        await site.submitted(notify=notify)
        assert len(site.reports) == reports


async def test_the_sender_hears_once_of_a_delay_after_4_hours() -> None:
    """Not before, and not again."""
    async with delivering(FakeHop(lambda *_: LATER)) as site:
        await site.submitted()
        await keep_trying(site, FOUR_HOURS - timedelta(minutes=1))
        assert kinds(site) == ["delayed"]
        assert abs(site.clock.now() - (await site.spool.get("ID")).received - FOUR_HOURS) < (
            timedelta(minutes=1)
        )
        await keep_trying(site, FOUR_HOURS)
        assert kinds(site) == ["delayed"]


async def test_no_delay_notice_for_who_wants_failures_only() -> None:
    """NOTIFY=FAILURE says so."""
    async with delivering(FakeHop(lambda *_: LATER)) as site:
        await site.submitted(notify=("FAILURE",))
        await keep_trying(site, FOUR_HOURS)
        assert site.reports == []


async def test_after_5_days_the_message_bounces() -> None:
    """With the last reason."""
    async with delivering(FakeHop(lambda *_: LATER)) as site:
        await site.submitted()
        await keep_trying(site, FIVE_DAYS)
        with pytest.raises(NoSuchMessage):
            await site.spool.get("ID")
        assert kinds(site) == ["delayed", "failed"]
        assert b"Status: 5.4.7\r\n" in site.reports[-1][1]
        assert b"450 4.2.0 Greylisted" in site.reports[-1][1]


async def test_after_a_week_in_quarantine_a_message_has_its_5_days_still() -> None:
    """Released, it is tried as long as any other; neither notice nor bounce comes at once."""
    async with delivering(FakeHop(lambda *_: LATER)) as site:
        await site.spool.commit(site.deposit())
        await site.spool.hold(["ID"], "look at it", site.clock.now())
        site.clock.advance(timedelta(days=7))
        await site.spool.release(["ID"], site.clock.now())
        await site.later(timedelta(0))
        assert len((await site.spool.get("ID")).pending()) == 1
        assert kinds(site) == []
        await keep_trying(site, FIVE_DAYS)
        assert kinds(site) == ["delayed", "failed"]


async def test_the_bounce_of_a_message_never_in_memory_shows_its_header() -> None:
    """A next hop down to the end: the bytes are read for the report alone."""
    hop = FakeHop()
    hop.outages = [an_outage(left=0)]
    async with delivering(hop) as site:
        await site.submitted()
        await keep_trying(site, FIVE_DAYS)
        with pytest.raises(NoSuchMessage):
            await site.spool.get("ID")
        assert b"Message-ID: <1@office.example>\r\n" in site.reports[-1][1]


async def test_a_bounce_that_cannot_be_kept_keeps_its_message() -> None:
    """On a full disk nothing is forgotten without a word: it is tried once more."""
    full = [True, False]

    async def submit(envelope: Envelope, raw: bytes, about: str) -> None:
        if full.pop(0):
            raise SpoolFull(0)

    async with delivering(FakeHop(lambda *_: UNKNOWN), submit=submit) as site:
        await site.submitted()
        assert len((await site.spool.get("ID")).pending()) == 1
        await site.later(timedelta(minutes=15))
        with pytest.raises(NoSuchMessage):
            await site.spool.get("ID")


@pytest.mark.parametrize(("dsn", "reports"), [(True, []), (False, ["relayed"])])
async def test_success_is_reported_by_the_last_server_that_can(
    dsn: bool, reports: list[str]
) -> None:
    """By us as `relayed` when the next hop knows no DSN (RFC 3461 section 6.2.7)."""
    hop = FakeHop()
    hop.dsn = dsn
    async with delivering(hop) as site:
        await site.submitted(notify=("SUCCESS",))
        assert kinds(site) == reports


@pytest.mark.parametrize(("dsn", "reports"), [(True, []), (False, ["delivered"])])
async def test_success_is_delivery_where_the_way_ends(dsn: bool, reports: list[str]) -> None:
    """As with LMTP (RFC 3461 section 6.2.2), unless the far side reports that itself."""
    hop = FakeHop()
    hop.final, hop.dsn = True, dsn
    async with delivering(hop) as site:
        await site.submitted(notify=("SUCCESS",))
        assert kinds(site) == reports


async def test_what_a_route_discards_is_delivered_for_who_asks() -> None:
    """The way ends here; a sender can't tell it from a mailbox that nobody reads."""
    async with delivering(FakeHop(), rules=[RouteRule(upstream="discard")]) as site:
        await site.submitted(notify=("SUCCESS",))
        assert kinds(site) == ["delivered"]


async def fail_a_report(site: Site, *to: str) -> list[str]:
    """One of the relay's own is refused; returns what the trace says of telling."""
    await site.submitted("ID", *to, sender="", notify=("NEVER",), session={"door": "report"})
    return [event.kind for event in await site.spool.events("ID") if event.kind != "attempt"]


async def test_a_report_that_fails_is_told_to_the_postmaster() -> None:
    """Once, with the reason; then it is gone."""
    async with delivering(FakeHop(lambda *_: UNKNOWN), postmaster=POSTMASTER) as site:
        assert await fail_a_report(site, "alice@office.example") == ["double-bounce"]
        ((envelope, raw),) = site.reports
        assert [str(r) for r in envelope.recipients] == ["postmaster@office.example"]
        assert b"550 5.1.1 No such user" in raw
        assert await gone(site)


@pytest.mark.parametrize(
    ("postmaster", "to"), [(None, "alice@office.example"), (POSTMASTER, str(POSTMASTER))]
)
async def test_a_report_that_nobody_can_get_is_dropped_with_a_word(
    postmaster: Address | None, to: str
) -> None:
    """In the log and in the trace; nothing goes round."""
    with structlog.testing.capture_logs() as lines:
        async with delivering(FakeHop(lambda *_: UNKNOWN), postmaster=postmaster) as site:
            assert await fail_a_report(site, to) == ["nobody-told"]
            assert site.reports == []
            assert await gone(site)
    (line,) = [line for line in lines if line["event"] == "nobody_told"]
    assert (line["message_id"], line["recipients"]) == ("ID", [to])


async def test_a_report_that_is_late_troubles_nobody() -> None:
    """The postmaster hears of it when it has failed."""
    async with delivering(FakeHop(lambda *_: LATER), postmaster=POSTMASTER) as site:
        assert await fail_a_report(site, "alice@office.example") == []
        await keep_trying(site, FOUR_HOURS)
        assert site.reports == []


async def test_a_result_is_not_lost_when_the_spool_stumbles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is written when the spool works again; the message isn't sent twice."""
    monkeypatch.setattr("filterrelay.delivery.settle._PAUSES", (0.0, 0.0))
    hop = FakeHop()
    async with delivering(hop) as site:
        record, stumbles = site.spool.settle, [1, 2]

        async def settle(settlement: object) -> None:
            if stumbles:
                stumbles.pop()
                raise SpoolUnavailable("disk")
            await record(settlement)  # type: ignore[arg-type]  # it is passed on as it came

        monkeypatch.setattr(site.spool, "settle", settle)
        await site.submitted()
        assert len(hop.asked) == 1
        with pytest.raises(NoSuchMessage):
            await site.spool.get("ID")


@pytest.mark.parametrize("trouble", [SpoolUnavailable("disk"), SpoolFull(0)])
async def test_a_result_outlasts_a_long_trouble(
    monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    """On a full disk, too: as long as the lease is kept nobody sends the message again."""
    monkeypatch.setattr("filterrelay.delivery.settle._PAUSES", (0.0,))
    hop = FakeHop()
    async with delivering(hop) as site:
        record, failures = site.spool.settle, [trouble] * 100

        async def settle(settlement: object) -> None:
            if failures:
                raise failures.pop()
            await record(settlement)  # type: ignore[arg-type]  # it is passed on as it came

        monkeypatch.setattr(site.spool, "settle", settle)
        await site.submitted()
        assert len(hop.asked) == 1
        with pytest.raises(NoSuchMessage):
            await site.spool.get("ID")


async def test_a_report_that_cant_be_written_repeats_no_delivery() -> None:
    """A fault of ours in the report of success leaves the recipient delivered."""

    async def submit(envelope: Envelope, raw: bytes, about: str) -> None:
        raise ZeroDivisionError

    async with delivering(FakeHop(), submit=submit) as site:
        await site.submitted(notify=("SUCCESS",))
        with pytest.raises(NoSuchMessage):
            await site.spool.get("ID")


async def test_reports_are_counted_by_kind() -> None:
    """Only those that were written: a bounce of a bounce is none."""
    async with delivering(FakeHop(lambda place, _: (LATER, UNKNOWN, TAKEN)[place])) as site:
        await site.submitted(
            "ID", *(f"{name}@p.example" for name in "abc"), notify=("SUCCESS", "FAILURE", "DELAY")
        )
        assert written(site) == {"failure": 1, "success": 1, "delay": 0}
        await site.later(FOUR_HOURS)
        assert written(site) == {"failure": 1, "success": 1, "delay": 1}
        await site.submitted("BOUNCE", "d@p.example", "e@p.example", sender="")
        assert written(site)["failure"] == 1


def written(site: Site) -> dict[str, float | None]:
    """How many reports of which kind."""
    value = site.metrics.registry.get_sample_value
    kinds = ("failure", "success", "delay")
    return {kind: value("filterrelay_reports_total", {"kind": kind}) for kind in kinds}
