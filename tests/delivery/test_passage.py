"""A message on its way through, step by step, to a next hop that may do anything."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from filterrelay.delivery import passage as passage_module
from filterrelay.delivery.hops import Hops
from filterrelay.delivery.passage import Introduction, Passage, Step
from filterrelay.delivery.upstream import Sent, Upstream
from filterrelay.mail.envelope import Envelope
from filterrelay.mail.session import Session
from filterrelay.observe.metrics import Metrics
from filterrelay.plugin.testing import an_envelope

from .far_side import BODY, Act, FarSide, far_side, send, upstream_settings

XFORWARD = "XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE"
XCLIENT = "XCLIENT NAME ADDR PROTO HELO LOGIN"
CLIENT = Session("S", "proxy", "proxy", "192.0.2.7", helo="client.example", esmtp=True)
OTHER = Session("T", "proxy", "proxy", "192.0.2.8", helo="other.example", esmtp=True)

Open = Callable[..., Passage]


class Through:
    """Passages to some far sides, all over one upstream."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream

    def open(self, client: Session = CLIENT, **about: Any) -> Passage:
        """A passage for that client."""
        introduction = Introduction(client, False, "relay.example", **about)
        return Passage(self.upstream, "reinject", introduction)


@pytest.fixture
async def through() -> AsyncIterator[Callable[..., Through]]:
    """Makes them of far sides, and says goodbye in the end."""
    made: list[Upstream] = []

    def make(*sides: FarSide, **changes: Any) -> Through:
        config = upstream_settings(*sides, **changes)
        made.append(Hops([config], [], "relay.example", Metrics()).named(config.name))
        return Through(made[-1])

    yield make
    for upstream in made:
        upstream.close()


def steps_of(envelope: Envelope) -> list[Step]:
    """MAIL and each RCPT."""
    return [envelope, *envelope.recipients]


async def begin(passage: Passage, envelope: Envelope) -> list[str]:
    """MAIL and each RCPT one after the other; the replies' codes."""
    said = []
    for step in steps_of(envelope):
        passage.ask(step)
        (reply,) = await passage.answers()
        said.append(f"{reply.code} {reply.enhanced}")
    return said


async def pass_on(
    passage: Passage, *to: str, envelope: Envelope | None = None, body: bytes = BODY
) -> Sent:
    """The whole of it, which must be accepted up to the message. envelope: what is left of it."""
    begun = an_envelope("alice@office.example", *(to or ("bob@partner.example",)))
    assert {code[0] for code in await begin(passage, begun)} == {"2"}
    sent = await passage.finish(envelope or begun, body)
    passage.abandon()
    return sent


def said(sent: Sent) -> str:
    """The reply for the first recipient, which is everybody's."""
    assert len(set(sent.replies)) == 1
    return str(sent.replies[0])


@pytest.mark.parametrize("extra", [[], ["CHUNKING"]])
async def test_each_step_is_the_next_hops(
    through: Callable[..., Through], extra: list[str]
) -> None:
    """It hears MAIL and RCPT as they are asked, and the message in the end, over one connection."""
    async with far_side(extensions=["PIPELINING", "8BITMIME", *extra]) as side:
        way = through(side)
        for _ in range(3):
            sent = await pass_on(way.open(), "bob@partner.example", "eve@partner.example")
            assert said(sent) == "250 2.0.0 Queued as 4711"
            assert (sent.host, sent.answered) == (side.host, True)
    assert side.connections == 1
    assert [each.data for each in side.received] == [BODY] * 3
    assert len(side.received[0].recipients) == 2
    assert "RSET" not in side.verbs()


async def test_steps_that_wait_go_together(through: Callable[..., Through]) -> None:
    """Each still has its own answer."""
    answers = {"RCPT": ["250 2.1.5 Ok", "550 5.1.1 Gone", "450 4.2.0 Later"]}
    async with far_side(answers=answers) as side:
        passage = through(side).open()
        envelope = an_envelope("alice@office.example", "a@p.example", "b@p.example", "c@p.example")
        for step in steps_of(envelope):
            passage.ask(step)
        replies = await passage.answers()
        assert [reply.code for reply in replies] == [250, 250, 550, 450]
        accepted = an_envelope("alice@office.example", "a@p.example")
        assert said(await passage.finish(accepted, BODY)).startswith("250")
        assert side.verbs().count("MAIL") == 1
        passage.abandon()


async def test_a_next_hop_that_does_not_pipeline_is_asked_one_by_one(
    through: Callable[..., Through],
) -> None:
    """And may say that it only knows SMTP's beginnings."""
    async with far_side(answers={"EHLO": "502 5.5.1 What?"}) as side:
        assert said(await pass_on(through(side).open())).startswith("250")
        assert [c for c in side.commands if c.startswith("MAIL")] == [
            "MAIL FROM:<alice@office.example>"
        ]


