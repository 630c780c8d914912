"""HAProxy in front of the smtp door, as deploy/haproxy.cfg has it: the door sees the client.

Behind each HAProxy stand a door and a place where nobody listens, and clients come from
loopback addresses of their own.
"""

import asyncio
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, ExitStack
from dataclasses import dataclass

import pytest

from .peers.certificates import Certificates
from .peers.conversation import Conversation, connect, greeted, trusting_context
from .peers.haproxy import SEND_PROXY, SMTP_CHECK, run_haproxy
from .peers.process import LOOPBACK, Process, free_port, wait_until
from .peers.program import USERS, Program, run_program
from .peers.sink import Sink, run_sink

pytestmark = pytest.mark.peer("haproxy")

ANN = "ann@office.example"
TRUSTED, STRANGER = "127.0.0.77", "127.0.0.78"
VERSIONS = {"v1": {SEND_PROXY: "send-proxy"}, "v2": {}}
CHECKS = {"starttls": {}, "implicit": {f"    {SMTP_CHECK}": "    #"}}


@dataclass
class Balanced:
    """A relay behind one HAProxy for each version and kind of TLS."""

    relay: Program
    sink: Sink
    haproxies: dict[tuple[str, str], tuple[int, Process]]

    def connect(
        self, version: str, tls: str, client: str = STRANGER
    ) -> AbstractAsyncContextManager[Conversation]:
        """A greeted client."""
        port, _ = self.haproxies[version, tls]
        return greeted(port, client=client, tls=trusting_context() if tls == "implicit" else None)


@pytest.fixture(scope="module")
def balanced(certificates: Certificates) -> Iterator[Balanced]:
    """All of it, running."""
    with ExitStack() as stack:
        sink = stack.enter_context(run_sink())
        relay = stack.enter_context(run_program(certificates, sink.port))
        ports = {tls: free_port() for tls in CHECKS}
        relay.config["listener"] = [
            {
                "kind": "smtp",
                "name": tls,
                "address": f"{LOOPBACK}:{port}",
                "tls": tls,
                "auth": "optional",
                "proxy_protocol": True,
                "trusted_networks": [TRUSTED],
                "relay_domains": ["*@office.example"],
            }
            for tls, port in ports.items()
        ]
        relay.config["limits"] = {"connections_per_client": 2}
        relay.start()
        haproxies = {
            (version, tls): stack.enter_context(
                run_haproxy(ports[tls], free_port(), changes | check)
            )
            for version, changes in VERSIONS.items()
            for tls, check in CHECKS.items()
        }
        yield Balanced(relay, sink, haproxies)
        assert relay.stop() == 0
        assert sink.frowns == []


each_version = pytest.mark.parametrize("version", VERSIONS)
each_kind_of_tls = pytest.mark.parametrize("tls", CHECKS)


@each_version
@each_kind_of_tls
async def test_rules_and_trace_have_the_clients_own_address(
    version: str, tls: str, balanced: Balanced
) -> None:
    """Who is trusted relays, a stranger doesn't, and Received says who that was."""
    async with balanced.connect(version, tls, TRUSTED) as trusted:
        answer = await trusted.deliver(ANN, ["user@partner.example"], b"Subject: out\r\n\r\n")
        assert answer.code == 250, answer
    subject = f"in-{version}-{tls}"
    async with balanced.connect(version, tls) as stranger:
        answer = await stranger.deliver("a@else.example", ["user@partner.example"], b"")
        assert answer.code // 100 == 5, answer
        assert (await stranger.ask(b"RSET")).code == 250
        answer = await stranger.deliver(
            "a@else.example", [ANN], f"Subject: {subject}\r\n\r\n".encode()
        )
        assert answer.code == 250, answer
    (arrival,) = await asyncio.to_thread(balanced.sink.wait_for, subject)
    assert f"([{STRANGER}])".encode() in arrival.message


@each_version
@each_kind_of_tls
async def test_tls_goes_through(version: str, tls: str, balanced: Balanced) -> None:
    """It ends at the door, so that a login is offered and works."""
    async with balanced.connect(version, tls) as client:
        if tls == "starttls":
            assert (await client.ask(b"STARTTLS")).code == 220
            await client.start_tls(trusting_context())
            assert "AUTH" in (await client.ask(b"EHLO client.office.example")).text
        assert (await client.log_in(ANN, USERS[ANN])).code == 235


@each_version
async def test_limits_are_each_clients_own(version: str, balanced: Balanced) -> None:
    """One client's third connection is refused, while others come in through the same HAProxy."""
    port, _ = balanced.haproxies[version, "starttls"]
    # Each test's own: the relay may not know yet that the other one's have left.
    one, other = [f"127.0.{version[1]}.{number}" for number in (81, 82)]
    async with greeted(port, client=one), greeted(port, client=one):
        async with connect(port, client=one) as third:
            assert (await third.read()).code == 421
        async with greeted(port, client=other):
            pass


@each_version
@each_kind_of_tls
def test_health_checks_tell_who_is_up(version: str, tls: str, balanced: Balanced) -> None:
    """The checks bring a PROXY header of HAProxy's own, and the door answers them."""
    _, process = balanced.haproxies[version, tls]
    wait_until(lambda: "submission/relay2 is DOWN" in process.output(), "a relay that is down")
    assert "submission/relay1 is DOWN" not in process.output()
