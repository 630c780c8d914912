"""Mail comes in through the SMTP door as RFC 5321 and its extensions have it."""

import asyncio
from datetime import timedelta

import pytest

from filterrelay.mail.reply import Reply
from tests.doors.conftest import OpenDoor, held

TEXT = "Subject: a\r\n\r\nb\r\n"


async def test_a_message_is_taken(open_door: OpenDoor) -> None:
    """MAIL, RCPT and DATA bring a message to the intake, dots undone."""
    running = await open_door()
    client = await running.connect()
    await client.begin()
    assert (await client.say("DATA")).startswith("354 ")
    assert await client.say("Subject: a\r\n\r\n..b\r\n.") == "250 2.0.0 OK, queued as TEST"
    (message,) = running.intake.messages
    assert message.raw == b"Subject: a\r\n\r\n.b\r\n"
    assert str(message.envelope.recipients[0]) == "bert@partner.example"
    assert running.budget.used == 0
    assert await client.say("QUIT") == "221 2.0.0 Bye"
    assert await client.ended()


async def test_parameters_are_kept_whole(open_door: OpenDoor) -> None:
    """DSN parameters reach the envelope in the letters they came in (RFC 3461)."""
    running = await open_door()
    client = await running.connect()
    replies = await client.say(
        "EHLO client.example",
        "MAIL FROM:<anna@office.example> SIZE=17 BODY=8bitmime RET=hdrs ENVID=AbC+2Bd AUTH=<>",
        "RCPT TO:<bert@partner.example> NOTIFY=success,FAILURE ORCPT=rfc822;Bert@old.example",
        "DATA",
    )
    assert replies.startswith("354 ")
    await client.say(f"{TEXT}.")
    envelope = running.intake.messages[0].envelope
    assert (envelope.size, envelope.body, envelope.ret) == (17, "8BITMIME", "HDRS")
    assert (envelope.envid, envelope.auth) == ("AbC+2Bd", "<>")
    (recipient,) = envelope.recipients
    assert recipient.notify == ("SUCCESS", "FAILURE")
    assert recipient.orcpt == "rfc822;Bert@old.example"


async def test_messages_follow_each_other(open_door: OpenDoor) -> None:
    """After a message the session is ready for the next, with nothing left of the first."""
    running = await open_door()
    client = await running.connect()
    for number in range(3):
        await client.begin()
        assert (await client.say("DATA", f"Subject: {number}\r\n\r\n.")).startswith("250 ")
    assert [m.raw for m in running.intake.messages] == [
        f"Subject: {n}\r\n\r\n".encode() for n in range(3)
    ]
    assert {len(m.envelope.recipients) for m in running.intake.messages} == {1}


async def test_no_message_without_recipients(open_door: OpenDoor) -> None:
    """DATA wants a recipient; when all were refused that isn't the client's mistake."""
    client = await (await open_door(limits={"errors": 1})).connect()
    await client.say("EHLO client.example", "MAIL FROM:<anna@office.example>")
    assert (await client.say("DATA")).startswith("503 5.5.1 ")
    assert (await client.say("RCPT TO:<refused@partner.example>")).startswith("550 5.1.1 ")
    for _ in range(3):
        assert (await client.say("DATA")).startswith("554 5.5.1 ")


async def test_a_second_mail_is_refused(open_door: OpenDoor) -> None:
    """Transactions don't nest; RSET ends one."""
    client = await (await open_door()).connect()
    await client.begin()
    assert (await client.say("MAIL FROM:<a@office.example>")).startswith("503 5.5.1 ")
    assert (await client.say("RSET", "MAIL FROM:<a@office.example>")).startswith("250 ")


async def test_recipients_are_bounded(open_door: OpenDoor) -> None:
    """Beyond limits.recipients the client is asked to send the rest separately."""
    client = await (await open_door(limits={"recipients": 2})).connect()
    await client.begin()
    assert (await client.say("RCPT TO:<c@partner.example>")).startswith("250 ")
    assert (await client.say("RCPT TO:<d@partner.example>")).startswith("452 4.5.3 ")
    assert (await client.say("DATA", f"{TEXT}.")).startswith("250 ")


async def test_messages_are_bounded(open_door: OpenDoor) -> None:
    """After limits.messages a client has to connect anew."""
    client = await (await open_door(limits={"messages": 1})).connect()
    await client.begin()
    await client.say("DATA", f"{TEXT}.")
    assert (await client.say("MAIL FROM:<a@office.example>")).startswith("421 4.7.0 ")


