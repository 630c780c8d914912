"""The proxy door: a mail server in front, another one behind, and neither notices us."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from filterrelay.chain.run import Judgement
from filterrelay.delivery.hops import Hops
from filterrelay.delivery.passages import Passages
from filterrelay.delivery.record import Recorder
from filterrelay.doors.proxy import ProxySession
from filterrelay.intake.transaction import Onward
from filterrelay.mail.address import parse_mailbox
from filterrelay.mail.edits import AddRecipient, ChangeSender, Edit, edit_envelope
from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.mail.message import Message
from filterrelay.mail.reply import Reply
from filterrelay.mail.session import Session
from filterrelay.mail.verdict import Pass
from filterrelay.observe.budget import Reservation
from filterrelay.observe.metrics import Metrics
from filterrelay.plugin.testing import FakeClock
from filterrelay.spool.memory import MemorySpool
from tests.delivery.far_side import Act, FarSide, upstream_settings
from tests.doors.conftest import OpenDoor, RawClient, Received, RememberingIntake, RunningDoor, held

FORWARD = (
    "XFORWARD NAME=client.example ADDR=192.0.2.7 PORT=4711",
    "XFORWARD PROTO=ESMTP HELO=client.example IDENT=4F2A SOURCE=REMOTE",
)
MAIL = "MAIL FROM:<anna@office.example>"
RCPT = "RCPT TO:<bert@partner.example>"
CONTENT = "Subject: Lunch\r\n\r\n..Hello.\r\n."
LISTENER: dict[str, Any] = {
    "kind": "proxy",
    "name": "proxy",
    "upstream": "reinject",
    "xclient_from": ["127.0.0.1"],
    "trusted_networks": ["127.0.0.0/8"],
}


@dataclass
class PassingIntake(RememberingIntake):
    """Passes on what comes. edits: as a filter makes them. clients: those asked about."""

    edits: tuple[Edit, ...] = ()
    clients: list[tuple[str, Session]] = field(default_factory=list)

    async def on_connect(self, session: Session) -> Any:
        self.clients.append(("on_connect", session))
        return await super().on_connect(session)

    async def on_helo(self, session: Session) -> Any:
        self.clients.append(("on_helo", session))
        return await super().on_helo(session)

    async def receive(
        self,
        session: Session,
        envelope: Envelope,
        raw: bytes,
        reservation: Reservation,
        onward: Onward | None = None,
    ) -> Reply:
        """As the intake, with `edits` for a verdict, or with the reply that it was told."""
        answer = await self._answer("receive")
        self.messages.append(Received(session, envelope, raw, reservation.octets))
        reservation.release()
        if answer is not None:
            assert isinstance(answer, Reply)
            return answer
        assert onward is not None, "a proxy keeps nothing"
        message = Message("ID", b"X-Seen: yes\r\n" + raw)
        envelope = edit_envelope(envelope, self.edits)
        return await onward.pass_on(Judgement(Pass(), "", envelope, message, {}, self.edits, ()))


@dataclass
class Proxy:
    """A proxy door between a client and a far side."""

    door: RunningDoor
    side: FarSide
    intake: PassingIntake

    async def connect(self) -> RawClient:
        """A client that has said EHLO."""
        client = await self.door.connect()
        assert (await client.say("EHLO mx.example")).startswith("250")
        return client

    async def deliver(self, client: RawClient, *before: str) -> str:
        """One message; the reply to it."""
        assert (await client.say(*before, MAIL, RCPT, "DATA")).startswith("354")
        return await client.say(CONTENT)


OpenProxy = Callable[..., Coroutine[Any, Any, Proxy]]


@pytest.fixture
async def proxy(open_door: OpenDoor) -> AsyncIterator[OpenProxy]:
    """Makes one: proxy(answers={…}, extensions=[…], xforward=True, listener={…})."""
    made: list[tuple[FarSide, Passages, set[asyncio.Future[None]]]] = []

    async def make(
        *,
        answers: dict[str, Any] | None = None,
        extensions: list[str] | None = None,
        listener: dict[str, Any] | None = None,
        limits: dict[str, Any] | None = None,
        **upstream: Any,
    ) -> Proxy:
        side = FarSide(answers=answers or {}, extensions=extensions or ["PIPELINING", "8BITMIME"])
        await side.start()
        config = upstream_settings(side, name="reinject", **upstream)
        metrics, intake, work = Metrics(), PassingIntake(), set[asyncio.Future[None]]()
        passages = Passages(
            config=config,
            upstream=Hops([config], [], "relay.example", metrics).named("reinject"),
            hostname="relay.example",
            spool=MemorySpool(FakeClock()),
            clock=FakeClock(),
            metrics=metrics,
            recorder=Recorder(metrics, None),
            background=lambda it: work.add(asyncio.ensure_future(it)),
        )
        made.append((side, passages, work))
        speaks = partial(ProxySession, passages=passages)
        values = LISTENER | (listener or {})
        door = await open_door(session=speaks, intake=intake, limits=limits, **values)
        return Proxy(door, side, intake)

    yield make
    for side, passages, work in made:
        await asyncio.gather(*work)
        passages.upstream.close()
        await side.stop()


async def test_the_next_hops_replies_are_the_replies(proxy: OpenProxy) -> None:
    """Word for word, to the sender, to each recipient, and to the message."""
    two_lines = "250-2.1.5 Fine\r\n250 2.1.5 indeed"
    told = {
        "MAIL": "250 2.1.0 I know you",
        "RCPT": [two_lines, "550 5.1.1 Gone", "251 2.1.5 Elsewhere"],
        ".": "250 2.0.0 Ok: queued as 4F2A",
    }
    running = await proxy(answers=told)
    client = await running.connect()
    assert await client.say(MAIL) == "250 2.1.0 I know you"
    assert await client.say(RCPT) == "250-2.1.5 Fine\n250 2.1.5 indeed"
    assert await client.say("RCPT TO:<gone@partner.example>") == "550 5.1.1 Gone"
    assert await client.say("RCPT TO:<eve@partner.example>") == "251 2.1.5 Elsewhere"
    await client.say("DATA")
    assert await client.say(CONTENT) == "250 2.0.0 Ok: queued as 4F2A"
    (received,) = running.side.received
    assert received.data == b"X-Seen: yes\r\nSubject: Lunch\r\n\r\n..Hello.\r\n"
    assert received.recipients == [RCPT, "RCPT TO:<eve@partner.example>"]
    envelope = running.intake.messages[0].envelope
    assert [str(each) for each in envelope.recipients] == [
        "bert@partner.example",
        "eve@partner.example",
    ]


@pytest.mark.parametrize("reply", ["451 4.3.0 Later", "554 5.7.1 No"])
async def test_nothing_is_accepted_before_the_next_hop_has_it(proxy: OpenProxy, reply: str) -> None:
    """Its refusal at the end is ours."""
    running = await proxy(answers={".": reply})
    assert await running.deliver(await running.connect()) == reply
    assert running.side.received == []


async def test_commands_that_come_together_go_together(proxy: OpenProxy) -> None:
    """And their answers come in order, ours among those of the next hop."""
    answers = {"RCPT": ["250 2.1.5 First", "550 5.1.1 Second", "250 2.1.5 Last"]}
    running = await proxy(answers=answers)
    client = await running.connect()
    commands = [
        *(MAIL, RCPT, "RCPT TO:<gone@partner.example>", "RCPT TO:<refused@partner.example>"),
        *("RCPT TO:what", "rcpt to:<eve@partner.example>", "NOOP", "DATA"),
    ]
    client.send("".join(f"{command}\r\n" for command in commands).encode())
    assert [await client.answer() for _ in commands] == [
        "250 2.1.0 Ok",
        "250 2.1.5 First",
        "550 5.1.1 Second",
        "550 5.1.1 No such user",
        "501 5.5.4 Syntax: RCPT TO:<address> [parameters]",
        "250 2.1.5 Last",
        "250 2.0.0 OK",
        "354 End data with <CR><LF>.<CR><LF>",
    ]
    assert (await client.say(CONTENT)).startswith("250")


async def test_a_sender_that_the_next_hop_refuses_ends_the_transaction(proxy: OpenProxy) -> None:
    """Recipients that came along have no better answer, and the next transaction begins anew."""
    running = await proxy(answers={"MAIL": ["450 4.1.8 Who?", "250 2.1.0 Ok"], "RCPT": "503 No"})
    client = await running.connect()
    client.send(f"{MAIL}\r\n{RCPT}\r\nDATA\r\n".encode())
    answers = [await client.answer() for _ in range(3)]
    assert [answer[:3] for answer in answers] == ["450", "503", "503"]
    running.side.answers["RCPT"] = "250 2.1.5 Ok"
    assert (await running.deliver(client)).startswith("250")


async def test_a_refusal_of_ours_leaves_the_next_hop_unasked(proxy: OpenProxy) -> None:
    """A filter's word at RCPT comes first; at the end the next hop forgets the transaction."""
    running = await proxy()
    client = await running.connect()
    assert await client.say(MAIL) == "250 2.1.0 Ok"
    assert (await client.say("RCPT TO:<refused@partner.example>")).startswith("550")
    assert running.side.verbs() == ["EHLO", "MAIL"]
    await client.say("RSET")
    running.intake.answers["receive"] = Reply(554, "5.7.1", "Spam [ID]")
    assert await running.deliver(client) == "554 5.7.1 Spam [ID]"
    running.intake.answers.clear()
    assert (await running.deliver(client)).startswith("250")
    assert running.side.verbs()[2:] == [
        *("RSET", "MAIL", "RCPT"),
        *("RSET", "MAIL", "RCPT", "DATA"),
    ]
    assert running.side.connections == 1


