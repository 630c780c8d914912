"""What real MTAs said to a filter is understood, however the network cuts it."""

from typing import TypeVar

import pytest

from filterrelay.wire.milter import (
    Abort,
    Action,
    Body,
    Broken,
    Connect,
    Conversation,
    EndOfMessage,
    Event,
    Family,
    Header,
    Helo,
    Mail,
    Negotiated,
    Quit,
    Rcpt,
    Stage,
    Step,
    Unknown,
    Wishes,
)

from .mta import ALL_ACTIONS, RECORDED, every, in_pieces

NOTHING = Wishes(
    steps=Step.NO_CONNECT
    | Step.NO_HELO
    | Step.NO_MAIL
    | Step.NO_RCPT
    | Step.NO_DATA
    | Step.NO_BODY
    | Step.NO_UNKNOWN
    | Step.NO_HEADERS
    | Step.NO_END_OF_HEADER
)
WISHES = {"postfix_nothing": NOTHING}
NAMES = sorted(file.stem for file in RECORDED.glob("*.bin"))


def heard(name: str) -> list[Event]:
    """The events of a recorded conversation."""
    octets = (RECORDED / f"{name}.bin").read_bytes()
    return Conversation(WISHES.get(name, Wishes())).feed(octets)


T = TypeVar("T")


def those(events: list[Event], kind: type[T]) -> list[T]:
    """The events of one kind."""
    return [event for event in events if isinstance(event, kind)]


@pytest.mark.parametrize("name", NAMES)
def test_a_recorded_conversation_is_understood(name: str) -> None:
    """From the negotiation to the end."""
    events = heard(name)
    assert isinstance(events[0], Negotiated)
    assert events[-1] == Quit()
    assert those(events, Broken) == []


@pytest.mark.parametrize("name", ["postfix", "postfix_quiet", "sendmail"])
def test_a_conversation_survives_any_cut(name: str) -> None:
    """Two packets that end anywhere tell the same."""
    octets, whole = (RECORDED / f"{name}.bin").read_bytes(), heard(name)
    for cut in range(1, len(octets)):
        assert in_pieces(Conversation(Wishes()), (octets[:cut], octets[cut:])) == whole


@pytest.mark.parametrize("name", NAMES)
def test_a_conversation_survives_small_packets(name: str) -> None:
    """So do many packets of some octets."""
    octets, whole = (RECORDED / f"{name}.bin").read_bytes(), heard(name)
    for size in (1, 3, 7, 100):
        conversation = Conversation(WISHES.get(name, Wishes()))
        assert in_pieces(conversation, every(octets, size)) == whole


@pytest.mark.parametrize(
    ("name", "version", "kinds"),
    [
        ("postfix", 6, "NCHMRRTLLLLLLLLLLEBEMAUMRAHMRTLLLEEQ"),
        ("postfix_version_4", 4, "NCHMRRTLLLLLLLLLLEBEMAUMRAHMRTLLLEEQ"),
        ("postfix_version_3", 3, "NCHMRRLLLLLLLLLLEBEMAUMRAHMRLLLEEQ"),
        ("postfix_version_2", 2, "NCHMRRLLLLLLLLLLEBEMAMRAHMRLLLEEQ"),
        ("postfix_nothing", 6, "NEEQ"),
        ("sendmail", 6, "NCHMRRTLLLLLLLLEBEMAMRAHMRTEEQ"),
    ],
)
def test_each_version_tells_what_it_knows(name: str, version: int, kinds: str) -> None:
    """Two messages, two begun, and an unknown command; version 3 has no DATA, 2 no UNKNOWN."""
    events = heard(name)
    agreed = events[0]
    assert isinstance(agreed, Negotiated)
    assert agreed.version == version
    letters = {"Header": "L", "Data": "T"}
    told = (type(event).__name__ for event in events)
    assert "".join(letters.get(kind, kind[0]) for kind in told) == kinds


HEADER = (
    b"Received: from x.example\r\n\tby y.example; Thu, 26 Nov 2026 00:00:00 +0000\r\n"
    b"Subject:  two blanks\r\nX-Tab:\tvalue \r\nX-None:value\r\nX-Empty:\r\n"
    b"X-Fold:\r\n folded first\r\n\t and tabbed\r\nFrom: <a@office.example>\r\n"
    b"To: =?utf-8?q?=C3=A4?= <b@office.example>\r\n"
)