async def test_an_abandoned_transaction_leaves_nothing(through: Callable[..., Through]) -> None:
    """The next one over that connection begins with RSET."""
    async with far_side() as side:
        way = through(side)
        passage = way.open()
        await begin(passage, an_envelope("eve@office.example", "a@p.example"))
        passage.abandon()
        assert said(await pass_on(way.open())).startswith("250")
        assert side.connections == 1
        assert len(side.received) == 1
        assert side.verbs()[1:] == ["MAIL", "RCPT", "RSET", "MAIL", "RCPT", "DATA"]


async def test_what_a_filter_changed_is_asked_anew(through: Callable[..., Through]) -> None:
    """With the client's particulars, which RSET has the next hop forget."""
    async with far_side(extensions=["PIPELINING", XFORWARD]) as side:
        changed = an_envelope("verp@office.example", "bob@partner.example", "new@partner.example")
        sent = await pass_on(through(side).open(xforward=True), envelope=changed)
        assert said(sent).startswith("250")
        assert side.verbs()[1:] == (
            ["XFORWARD", "MAIL", "RCPT", "RSET", "XFORWARD", "MAIL", "RCPT", "RCPT", "DATA"]
        )
        assert side.received[0].mail == "MAIL FROM:<verp@office.example>"
        assert len(side.received[0].recipients) == 2


@pytest.mark.parametrize(
    ("second", "reply"),
    [
        (["550 5.1.1 Gone", "450 4.2.0 Later"], "450 4.2.0 Later"),
        (
            ["250 2.1.5 Ok", "550 5.1.1 Gone"],
            "451 4.3.5 The mail server behind this filter said: 550 5.1.1 Gone",
        ),
        (["550 5.1.1 Gone", "550 5.1.1 Gone"], "550 5.1.1 Gone"),
    ],
)
async def test_a_change_that_is_refused_refuses_the_whole_message(
    through: Callable[..., Through], second: list[str], reply: str
) -> None:
    """Before its DATA: nobody gets a part of it; for good only if nobody would get any."""
    async with far_side(answers={"RCPT": ["250 2.1.5 Ok", *second, "250 2.1.5 Ok"]}) as side:
        changed = an_envelope("alice@office.example", "bob@partner.example", "new@partner.example")
        way = through(side)
        assert said(await pass_on(way.open(), envelope=changed)) == reply
        assert "DATA" not in side.verbs()
        assert said(await pass_on(way.open())).startswith("250")
        assert side.connections == 1


async def test_a_filters_sender_that_is_refused_is_not_the_clients_fault(
    through: Callable[..., Through],
) -> None:
    """The client's own was accepted."""
    async with far_side(answers={"MAIL": ["250 2.1.0 Ok", "553 5.7.1 Not yours"]}) as side:
        changed = an_envelope("verp@office.example", "bob@partner.example")
        reply = said(await pass_on(through(side).open(), envelope=changed))
        assert reply.startswith("451 4.3.5 ")
        assert "553 5.7.1 Not yours" in reply


@pytest.mark.parametrize("end", [Act.DROP, "421 4.4.2 Idle too long"])
async def test_a_kept_connection_that_ended_costs_the_client_nothing(
    through: Callable[..., Through], end: Any
) -> None:
    """MAIL goes over a fresh one."""
    async with far_side(answers={"MAIL": ["250 2.1.0 Ok", end, "250 2.1.0 Ok"]}) as side:
        way = through(side)
        for _ in range(2):
            assert said(await pass_on(way.open())).startswith("250")
        assert (side.connections, len(side.received)) == (2, 2)


async def test_a_connection_lost_while_the_filters_work_is_replaced(
    through: Callable[..., Through],
) -> None:
    """What was accepted is asked again on a fresh one."""
    async with far_side() as side:
        passage = through(side).open()
        envelope = an_envelope("alice@office.example", "bob@partner.example")
        await begin(passage, envelope)
        side.hang_up(b"421 4.4.2 Timeout exceeded\r\n")
        await side.closed.wait()
        assert said(await passage.finish(envelope, BODY)).startswith("250")
        assert (side.connections, len(side.received)) == (2, 1)
        passage.abandon()


@pytest.mark.parametrize("stage", ["DATA", "BODY"])
async def test_a_connection_lost_before_the_end_is_replaced_once(
    through: Callable[..., Through], stage: str
) -> None:
    """The next hop can't have taken it yet."""
    async with far_side(once={stage: Act.DROP}) as side:
        way = through(side)
        sent = await pass_on(way.open(), body=BODY * 400_000)  # more than all buffers hold
        assert said(sent).startswith("250")
        assert (side.connections, len(side.received)) == (2, 1)
        side.answers["DATA"] = Act.DROP
        assert said(await pass_on(way.open())).startswith("451 4.4.2")


