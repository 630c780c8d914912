"""Direct delivery: NSD names the mail servers, and real Postfix are them, all on loopback."""

import asyncio
import re
import smtplib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from filterrelay.delivery.addresses import HostLookup
from filterrelay.delivery.direct import DirectSites, Ourselves
from filterrelay.delivery.failover import Hosts
from filterrelay.delivery.hops import dialing_of
from filterrelay.mail.endpoint import Endpoint
from filterrelay.observe.clock import SystemClock
from filterrelay.observe.metrics import Metrics
from filterrelay.plugin.resolver import DnsResolver
from filterrelay.settings import Upstream

from .peers.certificates import Certificates
from .peers.nsd import Nsd, run_nsd
from .peers.postfix import Postfix, run_postfix
from .peers.process import LOOPBACK, free_port, wait_until
from .peers.program import Program, run_program
from .peers.sink import Sink, run_sink

SENDER = "alice@office.example"  # whose domain's mail goes to the sink, reports to her included
MESSAGE = b"From: <alice@office.example>\r\nSubject: Lunch\r\n\r\nHello.\r\n"
RESULTS = ("delivered", "deferred", "bounced")
ADDRESSES = {"mx1": "127.0.0.2", "mx2": "127.0.0.3", "mx3": "127.0.0.4"}
ZONE = """\
mx1.host A 127.0.0.2
mx2.host A 127.0.0.3
mx3.host A 127.0.0.4
dead.host A 127.0.0.5
relay.office A 127.0.0.1
first MX 10 mx1.host
first MX 20 mx2.host
last MX 20 mx1.host
last MX 10 mx2.host
twin MX 10 mx1.host
twin MX 20 mx2.host
equal MX 10 mx1.host
equal MX 10 mx2.host
half-dead MX 10 dead.host
half-dead MX 20 mx1.host
comes-back MX 10 mx3.host
comes-back MX 20 mx1.host
bare A 127.0.0.3
alias CNAME bare
null MX 0 .
xn--bcher-kva MX 10 mx2.host
private MX 10 mx1.host
circle MX 10 relay.office
circle MX 20 mx1.host
address MX 10 relay-too.host
relay-too.host A 127.0.0.6
outage MX 10 mx1.host
"""
ZONES = {"example": ZONE, "broken": ""}
OPEN = {
    "mynetworks": "127.0.0.0/8",
    "default_transport": "discard:",
    "relay_transport": "discard:",
    "relay_domains": "",
    "smtpd_tls_security_level": "none",
}

pytestmark = pytest.mark.peer("postfix", "nsd")


@contextmanager
def mail_servers(port: int, *names: str) -> Iterator[Postfix]:
    """A Postfix that is each of these, at its address."""
    services: dict[str, dict[str, str]] = {name: {} for name in names}
    with run_postfix(services, OPEN, addresses=ADDRESSES, port=port) as running:
        yield running


@dataclass
class Internet:
    """The relay, what its sender gets back, a name server and the mail servers mx1 and mx2."""

    program: Program
    sink: Sink
    nsd: Nsd
    postfix: Postfix
    port: int

    def submit(self, *recipients: str) -> str:
        """One message; its ID."""
        with smtplib.SMTP(LOOPBACK, self.program.ports["open"], timeout=20) as client:
            client.ehlo("client.office.example")
            utf8 = [] if "".join(recipients).isascii() else ["SMTPUTF8"]
            assert client.mail(SENDER, utf8)[0] == 250
            for recipient in recipients:
                assert client.rcpt(recipient)[0] == 250
            code, text = client.data(MESSAGE)
        assert code == 250
        return text.decode().split()[-1]

    def attempts(self, id_: str) -> list[dict[str, Any]]:
        """What the log has of its attempts, once there is one."""

        def tried() -> list[dict[str, Any]]:
            events = self.program.log_events()
            about = [each for each in events if each.get("message_id") == id_]
            return [each for each in about if each["event"] in RESULTS]

        return wait_until(tried, "an attempt")

    def outcome(self, recipient: str) -> str:
        """What became of a message in its first attempt: the host, or the refusal's codes."""
        attempt = self.attempts(self.submit(recipient))[0]
        if attempt["event"] == "delivered":
            return str(attempt["host"]).removesuffix(f":{self.port}")
        return f"{attempt['event']} {' '.join(attempt['reply'].split()[:2])}"


