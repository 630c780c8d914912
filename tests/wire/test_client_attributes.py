"""What mail servers say of their clients, and how it is said to the next one."""

import pytest

from filterrelay.mail.session import Identity, Session
from filterrelay.wire.client_attributes import (
    MAX_COMMAND,
    MAX_XCLIENT,
    XCLIENT,
    XFORWARD,
    BadAttribute,
    parse_attributes,
    xclient_commands,
    xforward_commands,
)


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("ADDR=192.0.2.7", {"ADDR": "192.0.2.7"}),
        ("addr=IPV6:2001:db8:0::1", {"ADDR": "2001:db8::1"}),
        ("ADDR=ipv6:::ffff:192.0.2.7", {"ADDR": "192.0.2.7"}),
        ("ADDR=2001:db8::1", {"ADDR": "2001:db8::1"}),
        ("NAME=[unavailable] ADDR=[UNAVAILABLE]", {"NAME": "", "ADDR": ""}),
        ("NAME=[TEMPUNAVAIL]", {"NAME": ""}),
        ("PORT=025 DESTPORT=65535", {"PORT": "25", "DESTPORT": "65535"}),
        ("HELO=[192.0.2.7]", {"HELO": "[192.0.2.7]"}),
        ("LOGIN=b+C3+BCro+40office.example", {"LOGIN": "büro@office.example"}),
        ("PROTO=esmtp SOURCE=local IDENT=4F+2BA", {"PROTO": "ESMTP", "SOURCE": "LOCAL"}),
        ("NAME=a.example NAME=b.example", {"NAME": "b.example"}),
    ],
)
def test_attributes_are_read_as_postfix_writes_them(argument: str, said: dict[str, str]) -> None:
    """In xtext, names and [UNAVAILABLE] in capitals or not, IPv6 with its prefix or not."""
    read = parse_attributes(argument, {*XCLIENT, *XFORWARD})
    assert {name: read[name] for name in said} == said


@pytest.mark.parametrize(
    "argument",
    [
        *("", "NAME", "=x", "ADDR=", "ADDR=mail.example", "ADDR=1.2.3", "ADDR=fe80::1%eth0"),
        *("ADDR=+31", "PORT=65536", "PORT=-1", "PORT=٣", "SOURCE=ELSEWHERE", "DAEMON=x"),
        *("LOGIN=", "LOGIN=a+0Ab", "LOGIN=+FF", "LOGIN=+E2+80+A8", f"LOGIN={'a' * 256}"),
    ],
)
def test_what_is_no_value_is_refused(argument: str) -> None:
    """Above all a login that would be another one if it were mended."""
    with pytest.raises(BadAttribute):
        parse_attributes(argument, {*XCLIENT, *XFORWARD})


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("NAME=a+0D+0Ab", "a??b"),
        ("NAME=büro", "b?ro"),
        ("HELO=my+20computer+00", "my?computer?"),
        ("HELO=<a,b>", "?a?b?"),
        ('HELO="x"', "?x?"),
        (f"HELO={'a' * 300}", "a" * 255),
        ("IDENT=a,b", "a?b"),
    ],
)
def test_what_could_be_misread_is_masked(said: str, read: str) -> None:
    """No line end and no header's mark gets through; a client's odd HELO is still no fault."""
    name = said.partition("=")[0]
    assert parse_attributes(said, {*XCLIENT, *XFORWARD}) == {name: read}


CLIENT = Session(
    *("ID", "proxy", "proxy", "2001:db8::1", 4711),
    client_name="client.example",
    queue_id="4F2A",
    server_ip="192.0.2.25",
    server_port=25,
    helo="we=us.example",
    esmtp=True,
    identity=Identity("büro a"),
)


def test_a_next_hop_is_told_what_it_asks_for() -> None:
    """In the order in which it is documented, and encoded."""
    assert xforward_commands({"ADDR", "HELO", "SOURCE", "XYZ"}, CLIENT, local=False) == [
        b"XFORWARD ADDR=IPV6:2001:db8::1 HELO=we+3Dus.example SOURCE=REMOTE\r\n"
    ]
    assert xclient_commands({"LOGIN", "PORT", "DESTADDR", "DESTPORT"}, CLIENT) == [
        b"XCLIENT PORT=4711 LOGIN=b+C3+BCro+20a DESTADDR=192.0.2.25 DESTPORT=25\r\n"
    ]
    assert xforward_commands((), CLIENT, local=True) == []


def test_what_is_not_known_is_said_to_be_so() -> None:
    """Or the next hop would keep what it was told of the client before."""
    unknown = Session("ID", "proxy", "proxy", "")
    (told,) = xforward_commands(XFORWARD, unknown, local=True)
    assert told == (
        b"XFORWARD NAME=[UNAVAILABLE] ADDR=[UNAVAILABLE] PORT=[UNAVAILABLE] PROTO=SMTP "
        b"HELO=[UNAVAILABLE] IDENT=[UNAVAILABLE] SOURCE=LOCAL\r\n"
    )


def test_no_command_is_longer_than_a_command_may_be() -> None:
    """Two names of 255 characters take two commands, which say all between them."""
    long = Session("ID", "proxy", "proxy", "", client_name="n" * 255, helo="h" * 255)
    commands = xforward_commands(XFORWARD, long, local=False)
    assert len(commands) == 2
    assert all(len(command) <= MAX_COMMAND for command in commands)
    said: dict[str, str] = {}
    for command in commands:
        said |= parse_attributes(command.decode().partition(" ")[2].strip(), XFORWARD)
    assert (said["NAME"], said["HELO"]) == ("n" * 255, "h" * 255)


def test_a_client_is_posed_as_in_one_command() -> None:
    """After the first one the next hop obeys that client, who may not pose in its turn."""
    long = Session(
        *("ID", "proxy", "proxy", "2001:db8::1"),
        client_name="n" * 255,
        helo="h" * 255,
        identity=Identity("l" * 255),
    )
    (command,) = xclient_commands(XCLIENT, long)
    assert MAX_COMMAND < len(command) <= MAX_XCLIENT