async def test_each_message_is_judged_as_its_own_clients(proxy: OpenProxy) -> None:
    """XFORWARD names the client for the filters, for one message; the front's own comes after."""
    running = await proxy()
    client = await running.connect()
    assert running.intake.clients == []
    await running.deliver(client, *FORWARD)
    await running.deliver(client, "XFORWARD ADDR=IPV6:2001:db8::1 HELO=[UNAVAILABLE]")
    await running.deliver(client)
    await running.deliver(client)
    first, second, third, fourth = [message.session for message in running.intake.messages]
    assert (first.client_ip, first.client_port, first.client_name) == (
        *("192.0.2.7", 4711),
        "client.example",
    )
    assert (first.helo, first.queue_id, first.trusted) == ("client.example", "4F2A", False)
    assert (second.client_ip, second.helo, second.queue_id) == ("2001:db8::1", "", "")
    assert (third.client_ip, third.helo) == ("127.0.0.1", "mx.example")
    assert third == fourth
    assert len({first.id, second.id, third.id}) == 3
    assert [(hook, session.client_ip) for hook, session in running.intake.clients] == [
        ("on_connect", "192.0.2.7"),
        ("on_helo", "192.0.2.7"),
        ("on_connect", "2001:db8::1"),
        ("on_connect", "127.0.0.1"),
        ("on_helo", "127.0.0.1"),
    ]
    assert first in running.intake.closed