async def test_a_size_over_the_limit_is_refused_at_once(open_door: OpenDoor) -> None:
    """SIZE saves the client from sending what won't be taken (RFC 1870)."""
    client = await (await open_door(limits={"message_size": 1000})).connect()
    await client.say("EHLO client.example")
    assert (await client.say("MAIL FROM:<a@office.example> SIZE=1001")).startswith("552 5.3.4 ")


async def test_a_commit_goes_on_when_the_client_is_gone(open_door: OpenDoor) -> None:
    """What was handed to the intake is finished, whoever still listens."""
    running = await open_door()
    client = await running.connect()
    await client.begin()
    async with held(running.intake, "receive") as committed:
        await client.say("DATA")
        client.send(f"{TEXT}.\r\n".encode())
        await running.until(lambda: "receive" in running.intake.asked)
        client.writer.transport.abort()
        (session,) = running.sessions()
        await running.until(lambda: session._at_eof)
        committed.set_result(None)
        await running.until(lambda: not running.sessions())
    assert len(running.intake.messages) == 1


async def test_an_unfinished_message_is_forgotten(open_door: OpenDoor) -> None:
    """A client that goes before the final dot has sent nothing, and frees its memory."""
    running = await open_door()
    client = await running.connect()
    await client.begin()
    await client.say("DATA")
    client.send(b"Subject: half")
    await client.close()
    await running.until(lambda: not running.sessions())
    assert running.intake.messages == []
    assert running.budget.used == 0


async def test_a_failing_intake_is_our_fault(open_door: OpenDoor) -> None:
    """A message that we can't handle gets 451 and its memory is freed."""
    running = await open_door()
    running.intake.answers["receive"] = RuntimeError("secret")
    client = await running.connect()
    await client.begin()
    assert (await client.say("DATA", f"{TEXT}.")).startswith("451 4.3.0 ")
    assert running.budget.used == 0


async def test_the_intake_s_reply_is_the_client_s(open_door: OpenDoor) -> None:
    """What the filters say about a message reaches the client as it is."""
    running = await open_door()
    running.intake.answers["receive"] = Reply(550, "5.7.1", "Looks like spam")
    client = await running.connect()
    await client.begin()
    assert await client.say("DATA", f"{TEXT}.") == "550 5.7.1 Looks like spam"


async def test_a_message_that_takes_too_long_ends_the_session(open_door: OpenDoor) -> None:
    """limits.data_timeout bounds the whole content, however it drips in."""
    running = await open_door(limits={"data_timeout": timedelta(seconds=0.1)})
    client = await running.connect()
    await client.begin()
    await client.say("DATA")
    client.send(b"Subject: slow\r\n")
    assert (await client.answer()).startswith("421 4.4.2 ")


async def test_chunks_make_a_message(open_door: OpenDoor) -> None:
    """BDAT's chunks are put together as they are (RFC 3030)."""
    running = await open_door()
    client = await running.connect()
    await client.begin()
    client.send(b"BDAT 14\r\nSubject: a\r\n\r\nBDAT 0\r\nBDAT 6 LAST\r\n.\r\n..b")
    codes = [await client.answer() for _ in range(3)]
    assert codes[0] == "250 2.0.0 14 octets received"
    assert codes[2] == "250 2.0.0 OK, queued as TEST"
    assert running.intake.messages[0].raw == b"Subject: a\r\n\r\n.\r\n..b\r\n"
    assert running.budget.used == 0


async def test_unwanted_chunks_are_never_commands(open_door: OpenDoor) -> None:
    """A chunk's octets are read also when there is no transaction for them."""
    running = await open_door()
    client = await running.connect()
    await client.say("EHLO client.example")
    smuggled = b"MAIL FROM:<evil@office.example>\r\n"
    client.send(b"BDAT %d LAST\r\n" % len(smuggled) + smuggled + b"NOOP\r\n")
    assert (await client.answer()).startswith("503 5.5.1 ")
    assert (await client.answer()).startswith("250 ")
    assert "on_sender" not in running.intake.asked


@pytest.mark.parametrize("argument", ["", "-1", "many", "LAST", "5 FIRST", "1_0", "٣", "5 LAST x"])
async def test_a_chunk_of_unknown_size_ends_the_session(open_door: OpenDoor, argument: str) -> None:
    """Who can't tell where a chunk ends can't tell where the next command begins."""
    client = await (await open_door()).connect()
    await client.begin()
    assert (await client.say(f"BDAT {argument}")).startswith("501 5.5.4 ")
    assert await client.ended()


