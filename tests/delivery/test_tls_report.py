"""The daily reports on TLS: what they say, who gets them, and that each goes out once."""

import asyncio
import email
import email.policy
import gzip
import json
import ssl
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from filterrelay.delivery.https import Https
from filterrelay.delivery.mta_sts import StsPolicy, Told
from filterrelay.delivery.tls import Rung
from filterrelay.delivery.tls_report import (
    AFTER,
    GIVE_UP,
    PAUSE,
    SPREAD,
    Sender,
    TlsReports,
    _alone,
    places_of,
)
from filterrelay.delivery.tls_session import DESTINATIONS, Failure, TlsSession
from filterrelay.delivery.tls_tally import TlsTally
from filterrelay.mail.envelope import Envelope
from filterrelay.observe.metrics import Metrics
from filterrelay.plugin.testing import SOME_TIME, FakeClock, FakeResolver
from filterrelay.spool.store import SpoolFull

from .certificates import make_authority
from .web import at_loopback, web

DOMAIN = "partner.example"
RECORD = (f"_smtp._tls.{DOMAIN}", "TXT")
BY_MAIL = b"v=TLSRPTv1; rua=mailto:tls@partner.example"
GOOD = TlsSession("mx.partner.example", "TLSv1.3", Rung.VERIFIED, proved=True)
BAD = TlsSession(
    "mx.partner.example", "none", Rung.VERIFIED, failure=Failure.EXPIRED, reason="it is old"
)
POLICY = StsPolicy("1", "enforce", ("mx.partner.example",), 86_400, SOME_TIME)


@pytest.mark.parametrize(
    ("records", "places"),
    [
        ([BY_MAIL], ["mailto:tls@partner.example"]),
        (
            [b"v=spf1", b"v=TLSRPTv1;rua=https://a.example/r, mailto:b@c.example;"],
            ["https://a.example/r", "mailto:b@c.example"],
        ),
        ([BY_MAIL, BY_MAIL], []),
        ([b"v=TLSRPTv2; rua=mailto:a@b.example"], []),
        ([b"v=TLSRPTv1; rua=http://a.example/"], []),
        ([b"v=TLSRPTv1;"], []),
        ([], []),
    ],
)
def test_where_reports_go(records: list[bytes], places: list[str]) -> None:
    """To mail addresses and web servers with TLS (RFC 8460 section 3)."""
    assert places_of(records) == places


class Site:
    """A relay that has counted, and its reports."""

    def __init__(self, directory: Path, resolver: FakeResolver, https: Https | None = None) -> None:
        self.clock, self.metrics = FakeClock(), Metrics()
        self.directory = directory / "tls-reports"
        self.tally = TlsTally(self.directory, "worker-1", self.clock)
        self.sent: list[tuple[Envelope, bytes]] = []
        self.ids: list[str] = []
        self.refused: list[str] = []
        sender = Sender("relay.office.example", "postmaster@office.example")
        self.reports = TlsReports(
            self.directory,
            sender,
            resolver,
            https or Https(at_loopback().places),
            self._submit,
            self.clock,
            self.metrics,
        )

    async def _submit(self, envelope: Envelope, raw: bytes, id_: str) -> None:
        if str(envelope.recipients[0].address) in self.refused:
            raise SpoolFull(0)
        self.sent.append((envelope, raw))
        self.ids.append(id_)

    def count(self, *sessions: TlsSession, domain: str = DOMAIN) -> None:
        """Counts these for the domain, and writes them down."""
        DESTINATIONS.set((domain,))
        for session in sessions:
            self.tally.note(session)
        self.tally.flush()

    async def after(self, **time: float) -> int:
        """How many reports have gone out by mail after that time."""
        self.clock.advance(timedelta(**time))
        await self.reports.send_due()
        return len(self.sent)

    def content(self) -> Any:
        """What the only report by mail says."""
        ((_, raw),) = self.sent
        message = email.message_from_bytes(raw, policy=email.policy.default)
        (attached,) = message.iter_attachments()
        return json.loads(gzip.decompress(attached.get_content()))


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Site]:
    """Makes a site whose destination has this record."""
    return lambda *records, **more: Site(tmp_path, FakeResolver({RECORD: records}, **more))


