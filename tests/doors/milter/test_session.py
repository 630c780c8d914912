"""A mail server's milter: what it tells reaches the intake, and what that says the mail server."""

import pytest

from filterrelay.doors.milter import session as door
from filterrelay.mail.address import Address
from filterrelay.mail.edits import (
    AddHeader,
    AddRecipient,
    ChangeSender,
    Edit,
    RemoveRecipient,
    ReplaceBody,
)
from filterrelay.mail.envelope import Recipient
from filterrelay.mail.reply import TRY_LATER, Reply
from filterrelay.mail.session import Tls
from filterrelay.mail.verdict import Pass, Quarantine
from filterrelay.wire.milter import Action, Step
from tests.doors.conftest import OpenDoor
from tests.doors.mail_server import (
    ANN,
    BERT,
    BODY,
    END,
    RAW,
    connect,
    content,
    macros,
    mail_server,
    milter,
    said,
)
from tests.wire.milter.mta import ALL_ACTIONS, POSTFIX_STEPS, packet

REFUSED = Reply(550, "5.7.1", "Not you")
QUIET_BODY = int(Step.QUIET_BODY)
COMMANDS = "filterrelay_commands_total"


async def test_a_message_reaches_the_intake_octet_by_octet(open_door: OpenDoor) -> None:
    """Blanks, folds and dots as they are, and all that is told of the client."""
    running = await milter(open_door)
    running.intake.verdict = Pass()
    server = await mail_server(running)
    server.send(
        macros("C", daemon_addr="192.0.2.25", daemon_port="25"),
        connect("2001:db8::1", family="6"),
        macros("H", tls_version="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384", cipher_bits="256"),
        said("H", "client.example"),
        macros("M", auth_authen="ann@office.example"),
        said("M", ANN, "SIZE=100", "BODY=8BITMIME", "ENVID=QQ1", "FOO=bar"),
        said("R", BERT, "NOTIFY=NEVER"),
        said("R", "<root>"),
        content(),
        macros("E", i="4XyZ"),
    )
    assert await server.end() == [("c", b"")]
    (got,) = running.intake.messages
    assert got.raw == RAW
    session = got.session
    assert (session.door, session.client_ip, session.client_port) == ("milter", "2001:db8::1", 4711)
    assert (session.client_name, session.helo) == ("client.example", "client.example")
    assert (session.server_ip, session.server_port) == ("192.0.2.25", 25)
    assert session.tls == Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256)
    assert (session.login, session.queue_id, session.esmtp) == ("ann@office.example", "4XyZ", True)
    envelope = got.envelope
    assert (envelope.return_path, envelope.body, envelope.envid) == (ANN[1:-1], "8BITMIME", "QQ1")
    assert envelope.recipients == (
        Recipient(Address("bert", "partner.example"), ("NEVER",)),
        Recipient(Address("root", "")),
    )
    assert got.reserved >= len(RAW)
    assert running.budget.used == 0


async def test_no_address_breaks_a_line(open_door: OpenDoor) -> None:
    """It is told to a next hop when the message is released; the mail server has its own."""
    running = await milter(open_door)
    running.intake.verdict = Pass()
    running.intake.edits = (RemoveRecipient(Address('"a?b"', "partner.example")),)
    server = await mail_server(running)
    await server.begin('<"a\tb"@partner.example>')
    server.send(content())
    assert await server.end() == [("-", b'<"a\tb"@partner.example>\0'), ("c", b"")]


