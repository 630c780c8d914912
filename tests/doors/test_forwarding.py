"""A mail server in front says who its client is."""

from typing import Any

import pytest

from filterrelay.mail.reply import Reply
from tests.doors.conftest import OpenDoor

FRONT: dict[str, Any] = {"xclient_from": ["127.0.0.1"]}
FRONTS: dict[str, Any] = {"xclient_from": ["127.0.0.1", "192.0.2.0/24"]}  # in a row
XCLIENT = "XCLIENT NAME=client.example ADDR=192.0.2.7 PORT=4711 LOGIN=anna DESTADDR=192.0.2.25"


@pytest.mark.parametrize("command", ["XCLIENT ADDR=192.0.2.7", "XFORWARD ADDR=192.0.2.7"])
async def test_who_is_not_listed_speaks_for_itself_only(open_door: OpenDoor, command: str) -> None:
    """It is neither offered nor obeyed; and who is in another network is not listed."""
    door = await open_door(xclient_from=["10.0.0.0/8"])
    client = await door.connect()
    assert command.split()[0] not in await client.say("EHLO client.example")
    assert await client.say(command) == "550 5.7.0 Insufficient authorization"
    assert command.split()[0] not in await client.say("HELP")


async def test_xclient_makes_the_connection_the_clients_own(open_door: OpenDoor) -> None:
    """It begins anew with a greeting, and all that is judged and told is the client."""
    door = await open_door(**FRONT)
    client = await door.connect()
    offered = await client.say("EHLO mx.example")
    assert "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT" in offered
    assert (await client.say(XCLIENT)).startswith("220 relay.example")
    assert (await client.say("MAIL FROM:<a@b.example>")).startswith("503 5.5.1")
    assert door.intake.asked.count("on_connect") == 2
    await client.begin()
    await client.say("DATA")
    await client.say("Subject: x\r\n\r\nHello.\r\n.")
    session = door.intake.messages[0].session
    assert (session.client_ip, session.client_port) == ("192.0.2.7", 4711)
    assert (session.client_name, session.server_ip) == ("client.example", "192.0.2.25")
    assert (session.login, session.helo, session.trusted) == ("anna", "client.example", False)
    assert session.id != door.intake.closed[0].id


@pytest.mark.parametrize(
    ("said", "may"),
    [
        ("ADDR=192.0.2.7", False),
        ("ADDR=[UNAVAILABLE]", False),
        ("ADDR=127.0.0.1", True),
        ("NAME=client.example", True),
    ],
)
async def test_the_client_may_not_pose_in_its_turn(
    open_door: OpenDoor, said: str, *, may: bool
) -> None:
    """What comes after XCLIENT may be its very words, as a proxy passes them on."""
    door = await open_door(**FRONT, trusted_networks=["127.0.0.0/8"])
    client = await door.connect()
    await client.say(f"XCLIENT {said}")
    assert ("XCLIENT" in await client.say("EHLO client.example")) is may
    for command, code in (("XFORWARD IDENT=4F2A", "250"), ("XCLIENT ADDR=127.0.0.1", "220")):
        assert (await client.say(command)).startswith(code if may else "550 5.7.0")
    (session,) = door.sessions()
    assert session.client.trusted is may


@pytest.mark.parametrize(("verb", "code"), [("XFORWARD", "250"), ("XCLIENT", "220")])
async def test_much_may_be_said_of_a_client(open_door: OpenDoor, verb: str, code: str) -> None:
    """Its names may be long, and what is said of it at once longer than a command."""
    client = await (await open_door(**FRONT)).connect()
    said = f"{verb} ADDR=192.0.2.7 NAME={'n' * 250} HELO={'+3D' * 250}"
    assert (await client.say(said)).startswith(code)


async def test_the_helo_that_the_client_said_is_the_clients(open_door: OpenDoor) -> None:
    """A front that says EHLO with its own name doesn't hide it."""
    door = await open_door(**FRONT)
    client = await door.connect()
    await client.say("XCLIENT HELO=liar.example ADDR=192.0.2.7", "EHLO mx.example")
    (session,) = door.sessions()
    assert session.client.helo == "liar.example"


@pytest.mark.parametrize(
    ("said", "trusted"),
    [
        ("ADDR=10.1.2.3", True),
        ("ADDR=192.0.2.7", False),
        ("ADDR=[UNAVAILABLE]", False),
        ("NAME=client.example", False),
    ],
)
async def test_trust_is_the_named_clients_alone(
    open_door: OpenDoor, said: str, *, trusted: bool
) -> None:
    """The front's own trust goes to nobody, least of all to who isn't known."""
    door = await open_door(**FRONT, trusted_networks=["10.0.0.0/8", "127.0.0.0/8"])
    client = await door.connect()
    await client.say(f"XCLIENT {said}", "EHLO mx.example")
    (session,) = door.sessions()
    assert session.client.trusted is trusted


