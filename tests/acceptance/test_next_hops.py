"""Delivery to real servers: Postfix over TLS with a login, and Postfix's own smtp-sink."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from filterrelay.delivery.hops import Hops
from filterrelay.delivery.route import Way
from filterrelay.delivery.upstream import Sent, UpstreamLike
from filterrelay.mail import hop as mail_hop
from filterrelay.observe.metrics import Metrics
from filterrelay.plugin.testing import an_envelope
from filterrelay.settings import Upstream as UpstreamSettings

from .conftest import PROVIDER_LOGIN
from .peers.certificates import Certificates
from .peers.postfix import Postfix, run_postfix
from .peers.process import LOOPBACK, Process, free_port, wait_until, workplace

MESSAGE = b"From: <office@office.example>\r\nSubject: Lunch\r\n\r\n.Hello.\r\n..\r\n"
Hop = Callable[..., UpstreamLike]

pytestmark = pytest.mark.peer("postfix")


@pytest.fixture
async def hop() -> AsyncIterator[Hop]:
    """Makes a next hop on that port, closed in the end."""
    made: list[UpstreamLike] = []

    def make(port: int, **changes: Any) -> UpstreamLike:
        values: dict[str, Any] = {"name": "provider", "hosts": (f"localhost:{port}",)}
        settings = UpstreamSettings(**(values | {"tls": "none", "timeout": "5s"} | changes))
        hops = Hops([settings], [], "relay.office.example", Metrics())
        made.append(hops.open(Way(mail_hop.Hop(settings.name))))
        return made[-1]

    yield make
    for upstream in made:
        upstream.close()


async def send(upstream: UpstreamLike, *to: str, body: bytes = MESSAGE) -> Sent:
    """One message."""
    envelope = an_envelope("office@office.example", *to)
    return await upstream.send(envelope, envelope.recipients, body)


def code(sent: Sent) -> str:
    """The first reply's codes."""
    return f"{sent.replies[0].code} {sent.replies[0].enhanced}"


def login(certificates: Certificates, password: str = PROVIDER_LOGIN[1]) -> dict[str, Any]:
    """The settings that the provider asks for."""
    return {
        "tls": "required",
        "ca_file": certificates.authority,
        "username": PROVIDER_LOGIN[0],
        "password": password,
    }


@pytest.mark.peer("dovecot")
async def test_postfix_takes_mail_over_tls_with_a_login(
    hop: Hop, provider: Postfix, certificates: Certificates
) -> None:
    """Five messages go through one connection, one handshake and one login."""
    upstream = hop(provider.ports["submission"], **login(certificates))
    for _ in range(5):
        sent = await send(upstream, "bob@office.example")
        assert code(sent) == "250 2.0.0"
    assert sent.tls.startswith("TLSv1.")
    assert sent.dsn
    upstream.close()
    said = "ehlo=2 starttls=1 auth=1 mail=5 rcpt=5 bdat=5 quit=1"
    await asyncio.to_thread(wait_until, lambda: said in provider.log(), said)


async def test_postfix_refuses_one_of_three_recipients_and_defers_another(hop: Hop) -> None:
    """Each recipient's reply is its own."""
    access = "inline:{{gone@office.example=550 5.1.1 Gone}, {later@office.example=450 4.2.0 Later}}"
    service = {"smtpd_recipient_restrictions": f"check_recipient_access {access}, permit"}
    with run_postfix({"picky": service}, {"relay_transport": "discard:"}) as postfix:
        upstream = hop(postfix.ports["picky"])
        to = [f"{name}@office.example" for name in ("gone", "bob", "later")]
        sent = await send(upstream, *to)
        upstream.close()
    codes = [f"{reply.code} {reply.enhanced}" for reply in sent.replies]
    assert codes == ["550 5.1.1", "250 2.0.0", "450 4.2.0"]


@pytest.mark.peer("dovecot")
async def test_postfix_refuses_a_wrong_password(
    hop: Hop, provider: Postfix, certificates: Certificates
) -> None:
    """The mail waits for a better one."""
    upstream = hop(provider.ports["submission"], **login(certificates, "wrong"))
    sent = await send(upstream, "bob@office.example")
    assert code(sent) == "454 4.7.8"


