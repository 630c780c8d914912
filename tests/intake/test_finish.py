"""What every message is given before it leaves."""

import email
from dataclasses import replace

from filterrelay.mail.edits import AddHeader
from filterrelay.mail.message import Message
from filterrelay.mail.verdict import Quarantine
from filterrelay.plugin import Options, hook
from filterrelay.plugin.testing import a_message, a_session
from filterrelay.spool.store import State

from .bench import RAW, USER, Bench, Hands, Signs, says

EIGHT_BITS = a_message("Grüße\n").raw


async def test_the_spooled_message_has_our_received_field_and_is_else_unchanged() -> None:
    """Every byte behind the trace fields is the client's own."""
    bench = Bench()
    await bench.send()
    body = bench.delivered[0].body
    assert body.startswith(b"Received: by relay.office.example with ESMTPA id ")
    assert body.endswith(RAW)


async def test_signing_comes_after_every_other_edit() -> None:
    """The signer sees the message with its trace fields, as it will leave."""
    bench = Bench(signers=(Signs,))
    await bench.send()
    assert bench.delivered[0].body.startswith(b"X-Signature: Received\r\n")


async def test_a_submission_is_completed_and_a_strangers_mail_is_not() -> None:
    """RFC 6409 is for our own users."""
    bare = a_message("Hello", date="").raw
    bench = Bench()
    await bench.send(bare)
    await bench.send(bare, session=a_session())
    submitted, relayed = [Message("ID", deposit.body) for deposit in bench.delivered]
    assert submitted.all("date")
    assert not relayed.all("date")
    assert "192.0.2.1" not in submitted.get("received")
    assert "192.0.2.1" in relayed.get("received")


async def test_behind_a_mail_server_received_says_nothing_of_the_client() -> None:
    """Whoever stands in front has said it already; we only know what it told us."""
    bench = Bench()
    await bench.send(session=replace(a_session(), door="proxy", helo="client.example"))
    (deposit,) = bench.delivered
    received = Message("ID", deposit.body).get("received")
    assert received.startswith("by relay.office.example with")
    assert "client.example" not in received


async def test_a_route_that_is_known_to_take_7_bits_gets_them_signed_once() -> None:
    """Converted before signing, the message needs nothing more on its way."""
    seen: list[bool] = []

    class Looks:
        """A signer that notes what it signs."""

        def __init__(self, _: Options) -> None:
            """Has no options."""

        @hook
        async def sign(self, message: Message) -> tuple[AddHeader, ...]:
            """Nothing."""
            seen.append(message.raw.isascii())
            return ()

    bench = Bench(signers=(Looks,))
    for lacks in (False, True):
        finish = replace(bench.intake._finish, lacks_eight_bit=lambda *_, lacks=lacks: lacks)
        bench.intake._finish = finish
        await bench.send(EIGHT_BITS)
    assert seen == [False, True]
    parsed = email.message_from_bytes(bench.delivered[1].body)
    assert parsed.get_payload(decode=True) == "Grüße\r\n".encode()


async def test_a_milters_message_that_nobody_read_is_left_alone() -> None:
    """Its header isn't known: a Date could be there already."""
    bench, onward = Bench(), Hands()
    await bench.send(b"", session=replace(USER, door="milter"), onward=onward)
    assert onward.passed[0].edits == ()


async def test_released_mail_that_came_by_milter_shows_where_it_has_been() -> None:
    """RFC 5321 section 4.4: the mail server's own Received field isn't told to a milter."""
    bench = Bench(says(Quarantine("looks odd")), upstream="reinject", kind="milter")
    session = replace(a_session(), door="milter", helo="client.example")
    await bench.send(session=session, onward=Hands())
    (stored,) = await bench.stored(State.QUARANTINED)
    await bench.intake.release(stored, RAW)
    assert (await bench.spool.body(stored.id)).startswith(
        b"Received: from client.example ([192.0.2.1])\r\n\tby relay.office.example with "
    )