async def test_the_fronts_own_login_is_not_its_clients(open_door: OpenDoor) -> None:
    """Only LOGIN says who has logged in, and [UNAVAILABLE] takes that back."""
    door = await open_door(**FRONTS, tls="starttls", auth="optional")
    client = await door.connect()
    await client.start_tls()
    assert (await client.say("AUTH PLAIN AGFubmEAc2VzYW1l")).startswith("235")
    (session,) = door.sessions()
    for said, login in (
        ("ADDR=192.0.2.7", ""),
        ("LOGIN=bert", "bert"),
        ("NAME=client.example", "bert"),
        ("LOGIN=[UNAVAILABLE]", ""),
    ):
        assert (await client.say(f"XCLIENT {said}")).startswith("220")
        assert session.client.login == login


async def test_a_client_that_is_not_wanted_is_turned_away(open_door: OpenDoor) -> None:
    """As if it had come itself."""
    door = await open_door(**FRONT)
    client = await door.connect()
    await client.say("EHLO mx.example")
    door.intake.answers["on_connect"] = Reply(554, "5.7.1", "Listed")
    assert await client.say(XCLIENT) == "554 5.7.1 Listed"
    assert await client.ended()


async def test_connections_are_counted_by_the_named_client(open_door: OpenDoor) -> None:
    """The front may have many; one client only its share, and its places come free again."""
    door = await open_door(**FRONTS, limits={"connections_per_client": 2})
    clients = [await door.connect() for _ in range(4)]
    for client in clients[:2]:
        assert (await client.say(XCLIENT)).startswith("220")
    assert (await clients[2].say(XCLIENT)).startswith("421 4.7.0 Too many connections from you")
    assert (await clients[3].say("XCLIENT ADDR=192.0.2.8")).startswith("220")
    assert (await clients[1].say("XCLIENT ADDR=192.0.2.9")).startswith("220")
    assert (await clients[3].say(XCLIENT)).startswith("220")
    await clients[0].say("QUIT")
    await door.until(lambda: len(door.sessions()) < 3)
    assert (await clients[1].say(XCLIENT)).startswith("220")


async def test_xforward_decides_nothing_on_this_door(open_door: OpenDoor) -> None:
    """It says for one message what the mail server in front calls it, and no more."""
    door = await open_door(**FRONT, trusted_networks=["10.0.0.0/8"])
    client = await door.connect()
    assert "XFORWARD NAME ADDR" in await client.say("EHLO mx.example")
    for _ in range(2):
        said = await client.say("XFORWARD ADDR=10.1.2.3 IDENT=4F2A", "XFORWARD SOURCE=LOCAL")
        assert said == "250 2.0.0 OK"
        await client.say("MAIL FROM:<a@b.example>", "RCPT TO:<c@d.example>", "DATA")
        await client.say("Subject: x\r\n\r\nHello.\r\n.")
    await client.say("MAIL FROM:<a@b.example>", "RCPT TO:<c@d.example>", "DATA")
    await client.say("Subject: x\r\n\r\nHello.\r\n.")
    sessions = [message.session for message in door.intake.messages]
    assert [session.queue_id for session in sessions] == ["4F2A", "4F2A", ""]
    assert {(session.client_ip, session.trusted) for session in sessions} == {("127.0.0.1", False)}


async def test_a_login_after_xforward_is_the_messages(open_door: OpenDoor) -> None:
    """As one before it is."""
    door = await open_door(**FRONT, tls="starttls", auth="required")
    client = await door.connect()
    await client.start_tls()
    assert (await client.say("XFORWARD IDENT=4F2A")).startswith("250")
    assert (await client.say("AUTH PLAIN AGFubmEAc2VzYW1l")).startswith("235")
    await client.say("MAIL FROM:<anna@b.example>", "RCPT TO:<c@d.example>", "DATA")
    await client.say("Subject: x\r\n\r\nHello.\r\n.")
    (message,) = door.intake.messages
    assert (message.session.login, message.session.queue_id) == ("anna", "4F2A")


@pytest.mark.parametrize("verb", ["XCLIENT", "XFORWARD"])
async def test_bad_attributes_change_nothing(open_door: OpenDoor, verb: str) -> None:
    """One that can't be taken refuses the whole command; nor is it taken between MAIL and dot."""
    door = await open_door(**FRONT)
    client = await door.connect()
    await client.say("EHLO mx.example")
    (session,) = door.sessions()
    before = session.client
    assert (await client.say(verb)).startswith("501 5.5.4")
    assert (await client.say(f"{verb} ADDR=192.0.2.7 PORT=x")).startswith("501 5.5.4 PORT")
    assert (await client.say(f"{verb} ADDR=192.0.2.7 WHO=x")).startswith("501 5.5.4")
    assert (await client.say(f"{verb} NAME=")).startswith("501 5.5.4 NAME")
    await client.say("MAIL FROM:<a@b.example>")
    assert (await client.say(f"{verb} ADDR=192.0.2.7")).startswith("503 5.5.1")
    assert session.client == before
    assert session.origin == before
