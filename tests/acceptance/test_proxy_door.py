"""Between two parts of a real Postfix: as its before-queue filter, and as its content filter."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from .peers.conversation import Answer, greeted
from .peers.postfix import Postfix, run_postfix
from .peers.process import LOOPBACK, free_port, wait_until
from .peers.program import Program
from .peers.sink import Sink

GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
XCLIENT = b"XCLIENT NAME=client.example ADDR=192.0.2.7 HELO=client.example"

pytestmark = pytest.mark.peer("postfix")


@dataclass
class Between:
    """Postfix around the program."""

    postfix: Postfix
    program: Program

    async def send(self, way: str, subject: str, text: str = "All is well.") -> Answer:
        """One message of a client elsewhere, by the way of that name."""
        message = f"From: <eve@client.example>\r\nSubject: {subject}\r\n\r\n{text}\r\n"
        async with greeted(self.postfix.ports[way]) as conversation:
            assert (await conversation.ask(XCLIENT)).code == 220
            assert (await conversation.ask(b"EHLO client.example")).code == 250
            return await conversation.deliver(
                "eve@client.example", ["user@office.example"], message.encode()
            )


@pytest.fixture(scope="module")
def ports() -> dict[str, int]:
    """Where the program and the last mail server listen; Postfix must know both first."""
    return {name: free_port() for name in ("proxy", "posing", "last")}


@pytest.fixture(scope="module")
def postfix(ports: dict[str, int]) -> Iterator[Postfix]:
    """A front for each way, and the re-injection behind."""
    ours = f"{LOOPBACK}:{ports['proxy']}"
    trusting = {"smtpd_authorized_xclient_hosts": "127.0.0.0/8"}
    services = {
        "before-queue": {"smtpd_proxy_filter": ours, **trusting},
        "content-filter": {"content_filter": f"smtp:[{LOOPBACK}]:{ports['proxy']}", **trusting},
        "reinject": {
            "content_filter": "",
            "mynetworks": "127.0.0.0/8",
            "smtpd_authorized_xforward_hosts": "127.0.0.0/8",
        },
        "posed": {
            "content_filter": "",
            "smtpd_authorized_xclient_hosts": "127.0.0.0/8",
            "smtpd_client_restrictions": "check_client_access inline:{{192.0.2.66=REJECT Listed}}",
        },
    }
    settings = {
        "relay_transport": f"smtp:[{LOOPBACK}]:{ports['last']}",
        "smtp_send_xforward_command": "yes",
        "minimal_backoff_time": "1s",
        "maximal_backoff_time": "1s",
        "queue_run_delay": "1s",
    }
    with run_postfix(services, settings) as running:
        yield running


@pytest.fixture
def between(
    program: Program, sink: Sink, postfix: Postfix, ports: dict[str, int]
) -> Iterator[Between]:
    """All of it, with a filter that quarantines spam; what is re-injected arrives in the sink."""
    sink.down()
    sink.port = ports["last"]
    sink.up()
    for name, hop, told in (("proxy", "reinject", "xforward"), ("posing", "posed", "xclient")):
        address = f"{LOOPBACK}:{ports[name]}"
        program.config["listener"].append(
            {"kind": "proxy", "name": name, "address": address, "upstream": hop}
        )
        hosts = [f"{LOOPBACK}:{postfix.ports[hop]}"]
        program.config["upstream"].append({"name": hop, "hosts": hosts, "tls": "none", told: True})
    program.config["filter"] = [{"use": "spam", "options": {"reject": "off"}}]
    program.start()
    yield Between(postfix, program)
    program.stop()


@pytest.mark.parametrize("way", ["before-queue", "content-filter"])
async def test_mail_passes_and_its_client_is_known_all_the_way(
    between: Between, sink: Sink, way: str
) -> None:
    """The filters see who it was, and so does the log of the Postfix behind."""
    assert (await between.send(way, f"passes {way}")).code == 250
    (arrival,) = await asyncio.to_thread(sink.wait_for, f"passes {way}")
    assert b"by relay.office.example with ESMTP" in arrival.message
    (event,) = [
        each
        for each in between.program.log_events()
        if each["event"] == "message" and each["client"] == "192.0.2.7"
    ]
    assert "queued as" in event["reply"]
    said = "orig_client=client.example[192.0.2.7]"
    await asyncio.to_thread(wait_until, lambda: said in between.postfix.log(), said)
    traced = between.program.json_command("trace", event["message_id"])
    kinds = [each["kind"] for each in traced["events"]]
    assert kinds == ["received", "attempt"]


async def test_an_odd_name_is_no_reason_to_refuse_mail(between: Between, sink: Sink) -> None:
    """Postfix takes it, and tells us of it in an XFORWARD that must be taken, too."""
    message = b"From: <eve@client.example>\r\nSubject: odd\r\n\r\nHello.\r\n"
    async with greeted(between.postfix.ports["before-queue"]) as conversation:
        assert (await conversation.ask(b"EHLO we,us and them")).code == 250
        answer = await conversation.deliver("eve@client.example", ["user@office.example"], message)
    assert answer.code == 250, answer
    await asyncio.to_thread(sink.wait_for, "Subject: odd")


async def test_what_a_filter_sets_aside_is_released_behind(between: Between, sink: Sink) -> None:
    """Postfix is told that all is done; an operator lets it go on, to the re-injection."""
    assert (await between.send("before-queue", "set aside", GTUBE)).code == 250
    (entry,) = between.program.json_command("quarantine", "list")
    assert sink.about("set aside") == []
    done = between.program.command("quarantine", "release", entry["id"])
    assert done.returncode == 0, done.stdout + done.stderr
    (arrival,) = await asyncio.to_thread(sink.wait_for, "set aside")
    assert b"mx.provider.example" in arrival.message  # through Postfix, not around it


async def test_the_rules_for_clients_behind_hold_for_the_client_in_front(
    between: Between, sink: Sink, ports: dict[str, int]
) -> None:
    """With XCLIENT the last Postfix refuses whom it doesn't like, and logs whom it does."""
    message = b"From: <eve@client.example>\r\nSubject: posed\r\n\r\nHello.\r\n"
    async with greeted(ports["posing"]) as conversation:
        assert (await conversation.ask(b"EHLO mx.example")).code == 250
        for address, code in (("192.0.2.66", 554), ("192.0.2.7", 250), ("192.0.2.7", 250)):
            told = f"XFORWARD ADDR={address} NAME=client.example HELO=client.example"
            assert (await conversation.ask(told.encode())).code == 250
            answer = await conversation.deliver(
                "eve@client.example", ["user@office.example"], message
            )
            assert answer.code == code, answer
            if code != 250:
                assert "Listed" in answer.text
                assert (await conversation.ask(b"RSET")).code == 250
    await asyncio.to_thread(sink.wait_for, "Subject: posed", 2)
    said = "client=client.example[192.0.2.7]"
    await asyncio.to_thread(wait_until, lambda: said in between.postfix.log(), said)


async def test_while_we_are_down_postfix_keeps_its_mail(between: Between, sink: Sink) -> None:
    """Before the queue the client is told to come again; behind it nothing is lost."""
    between.program.stop()
    assert (await between.send("before-queue", "not now")).code in (421, 451)
    assert (await between.send("content-filter", "later")).code == 250
    assert sink.about("later") == []
    between.program.start()
    await asyncio.to_thread(sink.wait_for, "Subject: later")
    assert sink.about("not now") == []