async def test_chunks_over_the_limit_are_refused(open_door: OpenDoor) -> None:
    """One chunk that is too large ends the session; several that are together don't."""
    running = await open_door(limits={"message_size": 1000})
    client = await running.connect()
    await client.begin()
    client.send(b"BDAT 602\r\n" + b"a" * 600 + b"\r\nBDAT 602 LAST\r\n" + b"a" * 600 + b"\r\n")
    assert (await client.answer()).startswith("250 ")
    assert (await client.answer()).startswith("552 5.3.4 ")
    await client.begin()
    assert (await client.say("BDAT 1001")).startswith("552 5.3.4 ")
    assert await client.ended()


async def test_rset_forgets_chunks(open_door: OpenDoor) -> None:
    """RSET between chunks starts a new message and frees the old one's memory."""
    running = await open_door()
    client = await running.connect()
    await client.begin()
    client.send(b"BDAT 6\r\na: b\r\n")
    assert (await client.answer()).startswith("250 ")
    assert (await client.say("RSET")).startswith("250 ")
    assert running.budget.used == 0
    await client.begin()
    client.send(b"BDAT 6 LAST\r\nc: d\r\n")
    assert (await client.answer()).startswith("250 ")
    assert running.intake.messages[0].raw == b"c: d\r\n"


async def test_data_and_chunks_don_t_mix(open_door: OpenDoor) -> None:
    """After BDAT neither DATA nor RCPT belongs (RFC 3030 section 2)."""
    client = await (await open_door()).connect()
    await client.begin()
    client.send(b"BDAT 6\r\na: b\r\n")
    await client.answer()
    assert (await client.say("DATA")).startswith("503 5.5.1 ")
    assert (await client.say("RCPT TO:<c@partner.example>")).startswith("503 5.5.1 ")


async def test_smtputf8_opens_addresses(open_door: OpenDoor) -> None:
    """Letters beyond ASCII want SMTPUTF8 with MAIL (RFC 6531)."""
    running = await open_door()
    client = await running.connect()
    await client.say("EHLO client.example")
    assert (await client.say("MAIL FROM:<jörg@office.example>")).startswith("553 5.6.7 ")
    assert (await client.say("MAIL FROM:<jörg@office.example> SMTPUTF8")).startswith("250 ")
    assert (await client.say("RCPT TO:<μ@partner.example>")).startswith("250 ")
    await client.say("DATA", f"{TEXT}.")
    assert running.intake.messages[0].envelope.smtputf8


async def test_the_time_from_dot_to_reply_is_measured(open_door: OpenDoor) -> None:
    """accept_seconds counts each message once."""
    running = await open_door()
    client = await running.connect()
    await client.begin()
    await client.say("DATA", f"{TEXT}.")
    assert running.count("filterrelay_accept_seconds_count", listener="submission") == 1


async def test_many_clients_at_once(open_door: OpenDoor) -> None:
    """Sessions don't disturb each other."""
    running = await open_door()

    async def send(number: int) -> str:
        client = await running.connect()
        await client.begin()
        await client.say("DATA")
        return str(await client.say(f"Subject: {number}\r\n\r\n."))

    replies = await asyncio.gather(*(send(number) for number in range(40)))
    assert all(reply.startswith("250 ") for reply in replies)
    assert len({message.raw for message in running.intake.messages}) == 40


async def test_chunks_of_a_message_are_no_commands_without_one(open_door: OpenDoor) -> None:
    """A client that cuts a message into many small chunks may finish it."""
    running = await open_door(limits={"commands": 10})
    client = await running.connect()
    await client.begin()
    client.send(b"BDAT 3\r\na\r\n" * 50 + b"BDAT 0 LAST\r\n")
    answers = [await client.answer() for _ in range(51)]
    assert {answer[:3] for answer in answers} == {"250"}
    assert running.intake.messages[0].raw == b"a\r\n" * 50


async def test_empty_chunks_are_commands_without_a_message(open_door: OpenDoor) -> None:
    """Chunks that bring nothing on keep no session open."""
    client = await (await open_door(limits={"commands": 10})).connect()
    await client.begin()
    assert (await client.say(*["BDAT 0"] * 9)).startswith("421 4.7.0 ")


