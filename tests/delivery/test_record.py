"""What is told of an attempt: in the trace, the log, the metrics, and to plugins that look on."""

import pytest
import structlog

from filterrelay.delivery.contact import Contact, Stage
from filterrelay.mail.envelope import Recipient
from filterrelay.mail.reply import Reply

from .hop import LATER, QUARTER, TAKEN, UNKNOWN, FakeHop, Site, delivering, get

CONTACT = Contact("192.0.2.1:25", "AES", True, True, waited=0.25, took=0.5, failed=Stage.RCPT)


async def test_each_transaction_is_in_the_trace() -> None:
    """With next hop, host, encryption and each recipient's result."""
    async with delivering(FakeHop(lambda place, _: UNKNOWN if place else TAKEN)) as site:
        await site.submitted("ID", "a@p.example", "b@p.example")
        event = next(e for e in await site.spool.events("ID") if e.kind == "attempt")
        assert event.data == {
            "upstream": "provider",
            "reason": "no route matches: the default upstream",
            "host": "mx.provider.example:25",
            "tls": "TLSv1.3",
            "recipients": [
                {"address": "a@p.example", "result": "delivered", "reply": "250 2.0.0 Queued"},
                {"address": "b@p.example", "result": "bounced", "reply": "550 5.1.1 No such user"},
            ],
            "seconds": 0.0,
        }


async def test_how_the_host_was_met_is_in_the_trace() -> None:
    """Its address, the encryption, the time spent, how far it came, and when it is tried again."""
    hop = FakeHop(lambda *_: LATER)
    hop.contact = CONTACT
    async with delivering(hop) as site:
        await site.submitted()
        (event,) = await site.spool.events("ID")
        assert (event.data["address"], event.data["cipher"]) == ("192.0.2.1:25", "AES")
        assert (event.data["verified"], event.data["kept"]) == (True, True)
        assert (event.data["waited"], event.data["took"]) == (0.25, 0.5)
        assert event.data["stage"] == "rcpt"
        following = (await get(site)).recipients[0].next_attempt
        assert event.data["recipients"][0]["next"] == f"{following:%Y-%m-%dT%H:%M:%SZ}"


async def test_observers_hear_of_each_recipient() -> None:
    """One after the other, with the attempt's number."""
    async with delivering(FakeHop(lambda *_: LATER)) as site:
        await site.submitted("ID", "a@p.example", "b@p.example")
        assert [(str(a.recipient), a.result, a.number) for a in site.attempts] == [
            ("a@p.example", "deferred", 1),
            ("b@p.example", "deferred", 1),
        ]


async def test_observers_hear_how_it_was_and_what_follows() -> None:
    """The same facts as the trace's."""
    hop = FakeHop(lambda *_: LATER)
    hop.contact = CONTACT
    async with delivering(hop) as site:
        await site.submitted()
        (attempt,) = site.attempts
        assert (attempt.address, attempt.tls, attempt.cipher) == ("192.0.2.1:25", "TLSv1.3", "AES")
        assert (attempt.verified, attempt.stage) == (True, "rcpt")
        assert attempt.next_attempt == (await get(site)).recipients[0].next_attempt
        assert attempt.reason == "no route matches: the default upstream"


async def test_failures_are_counted_by_how_far_they_came() -> None:
    """Once a transaction, whoever it was for."""
    hop = FakeHop(lambda *_: LATER)
    hop.contact = CONTACT
    async with delivering(hop) as site:
        await site.submitted("ID", "a@p.example", "b@p.example")
        labels = {"upstream": "provider", "stage": "rcpt"}
        value = site.metrics.registry.get_sample_value
        assert value("filterrelay_attempt_failures_total", labels) == 1
        assert value("filterrelay_connection_seconds_sum", {"upstream": "provider"}) == 0.25


@pytest.mark.parametrize(
    ("reply", "result", "kind"),
    [(TAKEN, "delivered", "2xx"), (LATER, "deferred", "4xx"), (UNKNOWN, "bounced", "5xx")],
)
async def test_results_are_counted_and_logged(reply: Reply, result: str, kind: str) -> None:
    """One line and one count a result."""
    with structlog.testing.capture_logs() as lines:
        hop = FakeHop(lambda *_: reply)
        hop.contact = CONTACT
        async with delivering(hop) as site:
            await site.submitted()
            labels = {"upstream": "provider", "result": result, "reply": kind}
            registry = site.metrics.registry
            assert registry.get_sample_value("filterrelay_deliveries_total", labels) == 1
    (line,) = [line for line in lines if line["event"] == result]
    assert line["message_id"] == "ID"
    assert line["recipients"] == ["bob@partner.example"]
    assert line["reply"] == str(reply)
    assert (line["address"], line["tls"]) == ("192.0.2.1:25", "TLSv1.3")
    assert line["delays"] == {"queue": 0.0, "connection": 0.25, "transaction": 0.5}


async def test_each_recipient_counts_with_its_time_and_its_attempts() -> None:
    """What is delivered in time can be set against what was accepted: both count recipients."""
    later = [LATER]

    def answer(_: int, recipient: Recipient) -> Reply:
        return later.pop() if recipient.address.local == "b" and later else TAKEN

    async with delivering(FakeHop(answer)) as site:
        await site.submitted("ID", "a@p.example", "b@p.example", "c@p.example")
        assert delivered(site, "seconds_count", "attempts_count") == (2, 2)
        await site.later(QUARTER)
        assert delivered(site, "seconds_count", "attempts_count") == (3, 3)
        assert delivered(site, "seconds_sum", "attempts_sum") == (QUARTER.total_seconds(), 4)


def delivered(site: Site, *names: str) -> tuple[float | None, ...]:
    """What the histograms of deliveries say."""
    value = site.metrics.registry.get_sample_value
    labels = {"upstream": "provider"}
    return tuple(value(f"filterrelay_delivery_{name}", labels) for name in names)
