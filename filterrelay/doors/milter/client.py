"""The mail server's client, as its milter events and macros tell of it."""

from dataclasses import replace

from filterrelay.doors.policy import DoorPolicy
from filterrelay.doors.proxy_protocol import plain_address
from filterrelay.mail.printable import printable
from filterrelay.mail.session import Identity, Session, Tls
from filterrelay.wire.milter import Connect, Family, Helo, Macros, Mail

MOST_HELO = 255  # characters kept
_UNKNOWN = ("", "unknown", "[unavailable]")
_BY_IP = (Family.INET, Family.INET6)


def connected(event: Connect, about: Session, policy: DoorPolicy) -> Session:
    """The session of a client that has connected to the mail server.

    about: the connection that the mail server made. A client without an address is a local
    one if it came through a unix socket or is called localhost, as what the server's own
    `sendmail` command submits; else nobody knows who it is, and it isn't trusted.
    """
    address = plain_address(text(event.address)) if event.family in _BY_IP else ""
    name = shown(event.name)
    is_local = event.family is Family.UNIX or name.lower() == "localhost"
    resolved = event.macros.get(b"client_resolve", b"OK") == b"OK"  # Sendmail's
    return Session(
        id=about.id,
        listener=about.listener,
        door=about.door,
        client_ip=address,
        client_port=event.port,
        client_name=_known(name) if resolved and not name.startswith("[") else "",
        server_ip=_known(text(event.macros.get(b"daemon_addr", b""))),
        server_port=_number(event.macros.get(b"daemon_port", b"")),
        trusted=policy.trusts(address) if address or is_local else False,
    )


def introduced(event: Helo, session: Session) -> Session:
    """The session once the client has said its name, perhaps anew within TLS."""
    return replace(session, helo=shown(event.name)[:MOST_HELO], tls=_tls(event.macros))


def sending(event: Mail, session: Session) -> Session:
    """The session when a message begins: who has logged in, and what the message is called.

    The protocol doesn't tell HELO from EHLO; parameters, TLS and a login need the latter.
    """
    login = shown(event.macros.get(b"auth_authen", b""))
    identity = session.identity if login == session.login else None
    if login and identity is None:
        identity = Identity(login, source="milter")
    known = (identity, session.esmtp or bool(event.parameters or session.tls or identity))
    if known != (session.identity, session.esmtp):
        session = replace(session, identity=known[0], esmtp=known[1])
    return named(event.macros, session)


def named(macros: Macros, session: Session) -> Session:
    """The session with the mail server's name for the message, if it has one by now."""
    queue_id = _known(text(macros.get(b"i", b"")))
    return session if queue_id == session.queue_id else replace(session, queue_id=queue_id)


def _tls(macros: Macros) -> Tls | None:
    version = _known(text(macros.get(b"tls_version", b"")))
    if not version:
        return None
    bits = _number(macros.get(b"cipher_bits", b""))
    return Tls(version, text(macros.get(b"cipher", b"")), bits)


def _known(said: str) -> str:
    """What is said, unless it says that nobody knows."""
    return "" if said.lower() in _UNKNOWN else said


def _number(digits: bytes) -> int:
    return int(digits) if len(digits) < 10 and digits.isdigit() else 0


def text(octets: bytes) -> str:
    """What was told, as UTF-8, else as Latin-1."""
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def shown(octets: bytes) -> str:
    """The text, with a question mark for what can't be shown, such as a line's end."""
    return printable(text(octets), "?")