@pytest.mark.parametrize("name", ["postfix", "postfix_quiet", "sendmail"])
def test_the_message_comes_octet_by_octet(name: str) -> None:
    """The header that the client sent, its blanks and folds, and the body without dots."""
    events = heard(name)
    message = events[: events.index(those(events, EndOfMessage)[0])]
    fields = b"".join(field.field for field in those(message, Header))
    assert fields.startswith(HEADER)
    assert those(message, Body) == [Body(b"Hello\r\ndot\r\n\r\nend\r\n")]


def test_an_old_mta_takes_a_blank_away() -> None:
    """It is put back; where there was none, that can't be known."""
    fields = b"".join(field.field for field in those(heard("postfix_version_4"), Header))
    altered = HEADER.replace(b"X-None:", b"X-None: ").replace(b"X-Tab:", b"X-Tab: ")
    altered = altered.replace(b"Empty:", b"Empty: ").replace(b"X-Fold:", b"X-Fold: ")
    assert fields.startswith(altered)


def test_postfix_tells_queue_id_and_parameters() -> None:
    """The first recipient has no queue ID yet."""
    events = heard("postfix")
    mail, rcpts = those(events, Mail)[0], those(events, Rcpt)
    assert mail.parameters == (b"SIZE=100", b"BODY=8BITMIME")
    assert [rcpt.address for rcpt in rcpts[:2]] == [b"b@office.example", b"c@office.example"]
    assert rcpts[1].parameters == (b"NOTIFY=NEVER",)
    assert b"i" not in rcpts[0].macros
    first, second = those(events, EndOfMessage)
    assert rcpts[1].macros[b"i"] == first.macros[b"i"] != second.macros[b"i"]
    assert second.macros[b"mail_addr"] == b"second@office.example"
    assert [helo.name for helo in those(events, Helo)] == [b"client.example", b"again.example"]
    assert those(events, Unknown)[0].line == b"FOO"


def test_sendmail_tells_a_queue_id_from_the_sender_on() -> None:
    """Also of a message that is given up; its macros are gone with it."""
    events = heard("sendmail")
    ids = [mail.macros[b"i"] for mail in those(events, Mail)]
    assert len(set(ids)) == 4
    assert those(events, Abort) == [Abort()] * 2
    assert those(events, Helo)[1].macros.keys() == those(events, Helo)[0].macros.keys()
    assert those(heard("sendmail_quiet"), Unknown)[0].line == b"FOO bar"


@pytest.mark.parametrize(
    ("name", "family", "client", "address"),
    [
        ("postfix", Family.INET, b"[127.0.0.1]", b"127.0.0.1"),
        ("postfix_ipv6", Family.INET6, b"six.example", b"2001:db8::25"),
        ("postfix_unknown", Family.UNKNOWN, b"unknown", b""),
        ("sendmail_local", Family.UNKNOWN, b"localhost", b""),
        ("miltertest", Family.INET6, b"host.example", b"2001:db8::1"),
    ],
)
def test_clients_of_every_family_are_told(
    name: str, family: Family, client: bytes, address: bytes
) -> None:
    """By network, from XCLIENT, and from a local program."""
    (connect,) = those(heard(name), Connect)
    assert (connect.family, connect.name, connect.address) == (family, client, address)


def test_a_quiet_conversation_was_asked_for_so() -> None:
    """What the recorded answer to Postfix asked for is what it went on to do."""
    events = Conversation(
        Wishes(
            actions=Action(ALL_ACTIONS),
            steps=Step(0xFF080) | Step.SKIP,
            macros={
                Stage.CONNECT: (b"j", b"client_addr"),
                Stage.MAIL: (b"i", b"mail_addr"),
                Stage.RCPT: (b"rcpt_addr",),
                Stage.END_OF_MESSAGE: (b"i",),
            },
        )
    ).feed((RECORDED / "postfix_quiet.bin").read_bytes())
    connect, mail = those(events, Connect)[0], those(events, Mail)[0]
    assert connect.macros == {b"j": b"mx.provider.example", b"client_addr": b"127.0.0.1"}
    assert mail.macros == {**connect.macros, b"mail_addr": b"a@office.example"}
    assert those(events, EndOfMessage)[0].macros.keys() == {
        *mail.macros,
        *(b"rcpt_addr", b"i"),
    }
