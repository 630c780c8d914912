"""The conversation keeps in step, in bounds and in time, whatever the client says."""

import asyncio
from datetime import timedelta

import pytest

from filterrelay.mail.reply import Reply
from tests.doors.conftest import OpenDoor, held


async def test_ehlo_says_what_is_offered(open_door: OpenDoor) -> None:
    """In plain text there is STARTTLS and no AUTH; inside TLS the other way round."""
    running = await open_door(tls="starttls", auth="required", limits={"message_size": 1000})
    client = await running.connect()
    plain = (await client.say("EHLO client.example")).split("\n")
    assert plain == [
        *("250-relay.example", "250-PIPELINING", "250-SIZE 1000", "250-8BITMIME", "250-SMTPUTF8"),
        *("250-ENHANCEDSTATUSCODES", "250-CHUNKING", "250-DSN", "250-STARTTLS", "250 HELP"),
    ]
    await client.start_tls(ehlo=False)
    encrypted = (await client.say("EHLO client.example")).split("\n")
    assert "250-AUTH PLAIN LOGIN" in encrypted
    assert "250-STARTTLS" not in encrypted


@pytest.mark.parametrize("kept", [True, False])
async def test_requiretls_is_offered_where_it_can_be_kept(open_door: OpenDoor, kept: bool) -> None:
    """REQUIRETLS needs TLS here and on the whole way on (RFC 8689)."""
    running = await open_door(tls="starttls", policy={"offer_requiretls": kept})
    client = await running.connect()
    assert "REQUIRETLS" not in await client.say("EHLO client.example")
    await client.start_tls(ehlo=False)
    assert ("REQUIRETLS" in await client.say("EHLO client.example")) is kept
    reply = await client.say("MAIL FROM:<a@office.example> REQUIRETLS")
    assert reply.startswith("250 " if kept else "555 5.5.4 ")


async def test_helo_offers_nothing(open_door: OpenDoor) -> None:
    """After HELO there are no parameters."""
    client = await (await open_door()).connect()
    assert await client.say("HELO client.example") == "250 relay.example"
    assert (await client.say("MAIL FROM:<a@office.example> SIZE=1")).startswith("555 5.5.4 ")


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("EHLO", "501 5.5.4"),
        ("EHLO two words", "501 5.5.4"),
        ("EHLO <script>", "501 5.5.4"),
        ("EHLO übel.example", "501 5.5.4"),
        ("EHLO " + "a" * 256, "501 5.5.4"),
        ("RSET now", "501 5.5.4"),
        ("QUIT now", "501 5.5.4"),
        ("VRFY", "501 5.5.4"),
        ("VRFY anna", "252 2.1.5"),
        ("EXPN staff", "502 5.5.1"),
        ("SEND FROM:<a@b.example>", "502 5.5.1"),
        ("SOML FROM:<a@b.example>", "502 5.5.1"),
        ("SAML FROM:<a@b.example>", "502 5.5.1"),
        ("TURN", "502 5.5.1"),
        ("XCLIENT ADDR=127.0.0.1", "550 5.7.0"),
        ("XFORWARD ADDR=127.0.0.1", "550 5.7.0"),
        ("STARTTLS", "502 5.5.1"),
        ("NOOP anything", "250 2.0.0"),
        ("noop", "250 2.0.0"),
        ("XYZZY", "500 5.5.1"),
        ("", "500 5.5.2"),
        (" NOOP", "500 5.5.1"),
        ("NOOP \x00", "500 5.5.2"),
        ("NOOP \x85", "500 5.5.2"),
        ("NOOP \u2028", "500 5.5.2"),
        ("NO\rOP", "500 5.5.2"),
        ("R\u017fET", "500 5.5.2"),
        ("NOOP " + "x" * 600, "500 5.5.2"),
        ("HELP", "214 2.0.0"),
        ("HELP mail", "214 2.0.0 Syntax: MAIL FROM:<address> [parameters]"),
        ("HELP starttls", "504 5.5.4"),
        ("MAIL FROM:<a@b.example>", "503 5.5.1"),
        ("RCPT TO:<a@b.example>", "503 5.5.1"),
        ("DATA", "503 5.5.1"),
    ],
)
async def test_each_command_has_its_answer(open_door: OpenDoor, line: str, code: str) -> None:
    """Every reply has the code of RFC 5321 and an enhanced one, and the session goes on."""
    client = await (await open_door()).connect()
    assert (await client.say(line)).startswith(code)
    assert (await client.say("NOOP")).startswith("250 ")


async def test_octets_that_are_no_text_are_refused(open_door: OpenDoor) -> None:
    """A command that is no UTF-8 is no command."""
    client = await (await open_door()).connect()
    client.send(b"NOOP \xff\xfe\r\n")
    assert (await client.answer()).startswith("500 5.5.2 ")


async def test_a_bare_lf_ends_no_command(open_door: OpenDoor) -> None:
    """Two commands with a bare LF between them are one bad line."""
    running = await open_door()
    client = await running.connect()
    await client.say("EHLO client.example")
    client.send(b"MAIL FROM:<a@office.example>\nMAIL FROM:<b@office.example>\r\nNOOP\r\n")
    assert (await client.answer()).startswith("500 5.5.2 ")
    assert (await client.answer()).startswith("250 ")
    assert "on_sender" not in running.intake.asked


