"""Mail comes in through the SMTP door as RFC 5321 and its extensions have it."""

from tests.doors.conftest import OpenDoor


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