@pytest.mark.parametrize(
    ("said", "trusted"),
    [
        ("ADDR=127.0.0.1 SOURCE=REMOTE", True),
        ("ADDR=192.0.2.7 SOURCE=LOCAL", False),
        ("ADDR=[UNAVAILABLE] SOURCE=LOCAL", True),
        ("ADDR=[UNAVAILABLE] SOURCE=REMOTE", False),
        ("NAME=client.example", False),
    ],
)
async def test_only_a_known_client_or_the_machine_itself_is_trusted(
    proxy: OpenProxy, said: str, *, trusted: bool
) -> None:
    """Mail of an unknown address is local mail only if the mail server says so."""
    running = await proxy()
    await running.deliver(await running.connect(), f"XFORWARD {said}")
    assert running.intake.messages[0].session.trusted is trusted


async def test_mail_that_nothing_is_said_of_is_nobodys(proxy: OpenProxy) -> None:
    """The mail server's own address vouches for nobody: it would be signed as ours."""
    running = await proxy()
    await running.deliver(await running.connect())
    assert not running.intake.messages[0].session.trusted


async def test_a_client_that_is_refused_hears_it_at_mail(proxy: OpenProxy) -> None:
    """The front knows whose message it was; and the next client's is judged anew."""
    running = await proxy()
    client = await running.connect()
    running.intake.answers["on_connect"] = Reply(554, "5.7.1", "Listed")
    assert await client.say(*FORWARD, MAIL) == "554 5.7.1 Listed"
    running.intake.answers.clear()
    assert (await running.deliver(client, "RSET")).startswith("250")
    assert running.side.verbs().count("MAIL") == 1


async def test_xclient_is_good_for_the_whole_connection(proxy: OpenProxy) -> None:
    """With a greeting, and a login that needs no password."""
    running = await proxy()
    client = await running.connect()
    assert (await client.say("XCLIENT ADDR=192.0.2.7 LOGIN=anna")).startswith("220")
    await client.say("EHLO client.example")
    for _ in range(2):
        assert (await running.deliver(client)).startswith("250")
    sessions = [message.session for message in running.intake.messages]
    assert [(each.client_ip, each.login) for each in sessions] == [("192.0.2.7", "anna")] * 2


async def test_the_next_hop_hears_of_the_client(proxy: OpenProxy) -> None:
    """What the front forwards goes on to the re-injection."""
    offered = ["PIPELINING", "XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE"]
    running = await proxy(extensions=offered, xforward=True)
    client = await running.connect()
    await running.deliver(client, *FORWARD)
    await running.deliver(client, "XFORWARD ADDR=[UNAVAILABLE] SOURCE=LOCAL")
    told = [command for command in running.side.commands if command.startswith("XFORWARD")]
    assert told[0] == (
        "XFORWARD NAME=client.example ADDR=192.0.2.7 PORT=4711 PROTO=ESMTP "
        "HELO=client.example IDENT=4F2A SOURCE=REMOTE"
    )
    assert "ADDR=[UNAVAILABLE]" in told[1]
    assert told[1].endswith("SOURCE=LOCAL")