@pytest.mark.parametrize("end", [Act.DROP, "421 4.3.2 Going down"])
async def test_a_connection_lost_after_the_dot_is_not_replaced(
    through: Callable[..., Through], end: Any
) -> None:
    """It may have been taken: the client is told to try again, once too often beats never."""
    async with far_side(answers={".": end}) as side:
        sent = await pass_on(through(side).open())
        assert said(sent).startswith("451 4.")
        assert side.connections == 1


async def test_recipients_lost_with_their_connection_are_asked_again(
    through: Callable[..., Through],
) -> None:
    """If one isn't accepted then, the whole message has to come again."""
    told = {"RCPT": ["250 2.1.5 Ok", Act.DROP, "450 4.2.0 Later", "250 2.1.5 Ok"]}
    async with far_side(answers=dict(told)) as side:
        passage = through(side).open()
        envelope = an_envelope("a@o.example", "b@p.example", "c@p.example", "d@p.example")
        assert await begin(passage, envelope) == ["250 2.1.0", "250 2.1.5"] + ["450 4.2.0"] * 2
        rest = an_envelope("a@o.example", "b@p.example")
        assert said(await passage.finish(rest, BODY)) == "450 4.2.0 Later"
        assert side.received == []
        passage.abandon()


async def test_a_next_hop_that_is_down_is_named(through: Callable[..., Through]) -> None:
    """In words that tell a postmaster which one, and the world nothing of where it is."""
    async with far_side() as side:
        pass
    passage = through(side).open()
    envelope = an_envelope("alice@office.example", "bob@partner.example")
    for step in steps_of(envelope):
        passage.ask(step)
    for reply in await passage.answers():
        assert str(reply).startswith(
            "451 4.4.1 The mail server behind this filter (reinject) can't"
        )
        assert str(side.port) not in reply.text
    passage.abandon()


async def test_the_second_host_takes_over(through: Callable[..., Through]) -> None:
    """Also from one that takes connections and no mail."""
    async with far_side(answers={"MAIL": Act.DROP}) as broken, far_side() as good:
        assert said(await pass_on(through(broken, good).open())).startswith("250")
        assert len(good.received) == 1


@pytest.mark.parametrize(
    ("told", "reply"),
    [
        ("421 4.3.2 Too busy", "451 4.3.2 Too busy"),
        ("530 5.7.0 Log in first", "451 4.3.5 "),
        ("350 What", "451 4.3.5 "),
        ("552 5.3.4 Too big", "552 5.3.4 Too big"),
    ],
)
async def test_no_word_of_the_next_hops_closes_the_clients_connection(
    through: Callable[..., Through], told: str, reply: str
) -> None:
    """And what is our own fault is never the client's."""
    async with far_side(answers={"MAIL": told}) as side:
        passage = through(side).open()
        passage.ask(an_envelope("alice@office.example"))
        (said_,) = await passage.answers()
        assert str(said_).startswith(reply)
        passage.abandon()