async def test_pipelined_commands_are_answered_in_order(open_door: OpenDoor) -> None:
    """A whole transaction may travel in one packet (RFC 2920)."""
    running = await open_door()
    client = await running.connect()
    client.send(
        b"EHLO client.example\r\nMAIL FROM:<a@office.example>\r\nRCPT TO:<b@partner.example>\r\n"
        b"DATA\r\nSubject: a\r\n\r\nb\r\n.\r\nNOOP\r\nQUIT\r\n"
    )
    codes = [(await client.answer())[:3] for _ in range(7)]
    assert codes == ["250", "250", "250", "354", "250", "250", "221"]
    assert running.intake.messages[0].raw == b"Subject: a\r\n\r\nb\r\n"


@pytest.mark.parametrize("command", ["NOOP", "EHLO a.example", "VRFY a", "EXPN a", "TURN", "X"])
async def test_some_replies_wait_for_no_other_command(open_door: OpenDoor, command: str) -> None:
    """Only those to MAIL, RCPT and RSET may be held back (RFC 2920 section 3.2)."""
    running = await open_door()
    client = await running.connect()
    await client.say("EHLO client.example")
    async with held(running.intake, "on_sender"):
        client.send(f"RSET\r\n{command}\r\nMAIL FROM:<a@office.example>\r\n".encode())
        assert (await client.answer()).startswith("250 ")
        await client.answer()
        await running.until(lambda: "on_sender" in running.intake.asked)


async def test_a_client_that_half_closes_gets_all_its_answers(open_door: OpenDoor) -> None:
    """The end of what a client sends isn't the end of what it hears."""
    client = await (await open_door()).connect()
    client.send(b"NOOP\r\nNOOP\r\n")
    client.writer.write_eof()
    assert (await client.answer()).startswith("250 ")
    assert (await client.answer()).startswith("250 ")
    assert await client.ended()


async def test_who_talks_before_the_greeting_is_sent_away(open_door: OpenDoor) -> None:
    """A mail program waits for the greeting; who doesn't is none."""
    running = await open_door()
    async with held(running.intake, "on_connect") as greeting:
        client = await running.connect(greeted=False)
        client.send(b"EHLO client.example\r\n")
        await running.until(lambda: running.read_ahead() > 0)
        greeting.set_result(None)
        assert (await client.answer()).startswith("554 5.5.1 ")
        assert await client.ended()


async def test_a_plugin_may_refuse_the_greeting(open_door: OpenDoor) -> None:
    """A refused client hears why, and nothing else."""
    running = await open_door()
    running.intake.answers["on_connect"] = Reply(554, "5.7.1", "Not you")
    client = await running.connect(greeted=False)
    assert await client.answer() == "554 5.7.1 Not you"
    assert await client.ended()


async def test_a_refused_name_is_not_taken(open_door: OpenDoor) -> None:
    """A client whose EHLO was refused hasn't said EHLO."""
    running = await open_door()
    running.intake.answers["on_helo"] = Reply(550, "5.7.1", "Bad name")
    client = await running.connect()
    assert (await client.say("EHLO client.example")).startswith("550 5.7.1 ")
    assert (await client.say("MAIL FROM:<a@office.example>")).startswith("503 5.5.1 ")


async def test_a_failing_plugin_is_our_fault(open_door: OpenDoor) -> None:
    """An exception answers 451 and tells the client nothing of it."""
    running = await open_door()
    running.intake.answers["on_helo"] = RuntimeError("secret")
    client = await running.connect()
    reply = await client.say("EHLO client.example")
    assert reply.startswith("451 4.3.0 ")
    assert "secret" not in reply