async def test_connections_carry_many_messages_and_clients(open_door: OpenDoor) -> None:
    """Each message on its own; a new client is a new session, and aborted mail is forgotten."""
    running = await milter(open_door)
    running.intake.verdict = Pass()
    server = await mail_server(running)
    await server.begin()
    server.send(content(body=b"gone\r\n"), packet("A"))
    server.send(said("M", ANN), said("R", BERT), content())
    await server.end()
    server.send(said("M", "<>"), said("R", BERT), content())
    await server.end()
    await server.begin(client=packet("K") + connect("192.0.2.2"))
    server.send(content())
    await server.end()
    messages = running.intake.messages
    assert [one.raw for one in messages] == [RAW] * 3
    assert messages[1].envelope.sender is None
    first, second, third = (one.session for one in messages)
    assert first.id == second.id != third.id
    assert (first.client_ip, third.client_ip) == ("192.0.2.1", "192.0.2.2")
    assert running.intake.closed == [second]
    assert running.budget.used == 0
    for command, count in {"mail": 4, "rcpt": 4, "data": 3, "helo": 2}.items():
        assert (
            running.count("filterrelay_commands_total", listener="milter", command=command.lower())
            == count
        )


@pytest.mark.parametrize("hook", ["on_connect", "on_helo", "on_sender", "on_recipient"])
async def test_a_refusal_is_told_at_its_step(open_door: OpenDoor, hook: str) -> None:
    """Steps that are judged get a reply, the others none."""
    running = await milter(open_door, hook)
    running.intake.answers[hook] = REFUSED
    server = await mail_server(running)
    await server.begin()
    assert await server.reply() == ("y", b"550 5.7.1 Not you\0")
    assert running.intake.asked == [hook]


async def test_a_refused_recipient_is_none_of_the_message(open_door: OpenDoor) -> None:
    """The others are."""
    running = await milter(open_door, "on_recipient")
    running.intake.verdict = Pass()
    server = await mail_server(running)
    await server.begin()
    assert (await server.reply())[0] == "c"
    assert (await server.ask(said("R", "<refused@partner.example>")))[0] == "y"
    server.send(content())
    await server.end()
    (got,) = running.intake.messages
    assert [str(each) for each in got.envelope.recipients] == [BERT[1:-1]]


async def test_a_refused_senders_message_is_refused_whatever_follows(open_door: OpenDoor) -> None:
    """A mail server that goes on all the same hears it again."""
    running = await milter(open_door, "on_sender")
    running.intake.answers["on_sender"] = REFUSED
    server = await mail_server(running)
    await server.begin()
    assert (await server.reply())[0] == "y"
    server.send(content())
    assert await server.end() == [("y", b"550 5.7.1 Not you\0")]
    assert not running.intake.messages


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (REFUSED, ("y", b"550 5.7.1 Not you\0")),
        (Reply(451, "4.7.1", "50% busy"), ("y", b"451 4.7.1 50%% busy\0")),
        (Reply(250, "2.0.0", "OK, queued as TEST"), ("d", b"")),
        (RuntimeError("a bug"), ("y", f"{TRY_LATER}\0".encode())),
    ],
)
async def test_what_the_intake_says_is_the_mail_servers_reply(
    open_door: OpenDoor, answer: Reply | Exception, told: tuple[str, bytes]
) -> None:
    """What isn't passed on and was accepted is done with; our fault is a 4xx."""
    running = await milter(open_door)
    running.intake.answers["receive"] = answer
    server = await mail_server(running)
    await server.begin()
    server.send(content())
    assert await server.end() == [told]
    server.send(said("M", ANN), said("R", BERT), content())
    assert await server.end() == [told]


EDITS: tuple[Edit, ...] = (
    AddHeader("X-Checked", "yes"),
    ChangeSender(Address("list", "office.example")),
    RemoveRecipient(Address("bert", "partner.example")),
    AddRecipient(Recipient(Address("carl", "partner.example"), ("NEVER",))),
)


async def test_edits_come_before_the_verdict(open_door: OpenDoor) -> None:
    """The mail server makes them; recipients are called as it called them."""
    running = await milter(open_door)
    running.intake.verdict, running.intake.edits = Pass(), EDITS
    server = await mail_server(running)
    await server.begin("<Bert@partner.example>")
    server.send(content())
    assert await server.end() == [
        ("i", b"\0\0\0\x01X-Checked\0 yes\0"),
        ("e", b"<list@office.example>\0"),
        ("-", b"<Bert@partner.example>\0"),
        ("2", b"<carl@partner.example>\0NOTIFY=NEVER\0"),
        ("c", b""),
    ]