async def test_all_connections_in_use_make_the_client_wait_and_then_try_again(
    through: Callable[..., Through], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more than allowed are opened, and nobody waits for ever."""
    async with far_side() as side:
        way = through(side, connections=1)
        first, second = way.open(), way.open()
        envelope = an_envelope("alice@office.example")
        await begin(first, envelope)
        waiting = asyncio.ensure_future(begin(second, envelope))
        await asyncio.sleep(0.02)
        assert not waiting.done()
        first.abandon()
        assert await waiting == ["250 2.1.0", "250 2.1.5"]
        monkeypatch.setattr(passage_module, "PATIENCE", 0.02)
        assert await begin(way.open(), envelope) == ["451 4.4.5"] * 2
        assert side.connections == 1
        second.abandon()


async def test_what_the_next_hop_cannot_take_is_refused_for_it(
    through: Callable[..., Through],
) -> None:
    """An address beyond ASCII at RCPT, a message that is too large when it is there."""
    async with far_side(extensions=["PIPELINING", "SIZE 1000"]) as side:
        passage = through(side).open()
        envelope = an_envelope("a@o.example", "bob@p.example", "bö@p.example", smtputf8=True)
        assert await begin(passage, envelope) == ["250 2.1.0", "250 2.1.5", "553 5.6.7"]
        left = an_envelope("a@o.example", "bob@p.example", smtputf8=True)
        sent = await passage.finish(left, BODY * 100)
        assert said(sent).startswith("552 5.3.4")
        assert not sent.answered
        assert "DATA" not in side.verbs()
        passage.abandon()


async def test_what_the_client_announced_is_passed_on(through: Callable[..., Through]) -> None:
    """SIZE as it was said, 8BITMIME, SMTPUTF8 and the wishes for reports (RFC 3461)."""
    offered = ["PIPELINING", "SIZE 100000", "8BITMIME", "SMTPUTF8", "DSN"]
    async with far_side(extensions=offered) as side:
        passage = through(side).open()
        envelope = an_envelope(
            *("a@o.example", "bö@p.example"),
            size=4711,
            body="8BITMIME",
            smtputf8=True,
            ret="HDRS",
            envid="x",
        )
        assert await begin(passage, envelope) == ["250 2.1.0", "250 2.1.5"]
        assert side.commands[1] == (
            "MAIL FROM:<a@o.example> SIZE=4711 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=x"
        )
        passage.abandon()


async def test_each_transaction_tells_of_its_client(through: Callable[..., Through]) -> None:
    """XFORWARD comes anew over the same connection; who doesn't ask for it hears nothing."""
    async with far_side(extensions=["PIPELINING", "XFORWARD ADDR HELO"]) as side:
        way = through(side)
        for client in (CLIENT, OTHER):
            await pass_on(way.open(client, xforward=True))
        await pass_on(way.open())
        told = [command for command in side.commands if command.startswith("XFORWARD")]
        assert told == [
            "XFORWARD ADDR=192.0.2.7 HELO=client.example",
            "XFORWARD ADDR=192.0.2.8 HELO=other.example",
        ]
        assert side.connections == 1


async def test_posing_as_a_client_is_for_that_client_only(through: Callable[..., Through]) -> None:
    """XCLIENT and a new EHLO once; another client, and mail of the queue, get other connections."""
    async with far_side(extensions=["PIPELINING", XCLIENT]) as side:
        way = through(side)
        for client in (CLIENT, CLIENT, OTHER, CLIENT):
            await pass_on(way.open(client, xclient=True))
        assert side.connections == 2
        posed = [command for command in side.commands if command.startswith("XCLIENT")]
        assert [command.split()[2] for command in posed] == ["ADDR=192.0.2.7", "ADDR=192.0.2.8"]
        assert [c for c in side.commands if c.startswith("EHLO")] == [
            "EHLO relay.example",
            "EHLO client.example",
            "EHLO relay.example",
            "EHLO other.example",
        ]
        await send(way.upstream)
        assert side.connections == 3


async def test_mail_of_the_queue_that_was_refused_is_forgotten_before_posing(
    through: Callable[..., Through],
) -> None:
    """XCLIENT isn't taken in the middle of a transaction (smtpd.c, xclient_cmd)."""
    refused = {"RCPT": ["550 5.1.1 Gone", "250 2.1.5 Ok"], "DATA": ["554 5.5.1 Nobody", "354 Go"]}
    async with far_side(extensions=["PIPELINING", XCLIENT], answers=dict(refused)) as side:
        way = through(side)
        assert (await send(way.upstream)).replies[0].code == 550
        assert said(await pass_on(way.open(xclient=True))).startswith("250")
        assert side.verbs()[4:7] == ["RSET", "XCLIENT", "EHLO"]
        assert side.connections == 1


async def test_clients_take_turns_where_there_are_few_connections(
    through: Callable[..., Through],
) -> None:
    """An idle connection of another client's gives way, and one handed over isn't used."""
    async with far_side(extensions=["PIPELINING", XCLIENT]) as side:
        way = through(side, connections=1)
        await pass_on(way.open(OTHER, xclient=True))
        passage = way.open(CLIENT, xclient=True)
        await begin(passage, an_envelope("alice@office.example"))
        waiting = asyncio.ensure_future(pass_on(way.open(OTHER, xclient=True)))
        await asyncio.sleep(0.02)
        passage.abandon()
        assert said(await waiting).startswith("250")
        assert side.connections == 3
        posed = [c.split()[2] for c in side.commands if c.startswith("XCLIENT")]
        assert posed == ["ADDR=192.0.2.8", "ADDR=192.0.2.7", "ADDR=192.0.2.8"]


@pytest.mark.parametrize("refusal", ["550 5.7.0 Not you", Act.DROP])
async def test_a_client_is_never_taken_for_ourselves(
    through: Callable[..., Through], refusal: Any
) -> None:
    """Where XCLIENT is refused or not offered, no mail goes: ours might be let in unseen."""
    envelope = an_envelope("alice@office.example", "bob@partner.example")
    for extensions in (["PIPELINING", XCLIENT], ["PIPELINING"]):
        async with far_side(extensions=extensions, answers={"XCLIENT": refusal}) as side:
            passage = through(side).open(xclient=True)
            codes = await begin(passage, envelope)
            assert {code[:3] for code in codes} == {"451"}
            assert not {"MAIL", "RCPT"} & set(side.verbs())
            passage.abandon()