async def test_a_report_says_what_came_of_the_day(make: Callable[..., Site]) -> None:
    """The policy, how often it held, and each way in which it didn't (RFC 8460 section 4.4)."""
    site = make(BY_MAIL)
    site.tally.found(DOMAIN, Told(POLICY))
    site.count(GOOD, GOOD, BAD)
    site.count(GOOD)
    assert await site.after(days=1) == 1
    assert site.content() == {
        "organization-name": "relay.office.example",
        "date-range": {
            "start-datetime": "2026-01-02T00:00:00Z",
            "end-datetime": "2026-01-02T23:59:59Z",
        },
        "contact-info": "postmaster@office.example",
        "report-id": "2026-01-02.partner.example@relay.office.example",
        "policies": [
            {
                "policy": {
                    "policy-type": "sts",
                    "policy-domain": DOMAIN,
                    "policy-string": list(POLICY.lines),
                    "mx-host": ["mx.partner.example"],
                },
                "summary": {
                    "total-successful-session-count": 3,
                    "total-failure-session-count": 1,
                },
                "failure-details": [
                    {
                        "result-type": "certificate-expired",
                        "receiving-mx-hostname": "mx.partner.example",
                        "failed-session-count": 1,
                        "failure-reason-code": "it is old",
                    }
                ],
            }
        ],
    }


async def test_a_report_by_mail_has_the_form_that_programs_look_for(
    make: Callable[..., Site],
) -> None:
    """RFC 8460 section 5.3; nobody gets a bounce for it."""
    site = make(BY_MAIL)
    site.count(GOOD)
    await site.after(days=1)
    ((envelope, raw),) = site.sent
    assert envelope.sender is None
    assert [str(each) for each in envelope.recipients] == ["tls@partner.example"]
    assert all(line.isascii() and len(line) <= 998 for line in raw.split(b"\r\n"))
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert not message.defects
    assert message.get_content_type() == "multipart/report"
    assert message["Content-Type"].params["report-type"] == "tlsrpt"
    assert message["TLS-Report-Domain"] == DOMAIN
    assert message["TLS-Report-Submitter"] == "relay.office.example"
    assert message["Subject"].startswith(f"Report Domain: {DOMAIN} Submitter: relay.office.example")
    text, attached = message.iter_parts()
    assert text.get_content_type() == "text/plain"
    assert attached.get_content_type() == "application/tlsrpt+gzip"
    assert attached.get_filename() == (
        f"relay.office.example!{DOMAIN}!1767312000!1767398399.json.gz"
    )


async def test_each_report_goes_out_once(make: Callable[..., Site]) -> None:
    """After its day is over, and not again after a restart."""
    site = make(BY_MAIL)
    site.count(GOOD)
    assert await site.after(hours=21, minutes=10) == 0
    assert await site.after(hours=4) == 1
    assert await site.after(days=1) == 1
    assert [each.name for each in site.directory.iterdir()] == ["lock"]
    value = site.metrics.registry.get_sample_value
    assert value("filterrelay_reports_total", {"kind": "tls"}) == 1


async def test_a_report_that_is_made_again_has_the_same_id(make: Callable[..., Site]) -> None:
    """One for each address and day, so that whoever spools it can tell that it is there."""
    site = make(BY_MAIL + b",mailto:copy@partner.example")
    site.count(GOOD)
    site.refused.append("copy@partner.example")  # as if the end came between the two
    assert await site.after(days=1) == 1
    site.refused.clear()
    assert await site.after(hours=1) == 3
    first, again, other = site.ids
    assert first == again != other
    site.count(GOOD)
    assert await site.after(days=1) == 5
    assert len({*site.ids}) == 4


async def test_days_on_which_nothing_ran_are_made_up_for(make: Callable[..., Site]) -> None:
    """What was counted waits on disk."""
    site = make(BY_MAIL)
    site.count(GOOD)
    site.clock.advance(timedelta(days=1))
    site.count(GOOD)
    assert await site.after(days=3) == 2


async def test_who_asks_for_none_gets_none(make: Callable[..., Site]) -> None:
    """And the counts are forgotten."""
    site = make()
    site.count(GOOD)
    assert await site.after(days=1) == 0
    assert [each.name for each in site.directory.iterdir()] == ["lock"]