async def test_a_new_body_comes_in_pieces(open_door: OpenDoor) -> None:
    """However large it is, and behind the other edits."""
    running = await milter(open_door)
    body = b"0123456789abcd\r\n" * 20_000
    running.intake.verdict = Pass()
    running.intake.edits = (ReplaceBody(body), AddHeader("X-Checked", "yes"))
    server = await mail_server(running)
    await server.begin()
    server.send(content())
    first, *pieces, last = await server.end()
    assert (first[0], last[0]) == ("i", "c")
    assert {letter for letter, _ in pieces} == {"b"}
    assert b"".join(piece for _, piece in pieces) == body


async def test_a_mail_server_that_cannot_make_all_edits_makes_none(open_door: OpenDoor) -> None:
    """Half of them would be wrong; the log tells which one is missing."""
    running = await milter(open_door)
    running.intake.verdict, running.intake.edits = Pass(), EDITS
    server = await mail_server(running, actions=ALL_ACTIONS & ~Action.CHANGE_SENDER)
    await server.begin()
    server.send(content())
    ((letter, reply),) = await server.end()
    assert letter == "y"
    assert reply.startswith(b"451 4.3.0 ")
    (entry,) = [one for one in running.logs if one["event"] == "milter_cannot_edit"]
    assert "CHANGE_SENDER" in entry["reason"]


async def test_what_is_set_aside_goes_to_the_mail_servers_hold_queue(open_door: OpenDoor) -> None:
    """With the edits that it has, and the reason."""
    running = await milter(open_door)
    running.intake.verdict = Quarantine("a word\nthat")
    server = await mail_server(running)
    await server.begin()
    server.send(content())
    assert await server.end() == [("q", b"a word?that\0"), ("c", b"")]


async def test_mail_beyond_a_limit_is_refused_as_at_the_smtp_door(open_door: OpenDoor) -> None:
    """And counted; nothing is held of it. The next one passes."""
    running = await milter(open_door, limits={"message_size": 1024})
    running.intake.verdict = Pass()
    server = await mail_server(running)
    await server.begin()
    server.send(content(body=b"x" * 70 + b"\r\n" + b"y" * 2000 + b"\r\n"))
    ((letter, reply),) = await server.end()
    assert letter == "y"
    assert reply.startswith(b"552 5.3.4 ")
    assert reply.endswith(b"[TEST]\0")
    assert len(running.intake.refused) == 1
    assert running.budget.used == 0
    server.send(said("M", ANN), said("R", BERT), content())
    assert await server.end() == [("c", b"")]


async def test_the_rest_of_what_is_not_kept_is_spared(open_door: OpenDoor) -> None:
    """A mail server that waits for a reply to each piece needn't send more of them."""
    running = await milter(open_door, limits={"message_size": 1024})
    server = await mail_server(running, POSTFIX_STEPS & ~QUIET_BODY)
    await server.begin()
    server.send(content(body=b""))
    assert await server.ask(packet("B", BODY)) == ("c", b"")
    assert await server.ask(packet("B", b"y" * 2000)) == ("s", b"")
    ((letter, _),) = await server.end()
    assert letter == "y"