@pytest.fixture(scope="module")
def internet(certificates: Certificates) -> Iterator[Internet]:
    """All at work."""
    port = free_port()
    with (
        run_nsd(ZONES) as nsd,
        mail_servers(port, "mx1", "mx2") as postfix,
        run_sink() as sink,
        run_program(certificates, sink.port) as program,
    ):
        direct = {"protocol": "mx", "port": port, "tls": "none"}
        program.config["dns"] = {"servers": [nsd.address], "timeout": "1s"}
        program.config["delivery"] = {"retry": "1s", "retry_max": "2s"}
        program.config["upstream"] += [
            {"name": "mx", **direct, "allow_networks": ["127.0.0.0/8"]},
            {"name": "strict", **direct},
        ]
        program.config["route"] = [
            {"recipients": ["*@office.example"], "upstream": "provider"},
            {"recipients": ["*@private.example"], "upstream": "strict"},
            {"upstream": "mx"},
        ]
        listener = {"name": "inbound", "kind": "smtp", "address": f"127.0.0.6:{port}"}
        program.config["listener"].append(listener)
        program.start()
        yield Internet(program, sink, nsd, postfix, port)


@pytest.mark.parametrize(
    ("recipient", "outcome"),
    [
        ("bob@first.example", "mx1.host.example"),
        ("bob@last.example", "mx2.host.example"),
        ("bob@half-dead.example", "mx1.host.example"),
        ("bob@bare.example", "bare.example"),
        ("bob@alias.example", "alias.example"),
        ("bob@[127.0.0.2]", "127.0.0.2"),
        ("bob@bücher.example", "mx2.host.example"),
        ("bob@null.example", "bounced 556 5.1.10"),
        ("bob@gone.example", "bounced 550 5.1.2"),
        ("bob@circle.example", "bounced 550 5.4.6"),
        ("bob@address.example", "bounced 550 5.4.6"),
        ("bob@private.example", "bounced 550 5.4.4"),
        ("bob@office.broken", "deferred 451 4.4.3"),
        ("bob@elsewhere.invalid", "deferred 451 4.4.3"),
    ],
)
def test_mail_goes_where_dns_says(internet: Internet, recipient: str, outcome: str) -> None:
    """By preference, past what is dead; what has no way bounces, what is unclear waits."""
    assert internet.outcome(recipient) == outcome


def test_the_sender_is_told_why(internet: Internet) -> None:
    """In a report, with the code."""
    internet.submit("carol@null.example")
    (report,) = internet.sink.wait_for("carol@null.example")
    assert b"5.1.10" in report.message


def test_two_domains_with_the_same_servers_share_a_transaction(internet: Internet) -> None:
    """The message crosses the network once."""
    internet.submit("dora@first.example", "emil@twin.example")

    def queue_id(recipient: str) -> str | None:
        found = re.search(rf" (\w+): to=<{recipient}>.*status=sent", internet.postfix.log())
        return found and found[1]

    one = wait_until(lambda: queue_id("dora@first.example"), "the first recipient")
    assert wait_until(lambda: queue_id("emil@twin.example"), "the second recipient") == one
    assert f"{one}: client=" in internet.postfix.log()


def test_the_first_server_takes_over_again_when_it_is_back(internet: Internet) -> None:
    """Meanwhile the second one has the mail."""
    recipient = "bob@comes-back.example"
    assert internet.outcome(recipient) == "mx1.host.example"
    with mail_servers(internet.port, "mx3"):
        wait_until(lambda: internet.outcome(recipient) == "mx3.host.example", "failing back")
    assert internet.outcome(recipient) == "mx1.host.example"


def test_mail_waits_while_dns_is_away(internet: Internet) -> None:
    """And goes when it is back."""
    internet.nsd.stop()
    id_ = internet.submit("bob@outage.example")
    assert "DNS time-out" in internet.attempts(id_)[0]["reply"]
    internet.nsd.start()
    wait_until(lambda: internet.attempts(id_)[-1]["event"] == "delivered", "the mail")


async def test_servers_of_equal_preference_share_the_connections(internet: Internet) -> None:
    """Each connection chooses anew."""
    resolver = DnsResolver([internet.nsd.address], timedelta(seconds=2), SystemClock())
    settings = Upstream(
        name="mx",
        protocol="mx",
        port=internet.port,
        tls="none",
        allow_networks=("127.0.0.0/8",),
    )
    lookup = HostLookup(resolver, settings.allow_networks)
    sites = DirectSites(resolver, lookup, Ourselves("relay.office.example"), internet.port)
    site = await sites.site("equal.example")
    groups = [[Endpoint(host, internet.port) for host in group] for group in site.hosts]
    dialing = dialing_of(settings, "relay.office.example", resolver=resolver)
    hosts = Hosts("mx", groups, dialing, Metrics().hosts_down.labels("mx"))
    opened = await asyncio.gather(*(hosts.open() for _ in range(24)))
    await asyncio.gather(*(conversation.leave() for conversation in opened))
    await resolver.close()
    assert len({conversation.peer.host for conversation in opened}) == 2