async def test_recipients_of_a_message_are_no_commands_without_one(open_door: OpenDoor) -> None:
    """limits.recipients may be any number, and is that number; without a message they count."""
    running = await open_door(limits={"commands": 10, "recipients": 30})
    client = await running.connect()
    for ending in ("DATA", "RSET"):
        await client.begin()
        rest = [f"RCPT TO:<{number}@partner.example>" for number in range(29)]
        assert (await client.say(*rest)).startswith("250 ")
        reply = await client.say(ending)
        if reply.startswith("354"):
            assert (await client.say("Subject: x\r\n\r\n.")).startswith("250 ")
    assert len(running.intake.messages[0].envelope.recipients) == 30
    assert (await client.say("NOOP")).startswith("421 4.7.0 ")


async def test_chunks_may_not_drip_in_for_ever(open_door: OpenDoor) -> None:
    """limits.data_timeout is for all chunks of a message together."""
    running = await open_door(limits={"data_timeout": timedelta(seconds=0.3)})
    client = await running.connect()
    await client.begin()
    reply = "250 "
    while reply.startswith("250 "):
        client.send(b"BDAT 3\r\na\r\n")
        reply = await client.answer()
        await asyncio.sleep(0.05)  # the pace of the attack
    assert reply.startswith("421 4.4.2 ")
    assert running.budget.used == 0


@pytest.mark.parametrize("content", [f"DATA\r\n{TEXT}.\r\n", "BDAT 3 LAST\r\na\r\n"])
async def test_the_final_reply_waits_for_no_other_command(
    open_door: OpenDoor, content: str
) -> None:
    """A message's 250 isn't held back while the next command is at work (RFC 2920 section 3.2)."""
    running = await open_door()
    client = await running.connect()
    await client.begin()
    async with held(running.intake, "on_sender"):
        client.send(f"{content}MAIL FROM:<a@office.example>\r\n".encode())
        answer = await client.answer()
        if answer.startswith("354 "):
            answer = await client.answer()
        assert answer == "250 2.0.0 OK, queued as TEST"
        await running.until(lambda: running.intake.asked.count("on_sender") == 2)


async def test_what_follows_a_refused_mail_is_no_mistake(open_door: OpenDoor) -> None:
    """RCPT and DATA on their way behind a refused MAIL are refused, not counted (RFC 2920)."""
    running = await open_door(limits={"errors": 3})
    running.intake.answers["on_sender"] = Reply(451, "4.3.0", "Later")
    client = await running.connect()
    await client.say("EHLO client.example")
    rcpt = "RCPT TO:<bert@partner.example>"
    reply = await client.say("MAIL FROM:<anna@office.example>", *[rcpt] * 12, "DATA")
    assert reply.startswith("503 5.5.1 ")
    client.send(b"BDAT 3\r\na\r\nBDAT 0 LAST\r\n")
    assert [(await client.answer())[:4] for _ in range(2)] == ["503 "] * 2
    await client.say("RSET")
    for _ in range(3):
        assert (await client.say(rcpt)).startswith("503 5.5.1 ")
    assert (await client.say(rcpt)).startswith("421 4.7.0 ")


@pytest.mark.parametrize("content", ["DATA\r\na\r\n.\r\n", "BDAT 3 LAST\r\na\r\n"])
async def test_our_mistake_ends_the_transaction(
    open_door: OpenDoor, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    """After 451 to a message the next may begin, and nothing of the first is kept."""
    running = await open_door()
    client = await running.connect()
    await client.begin()
    with monkeypatch.context() as broken:
        broken.setattr("filterrelay.doors.arrival.Content.take", None)
        client.send(content.encode())
        answer = await client.answer()
        if answer.startswith("354 "):
            answer = await client.answer()
        assert answer.startswith("451 4.3.0 ")
    assert running.budget.used == 0
    assert (await client.say("MAIL FROM:<a@office.example>")).startswith("250 ")


async def test_a_mistake_of_ours_never_makes_commands_of_a_chunk(
    open_door: OpenDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When BDAT fails before its octets are read, the session ends instead of obeying them."""
    running = await open_door()
    client = await running.connect()
    await client.begin()
    monkeypatch.setattr("filterrelay.doors.smtp.ChunkDecoder", None)
    client.send(b"BDAT 6 LAST\r\nRSET\r\n")
    assert (await client.answer()).startswith("421 4.3.0 ")
    assert await client.ended()