async def test_without_memory_the_mail_server_is_put_off(
    open_door: OpenDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """452 once nothing has become free, and no octet is held."""
    monkeypatch.setattr("filterrelay.doors.arrival.MEMORY_PATIENCE", 0.01)
    running = await milter(open_door, memory=1000)
    others = [running.budget.reservation() for _ in range(2)]
    assert all(each.try_grow(1000) for each in others)
    server = await mail_server(running)
    await server.begin()
    server.send(content())
    ((letter, reply),) = await server.end()
    assert letter == "y"
    assert reply.startswith(b"452 4.3.1 ")


async def test_nothing_is_told_of_a_message_that_nobody_reads(open_door: OpenDoor) -> None:
    """The intake still judges it, by what was said before."""
    running = await milter(open_door)
    running.intake.wants, running.intake.verdict = None, Pass()
    server = await mail_server(running)
    await server.begin()
    assert await server.end() == [("c", b"")]
    assert running.intake.messages[0].raw == b""


async def test_a_message_without_header_or_body_is_one(open_door: OpenDoor) -> None:
    """Its header section is empty."""
    running = await milter(open_door)
    running.intake.verdict = Pass()
    server = await mail_server(running)
    await server.begin()
    await server.end()
    server.send(said("M", ANN), said("R", BERT), content(fields=(), body=BODY))
    await server.end()
    assert [one.raw for one in running.intake.messages] == [b"\r\n", b"\r\n" + BODY]


async def test_old_mail_servers_get_a_reply_to_each_step(open_door: OpenDoor) -> None:
    """Version 2 knows no quiet steps, and takes a value's first blank away."""
    running = await milter(open_door)
    running.intake.verdict = Pass()
    server = await mail_server(running, 0x7F, version=2, actions=0x1F)
    for step in (connect(), said("H", "a"), said("M", ANN), said("R", BERT)):
        assert await server.ask(step) == ("c", b"")
    assert await server.ask(packet("L", b"A\0b\0")) == ("c", b"")
    assert await server.ask(packet("B", BODY)) == ("c", b"")
    assert await server.end() == [("c", b"")]
    assert running.intake.messages[0].raw == b"A: b\r\n\r\n" + BODY


async def test_too_many_recipients_are_none_of_the_message(
    open_door: OpenDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their number is bounded, as all that others can make grow."""
    monkeypatch.setattr(door, "MOST_RECIPIENTS", 1)
    running = await milter(open_door)
    server = await mail_server(running)
    await server.begin()
    server.send(said("R", ANN), content())
    ((letter, reply),) = await server.end()
    assert letter == "y"
    assert reply.startswith(b"452 4.5.3 ")


@pytest.mark.parametrize("at", ["taken_rcpt", "HandBack"])
async def test_our_own_mistake_is_a_4xx(
    open_door: OpenDoor, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """At the end of the message where the step gets no reply; the next message is another one."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError

    running = await milter(open_door)
    running.intake.verdict = Pass()
    server = await mail_server(running)
    with monkeypatch.context() as patched:
        patched.setattr(door, at, broken)
        await server.begin()
        server.send(content())
        ((letter, reply),) = await server.end()
    assert letter == "y"
    assert reply.startswith(b"451 4.3.0 ")
    assert any(one["event"] == "milter_failed" for one in running.logs)
    server.send(said("M", ANN), said("R", BERT), content())
    assert await server.end() == [("c", b"")]
    assert running.budget.used == 0


async def test_a_client_that_could_not_be_noted_is_not_taken_for_another(
    open_door: OpenDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Least of all for the mail server itself, whose mail is signed: the connection ends."""
    running = await milter(open_door, trusted_networks=("127.0.0.0/8",))
    running.intake.verdict = Pass()
    server = await mail_server(running)
    monkeypatch.setattr(door, "connected", lambda *_: 1 / 0)
    await server.begin()
    server.send(content(), END)
    assert await server.ended()
    assert not running.intake.messages


async def test_garbage_ends_the_connection_and_is_counted(open_door: OpenDoor) -> None:
    """What speaks no milter protocol is told nothing."""
    running = await milter(open_door)
    server = await mail_server(running)
    server.send(b"GET / HTTP/1.1\r\n\r\n")
    assert await server.ended()
    name = "filterrelay_connections_total"
    assert running.count(name, listener="milter", result="broken") == 1
    assert any(one["event"] == "milter_broken" for one in running.logs)