@contextmanager
def smtp_sink(*options: str) -> Any:
    """Postfix's smtp-sink with these options; gives its port."""
    with workplace("smtp-sink") as home:
        port = free_port()
        user = ["-u", "postfix"]
        process = Process(["smtp-sink", *user, *options, f"{LOOPBACK}:{port}", "100"], home / "log")
        try:
            process.wait_for_port(port)
            yield port
        finally:
            process.kill_group()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), "250 2.0.0"),
        (("-p",), "250 2.0.0"),  # no PIPELINING
        (("-e",), "250 2.0.0"),  # no ESMTP at all
        (("-r", "RCPT"), "450 4.3.0"),
        (("-f", "MAIL"), "500 5.3.0"),
        (("-f", "."), "500 5.3.0"),
        (("-r", "."), "450 4.3.0"),
        (("-q", "MAIL"), "451 4.4.2"),
        (("-q", "DATA"), "451 4.4.2"),
        (("-q", "."), "451 4.4.2"),
        (("-q", "CONNECT"), "451 4.4.2"),
    ],
)
async def test_smtp_sink_in_its_moods(hop: Hop, options: tuple[str, ...], expected: str) -> None:
    """Whatever it does, the result is the one that a postmaster would expect."""
    sink: AbstractContextManager[int] = smtp_sink(*options)
    with sink as port:
        sent = await send(hop(port), "bob@partner.example")
    assert code(sent) == expected


async def test_smtp_sink_takes_a_big_message(hop: Hop) -> None:
    """25 MB, dots and all."""
    with smtp_sink() as port:
        sent = await send(hop(port), "bob@partner.example", body=MESSAGE * 400_000)
    assert code(sent) == "250 2.0.0"


@pytest.mark.parametrize("ignored", [(), ("pipelining",)])
async def test_postfix_refuses_a_chunk_and_takes_the_next_message(
    hop: Hop, ignored: tuple[str, ...]
) -> None:
    """A message beyond its limit, of which it didn't say anything, ends at the chunk refused."""
    service = {"smtpd_discard_ehlo_keywords": "size", "message_size_limit": "400000"}
    with run_postfix({"small": service}, {"relay_transport": "discard:"}) as postfix:
        upstream = hop(postfix.ports["small"], ignore_extensions=ignored)
        sent = await send(upstream, "bob@office.example", body=MESSAGE * 40_000)
        assert code(sent) == "552 5.3.4"
        assert code(await send(upstream, "bob@office.example")) == "250 2.0.0"
        assert code(await send(upstream, "bob@office.example", body=MESSAGE * 5000)) == "250 2.0.0"
        upstream.close()
        said = re.compile(r" mail=3 rcpt=3 bdat=\S+ rset=1 quit=1 ")
        await asyncio.to_thread(wait_until, lambda: said.search(postfix.log()), said.pattern)


async def shaped(upstream: UpstreamLike, count: int) -> list[str]:
    """So many messages at once, as the scheduler sends them; their codes, `waits` if not tried."""

    async def one() -> str:
        if await upstream.admit(1) is not None:
            return "waits"
        try:
            return code(await send(upstream, "bob@office.example"))
        finally:
            upstream.leave()

    return await asyncio.gather(*(one() for _ in range(count)))


async def test_postfix_that_allows_two_connections_gets_all_mail_over_two(hop: Hop) -> None:
    """Its 421 to the third one costs no message anything."""
    service = {"smtpd_client_connection_count_limit": "2"}
    with run_postfix({"strict": service}, {"relay_transport": "discard:"}) as postfix:
        upstream = hop(postfix.ports["strict"])
        assert await shaped(upstream, 40) == ["250 2.0.0"] * 40
        assert upstream.outage() is None
        upstream.close()
        refused = "Connection concurrency limit exceeded"
        await asyncio.to_thread(wait_until, lambda: refused in postfix.log(), refused)


async def test_postfix_that_has_too_much_mail_is_left_alone(hop: Hop) -> None:
    """After its first refusals nothing more is tried; what waits isn't touched."""
    service = {"smtpd_client_message_rate_limit": "10"}
    with run_postfix({"strict": service}, {"relay_transport": "discard:"}) as postfix:
        upstream = hop(postfix.ports["strict"])
        said = await shaped(upstream, 60)
        outage = upstream.outage()
        upstream.close()
    assert said.count("250 2.0.0") == 10
    assert 3 <= said.count("450 4.7.1") <= 20
    assert said.count("waits") >= 30
    assert outage is not None
    assert "too much mail" in outage.reply.text
