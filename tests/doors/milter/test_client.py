"""Who the mail server's client is, from what the mail server tells."""

from typing import Any

import pytest

from filterrelay.doors.milter.client import connected, introduced, named, sending
from filterrelay.doors.policy import DoorPolicy
from filterrelay.mail.session import Identity, Session, Tls
from filterrelay.settings import Limits, Listener
from filterrelay.wire.milter import Connect, Family, Helo, Mail

ABOUT = Session("1", "milter", "milter", "127.0.0.1", trusted=True)


def client(
    name: bytes = b"client.example",
    family: Family = Family.INET,
    address: bytes = b"192.0.2.1",
    **macros: bytes,
) -> Session:
    """The session of a client that has connected; loopback and 192.0.2.0/24 are trusted."""
    networks: Any = ("127.0.0.0/8", "192.0.2.0/24")
    listener = Listener(kind="milter", address="unix:/m", trusted_networks=networks)
    told = {key.encode(): value for key, value in macros.items()}
    event = Connect(name, family, address, 4711, told)
    return connected(event, ABOUT, DoorPolicy(listener, Limits(), "relay.example"))


@pytest.mark.parametrize(
    ("name", "family", "address", "ip", "trusted"),
    [
        (b"client.example", Family.INET, b"192.0.2.1", "192.0.2.1", True),
        (b"client.example", Family.INET, b"198.51.100.1", "198.51.100.1", False),
        (b"client.example", Family.INET6, b"::ffff:192.0.2.1", "192.0.2.1", True),
        (b"localhost", Family.INET, b"127.0.0.1", "127.0.0.1", True),
        (b"localhost", Family.UNIX, b"/run/socket", "", True),
        (b"localhost", Family.UNKNOWN, b"", "", True),
        (b"unknown", Family.UNKNOWN, b"", "", False),
    ],
)
def test_trust_is_by_the_clients_address(
    name: bytes, family: Family, address: bytes, ip: str, trusted: bool
) -> None:
    """Local mail has none; a client of which nobody knows the address isn't local."""
    session = client(name, family, address)
    assert (session.client_ip, session.trusted) == (ip, trusted)


@pytest.mark.parametrize("name", [b"unknown", b"[192.0.2.1]", b"[UNAVAILABLE]", b""])
def test_a_name_that_is_none_is_not_kept(name: bytes) -> None:
    """Postfix and Sendmail write differently that there is none."""
    assert client(name).client_name == ""


def test_a_name_that_was_not_verified_is_not_kept() -> None:
    """Sendmail tells it all the same."""
    assert client(client_resolve=b"OK").client_name == "client.example"
    assert client(client_resolve=b"FORGED").client_name == ""


def test_the_servers_own_address_is_known() -> None:
    """Where the client connected to."""
    session = client(daemon_addr=b"192.0.2.25", daemon_port=b"587")
    assert (session.server_ip, session.server_port) == ("192.0.2.25", 587)
    session = client(daemon_addr=b"[UNAVAILABLE]", daemon_port=b"x")
    assert (session.server_ip, session.server_port) == ("", 0)


def test_helo_is_what_can_be_shown_of_it() -> None:
    """With TLS as it was when the name was said."""
    session = introduced(Helo(b"a\x1b[2J" + b"b" * 300, {}), client())
    assert session.helo.startswith("a?[2Jb")
    assert len(session.helo) == 255
    told = {b"tls_version": b"TLSv1.3", b"cipher": b"AES", b"cipher_bits": b"128"}
    assert introduced(Helo(b"a", told), session).tls == Tls("TLSv1.3", "AES", 128)
    assert introduced(Helo(b"a", {}), session).tls is None


def test_a_login_holds_for_the_messages_that_are_sent_with_it() -> None:
    """It is told anew with each MAIL."""
    session = introduced(Helo(b"a", {}), client())
    mail = Mail(b"ann@office.example", (), {b"auth_authen": b"ann"})
    logged_in = sending(mail, session)
    assert logged_in.identity == Identity("ann", source="milter")
    assert logged_in.esmtp
    assert sending(mail, logged_in) is logged_in
    assert sending(Mail(b"", (), {}), logged_in).identity is None


def test_each_message_has_the_servers_name_for_it() -> None:
    """Postfix knows it at the end only."""
    session = named({b"i": b"4XyZ"}, client())
    assert session.queue_id == "4XyZ"
    assert named({b"i": b"4XyZ"}, session) is session
    assert sending(Mail(b"", (), {}), session).queue_id == ""