async def test_a_bug_in_a_command_is_our_fault(
    open_door: OpenDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even the door's own mistakes answer 451, and the session goes on."""

    def broken(*_: object) -> None:
        raise KeyError("secret")

    monkeypatch.setattr("filterrelay.doors.smtp.parse_mail", broken)
    client = await (await open_door()).connect()
    reply = await client.say("EHLO client.example", "MAIL FROM:<a@office.example>")
    assert reply == "451 4.3.0 Temporary problem on our side, please try again later"
    assert (await client.say("NOOP")).startswith("250 ")


@pytest.mark.parametrize(
    "request_line",
    ["GET / HTTP/1.1", "POST / HTTP/1.1", "get / HTTP/1.0", "CONNECT a:25 HTTP/1.1", "X / HTTP/2"],
)
async def test_http_is_sent_away_at_once(open_door: OpenDoor, request_line: str) -> None:
    """A web page's form can't speak SMTP in its body."""
    running = await open_door()
    client = await running.connect()
    client.send(
        f"{request_line}\r\nHost: a\r\n\r\nEHLO a\r\nMAIL FROM:<a@office.example>\r\n".encode()
    )
    assert (await client.answer()).startswith("421 4.7.0 ")
    assert await client.ended()
    assert "on_sender" not in running.intake.asked


async def test_a_tls_client_at_the_plain_port_is_hung_up_on(open_door: OpenDoor) -> None:
    """A ClientHello gets no reply that its sender couldn't read."""
    client = await (await open_door()).connect()
    client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    assert await client.ended()


async def test_too_many_errors_end_the_session(open_door: OpenDoor) -> None:
    """limits.errors bad commands are borne, one more is not."""
    client = await (await open_door(limits={"errors": 3})).connect()
    for _ in range(3):
        assert (await client.say("XYZZY")).startswith("500 ")
    assert (await client.say("XYZZY")).startswith("421 4.7.0 ")
    assert await client.ended()


async def test_too_many_commands_without_a_message_end_the_session(open_door: OpenDoor) -> None:
    """limits.commands bounds a client that never sends anything."""
    client = await (await open_door(limits={"commands": 10})).connect()
    assert (await client.say(*["NOOP"] * 10)).startswith("250 ")
    assert (await client.say("NOOP")).startswith("421 4.7.0 ")


async def test_a_line_of_a_megabyte_is_skipped(open_door: OpenDoor) -> None:
    """A line far too long is not kept, and the session goes on behind it."""
    client = await (await open_door()).connect()
    client.send(b"NOOP " + b"x" * 1_000_000 + b"\r\nNOOP\r\n")
    assert (await client.answer()).startswith("500 5.5.2 ")
    assert (await client.answer()).startswith("250 ")


async def test_a_silent_client_is_told_421(open_door: OpenDoor) -> None:
    """After limits.command_timeout the session ends with 421."""
    limits = {"command_timeout": timedelta(seconds=0.05)}
    client = await (await open_door(limits=limits)).connect()
    assert (await client.answer()).startswith("421 4.4.2 ")
    assert await client.ended()


async def test_a_dripping_client_is_told_421(open_door: OpenDoor) -> None:
    """Single octets don't make the time for a command any longer."""
    limits = {"command_timeout": timedelta(seconds=0.2)}
    client = await (await open_door(limits=limits)).connect()

    async def drip() -> None:
        while True:
            client.send(b"N")
            await asyncio.sleep(0.02)  # the pace of the attack

    dripping = asyncio.create_task(drip())
    assert (await client.answer()).startswith("421 4.4.2 ")
    dripping.cancel()


async def test_starttls_forgets_what_was_said_before(open_door: OpenDoor) -> None:
    """After the handshake EHLO is due again, and the transaction is gone (RFC 3207)."""
    running = await open_door(tls="starttls")
    client = await running.connect()
    await client.say("EHLO client.example", "MAIL FROM:<a@office.example>")
    await client.start_tls(ehlo=False)
    assert (await client.say("RCPT TO:<b@partner.example>")).startswith("503 ")
    assert (await client.say("MAIL FROM:<a@office.example>")).startswith("503 5.5.1 Say EHLO")
    await client.begin()
    assert (await client.say("DATA", "a: b\r\n.")).startswith("250 ")
    tls = running.intake.messages[0].session.tls
    assert tls is not None
    assert tls.version == "TLSv1.3"


async def test_a_second_starttls_is_refused(open_door: OpenDoor) -> None:
    """There is no TLS inside TLS."""
    client = await (await open_door(tls="starttls")).connect()
    await client.start_tls()
    assert (await client.say("STARTTLS")).startswith("503 5.5.1 ")


async def test_a_command_behind_starttls_is_not_obeyed(open_door: OpenDoor) -> None:
    """Plain text that follows STARTTLS would seem to come from inside TLS (CVE-2011-0411)."""
    running = await open_door(tls="starttls")
    client = await running.connect()
    await client.say("EHLO client.example")
    client.send(b"STARTTLS\r\nMAIL FROM:<evil@office.example>\r\n")
    assert (await client.answer()).startswith("554 5.5.1 ")
    assert await client.ended()
    assert "on_sender" not in running.intake.asked


async def test_a_failed_handshake_ends_the_session(open_door: OpenDoor) -> None:
    """Who answers 220 with plain text is cut off."""
    client = await (await open_door(tls="starttls")).connect()
    await client.say("EHLO client.example", "STARTTLS")
    client.send(b"NOOP\r\n" * 10)
    assert b"250 " not in await client.reader.read()


async def test_the_intake_hears_of_a_session_s_end(open_door: OpenDoor) -> None:
    """What plugins kept for a session can be forgotten."""
    running = await open_door()
    client = await running.connect()
    await client.say("QUIT")
    assert await client.ended()
    assert len(running.intake.closed) == 1


async def test_commands_are_counted_by_name(open_door: OpenDoor) -> None:
    """Unknown verbs share one series, so that a client can't make new ones."""
    running = await open_door()
    client = await running.connect()
    await client.say("NOOP", "NOOP", "XYZZY", "PLUGH")
    name = "filterrelay_commands_total"
    assert running.count(name, listener="submission", command="noop") == 2
    assert running.count(name, listener="submission", command="other") == 2