async def test_one_domains_trouble_holds_up_no_other(make: Callable[..., Site]) -> None:
    """It is tried again, for two days, and the others get theirs once."""
    site = make(BY_MAIL, failing=["_smtp._tls.broken.example"])
    site.count(GOOD, domain="broken.example")
    site.count(GOOD)
    assert await site.after(days=1) == 1
    assert await site.after(hours=1) == 1
    assert len([*site.directory.iterdir()]) == 2
    assert await site.after(days=GIVE_UP.days) == 1
    assert len([*site.directory.iterdir()]) == 1


async def test_a_report_that_cannot_be_made_holds_up_no_other(tmp_path: Path) -> None:
    """Nor does its day stay for ever."""
    first = "a.example"
    records = {
        RECORD: [BY_MAIL],
        (f"_smtp._tls.{first}", "TXT"): [b"v=TLSRPTv1; rua=mailto:tls@a.example"],
    }
    site = Site(tmp_path, FakeResolver(records))
    site.refused.append("tls@a.example")
    site.count(GOOD, domain=first)
    site.count(GOOD)
    assert await site.after(days=1) == 1
    assert await site.after(days=GIVE_UP.days) == 1
    assert [each.name for each in site.directory.iterdir()] == ["lock"]


async def test_relays_do_not_all_report_at_once(tmp_path: Path) -> None:
    """Each has a time of its own in the first hours of the day (RFC 8460 section 4.1)."""

    def due(hostname: str) -> timedelta:
        sender = Sender(hostname, "postmaster@office.example")
        https = Https(at_loopback().places)
        site = Site(tmp_path, FakeResolver())
        parts = FakeResolver(), https, site._submit, FakeClock(), Metrics()
        return TlsReports(tmp_path, sender, *parts)._after

    times = {due(f"relay{number}.example") for number in range(8)}
    assert len(times) == 8
    assert all(AFTER <= each <= AFTER + SPREAD for each in times)
    assert due("relay0.example") == due("relay0.example")


async def test_a_mail_address_with_a_subject_is_one(make: Callable[..., Site]) -> None:
    """It is a URL (RFC 6068); the subject has its own form."""
    site = make(b"v=TLSRPTv1; rua=mailto:tls@partner.example?subject=Report")
    site.count(GOOD)
    assert await site.after(days=1) == 1


async def test_what_is_no_text_is_passed_over(make: Callable[..., Site]) -> None:
    """The disk was bad, say; the rest counts."""
    site = make(BY_MAIL)
    site.count(GOOD)
    (file,) = site.directory.glob("*/*.jsonl")
    file.write_bytes(b"\xff\xfe\n" + file.read_bytes())
    assert await site.after(days=1) == 1


def test_all_have_written_when_the_first_looks() -> None:
    """Each does so after every pause."""
    assert timedelta(seconds=2 * PAUSE) < AFTER


async def test_one_process_at_a_time(make: Callable[..., Site]) -> None:
    """The others leave it alone."""
    site = make(BY_MAIL)
    site.count(GOOD)
    with _alone(site.directory) as alone:
        assert alone
        assert await site.after(days=1) == 0
    assert await site.after(hours=1) == 1


async def test_a_report_goes_to_a_web_server(tmp_path: Path) -> None:
    """As the same compressed JSON (RFC 8460 section 5.4); one that refuses is asked again."""
    authority = make_authority(tmp_path)
    resolver = FakeResolver({RECORD: [b"v=TLSRPTv1; rua=https://tls.partner.example/in"]})
    with web(authority.server("tls.partner.example")) as server:
        trusted = ssl.create_default_context(cafile=str(authority.file))
        https = Https(at_loopback("tls.partner.example").places, trusted, server.port)
        site = Site(tmp_path, resolver, https)
        site.count(GOOD)
        await site.after(days=1)
        server.answers["/in"] = (201, {}, b"")
        await site.after(hours=1)
        await site.after(hours=1)
        refused, taken = server.posted
        assert refused == taken
        assert taken[0] == "application/tlsrpt+gzip"
        assert (
            json.loads(gzip.decompress(taken[1]))["policies"][0]["policy"]["policy-domain"]
            == DOMAIN
        )


async def test_what_is_counted_is_not_lost_at_the_end(make: Callable[..., Site]) -> None:
    """The process writes it down when it stops."""
    site = make(BY_MAIL)
    running = asyncio.create_task(site.reports.run(site.tally))
    await asyncio.sleep(0)
    DESTINATIONS.set((DOMAIN,))
    site.tally.note(GOOD)
    running.cancel()
    await asyncio.wait({running})
    assert await site.after(days=1) == 1
