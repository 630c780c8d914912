"""The contents of each command, as the MTAs write them and otherwise."""

import pytest

from filterrelay.wire.milter import Action, Connect, Family, Header, Mail, Step, commands
from filterrelay.wire.milter.commands import MOST_MACROS, Malformed

NONE: dict[bytes, bytes] = {}


@pytest.mark.parametrize(
    ("payload", "family", "address", "port"),
    [
        (b"4\x01\x02192.0.2.1\0", Family.INET, b"192.0.2.1", 258),
        (b"6\0\x192001:db8::1\0", Family.INET6, b"2001:db8::1", 25),
        (b"6\0\x19IPv6:2001:db8::1\0", Family.INET6, b"2001:db8::1", 25),
        (b"6\0\x19fe80::1%eth0\0", Family.INET6, b"fe80::1", 25),
        (b"6\0\x19::ffff:192.0.2.1\0", Family.INET6, b"::ffff:192.0.2.1", 25),
        (b"L\0\0/run/client.sock\0", Family.UNIX, b"/run/client.sock", 0),
        (b"L\0\0\0", Family.UNKNOWN, b"", 0),
        (b"U", Family.UNKNOWN, b"", 0),
        (b"U\0\0\0", Family.UNKNOWN, b"", 0),
        (b"9\0\x19whatever", Family.UNKNOWN, b"", 0),
        (b"4\x04\xd2unknown\0", Family.UNKNOWN, b"", 0),
        (b"4\0\x192001:db8::1\0", Family.UNKNOWN, b"", 0),
        (b"4\0\x191.2.3\0", Family.UNKNOWN, b"", 0),
        (b"6\0\x19\xff\xff\0", Family.UNKNOWN, b"", 0),
    ],
)
def test_clients_have_an_address_or_none(
    payload: bytes, family: Family, address: bytes, port: int
) -> None:
    """An address that is none makes a client that nothing is known of, as Postfix means it."""
    known = {b"j": b"mx"}
    found = commands.connect(b"h\xc3\xb6st\0" + payload, known)
    assert found == Connect(b"h\xc3\xb6st", family, address, port, known)


@pytest.mark.parametrize(
    "payload", [b"", b"host", b"host\0", b"host\x004", b"host\x004\0", b"h\x004\0\x191.2.3.4"]
)
def test_connections_that_are_cut_short_are_malformed(payload: bytes) -> None:
    """The family, the port and the end of the address are to be there."""
    with pytest.raises(Malformed):
        commands.connect(payload, NONE)


def test_paths_lose_their_brackets() -> None:
    """Parameters follow; a bounce has an empty sender; a route is kept."""
    payload = b"<a@b>\0SIZE=1\0SMTPUTF8\0"
    assert commands.mail(payload, NONE) == Mail(b"a@b", (b"SIZE=1", b"SMTPUTF8"), NONE)
    assert commands.mail(b"<>\0", NONE).address == b""
    assert commands.rcpt(b"<@x:a@b>\0", NONE).address == b"@x:a@b"
    assert commands.rcpt("bär@büro.example\0".encode(), NONE).address.decode() == "bär@büro.example"


@pytest.mark.parametrize(
    "call",
    [
        lambda: commands.mail(b"", NONE),
        lambda: commands.mail(b"<a@b>", NONE),
        lambda: commands.rcpt(b"<a@b>\0SIZE", NONE),
        lambda: commands.helo(b"client", NONE),
        lambda: commands.helo(b"a\0b\0", NONE),
        lambda: commands.unknown(b"", NONE),
        lambda: commands.header(b"Subject", False),
        lambda: commands.header(b"Subject\0", False),
        lambda: commands.header(b"Subject\0value", False),
        lambda: commands.header(b"Subject\0value\0x\0", False),
        lambda: commands.macros(b""),
        lambda: commands.offer(bytes(11)),
    ],
)
def test_texts_without_an_end_are_malformed(call: object) -> None:
    """A NUL ends each text, and there are as many as the command has."""
    assert callable(call)
    with pytest.raises(Malformed):
        call()


def test_a_value_has_the_blank_that_the_mta_took() -> None:
    """Without LEADING_SPACE the MTA takes one blank, and puts it back in what it delivers."""
    assert commands.header(b"X\0value\0", True) == Header(b"X", b" value")
    assert commands.header(b"X\0 value\0", False) == Header(b"X", b" value")


def test_macros_lose_their_braces() -> None:
    """One-letter names have none; a name without a value is nothing."""
    payload = b"Mi\0ABC\0{auth_authen}\0a b\0{empty}\0\0{}\0x\0{\0y\0lost"
    assert commands.macros(payload) == {
        b"i": b"ABC",
        b"auth_authen": b"a b",
        b"empty": b"",
        b"": b"x",
        b"{": b"y",
    }
    assert commands.macros(b"M") == {}


def test_macros_are_bounded() -> None:
    """As many as any MTA tells, no more."""
    pair = b"n\0v\0"
    assert commands.macros(b"M" + pair * MOST_MACROS) == {b"n": b"v"}
    with pytest.raises(Malformed):
        commands.macros(b"M" + pair * (MOST_MACROS + 1))


def test_an_offer_of_nothing_means_version_1s() -> None:
    """Bits that nobody knows are left out; more than three numbers may come."""
    assert commands.offer(b"\0\0\0\2" + bytes(8)) == (2, Action(0x0F), Step(0x3F))
    version, actions, steps = commands.offer(b"\0\0\0\6" + b"\xff" * 8 + b"more")
    assert (version, actions, steps) == (6, Action(0x1FF), Step(0x301FFFFF))