async def test_an_envelope_that_a_filter_changed_is_the_next_hops(proxy: OpenProxy) -> None:
    """The transaction there is begun anew."""
    running = await proxy()
    running.intake.edits = (
        ChangeSender(parse_mailbox("verp@office.example")),
        AddRecipient(Recipient(parse_mailbox("archive@office.example"))),
    )
    assert (await running.deliver(await running.connect())).startswith("250")
    (received,) = running.side.received
    assert received.mail == "MAIL FROM:<verp@office.example>"
    assert received.recipients == [RCPT, "RCPT TO:<archive@office.example>"]


async def test_a_next_hop_that_is_down_keeps_the_mail_in_front(proxy: OpenProxy) -> None:
    """451 with words that say where to look; and the connection lives on."""
    running = await proxy()
    await running.side.stop()
    client = await running.connect()
    assert (await client.say(MAIL)).startswith("451 4.4.1 The mail server behind this filter (rein")
    assert (await client.say(RCPT)).startswith("503")
    assert (await client.say("NOOP")).startswith("250")


async def test_a_kept_connection_that_closed_is_not_the_clients_business(proxy: OpenProxy) -> None:
    """Its MAIL goes over a new one; also when that one crosses our MAIL."""
    running = await proxy(answers={"MAIL": ["250 2.1.0 Ok", Act.DROP, "250 2.1.0 Ok"]})
    client = await running.connect()
    for _ in range(3):
        assert (await running.deliver(client)).startswith("250")
    assert len(running.side.received) == 3


async def test_a_client_that_has_gone_gets_no_second_copy(proxy: OpenProxy) -> None:
    """It will come again with the message: it isn't passed on in its absence."""
    running = await proxy()
    client = await running.connect()
    async with held(running.intake, "receive") as answer:
        await client.say(MAIL, RCPT, "DATA")
        client.send(f"{CONTENT}\r\n".encode())
        await running.door.until(lambda: "receive" in running.intake.asked)
        (task,) = running.door.door._sessions
        client.writer.transport.abort()
        await asyncio.sleep(0.05)
        answer.set_result(None)
    await asyncio.wait({task}, timeout=5)
    assert running.side.received == []


@pytest.mark.parametrize("said", [(MAIL,), (MAIL, RCPT), (MAIL, RCPT, "RCPT TO:<x@y.example>")])
async def test_a_client_that_falls_silent_holds_nothing_for_ever(
    proxy: OpenProxy, said: tuple[str, ...]
) -> None:
    """The next hop's answers count as its last words: its time goes on from there."""
    running = await proxy(limits={"command_timeout": "300ms"})
    client = await running.connect()
    for command in said:
        assert (await client.say(command)).startswith("250")
    assert (await client.answer()).startswith("421 4.4.2")
    assert await client.ended()


async def test_a_drain_lets_the_message_under_way_through(proxy: OpenProxy) -> None:
    """Who waits hears 421; who is in the middle of a message ends it first."""
    running = await proxy()
    idle, busy = await running.connect(), await running.connect()
    async with held(running.intake, "receive") as answer:
        await busy.say(MAIL, RCPT, "DATA")
        busy.send(f"{CONTENT}\r\n".encode())
        await running.door.until(lambda: "receive" in running.intake.asked)
        draining = asyncio.ensure_future(running.door.door.drain(5))
        assert (await idle.answer()).startswith("421 4.3.2")
        answer.set_result(None)
        assert (await busy.answer()).startswith("250 2.0.0 Queued")
        assert (await busy.answer()).startswith("421 4.3.2")
        await draining


async def test_a_fault_of_ours_is_a_451(proxy: OpenProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the session goes on."""
    running = await proxy()
    client = await running.connect()

    def broken(*_: Any) -> None:
        raise RuntimeError("a bug")

    with monkeypatch.context() as patched:
        patched.setattr("filterrelay.delivery.passage._command", broken)
        assert (await client.say(MAIL)).startswith("451 4.3.0")
    assert (await running.deliver(client)).startswith("250")


async def test_bdat_comes_in_and_chunks_go_out(proxy: OpenProxy) -> None:
    """Each side in its own way."""
    running = await proxy(extensions=["PIPELINING", "CHUNKING"])
    client = await running.connect()
    text = b"Subject: x\r\n\r\n.\r\n"
    client.send(f"{MAIL}\r\n{RCPT}\r\nBDAT {len(text)} LAST\r\n".encode() + text)
    answers = [await client.answer() for _ in range(3)]
    assert [answer[:3] for answer in answers] == ["250"] * 3
    assert running.side.received[0].data == b"X-Seen: yes\r\n" + text
    assert "DATA" not in running.side.verbs()


async def test_only_listed_mail_servers_are_served(proxy: OpenProxy) -> None:
    """Whoever else reaches the port gets nothing."""
    running = await proxy(listener={"xclient_from": ["10.0.0.0/8"]})
    client = await running.door.connect(greeted=False)
    assert await client.ended()
