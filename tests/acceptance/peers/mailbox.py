"""What lies in a mailbox, read as people's programs read it: by IMAP and by POP3."""

import imaplib
import poplib
import ssl
from pathlib import Path

from .process import LOOPBACK


def read_by_imap(
    port: int,
    login: str,
    password: str,
    subject: str,
    authority: Path | None = None,
    *,
    starttls: bool = False,
) -> list[bytes]:
    """The messages with that subject; over TLS when an authority is given."""
    connection: imaplib.IMAP4
    context = _context(authority)
    if context is None or starttls:
        connection = imaplib.IMAP4(LOOPBACK, port)
    else:
        connection = imaplib.IMAP4_SSL(LOOPBACK, port, ssl_context=context)
    if starttls:
        connection.starttls(context)
    with connection:
        connection.login(login, password)
        connection.select("INBOX", readonly=True)
        _, found = connection.search(None, "SUBJECT", f'"{subject}"')
        messages = []
        for number in found[0].split():
            _, data = connection.fetch(number.decode(), "(BODY.PEEK[])")
            assert isinstance(data[0], tuple)
            messages.append(data[0][1])
        return messages


def read_by_pop3(
    port: int,
    login: str,
    password: str,
    subject: str,
    authority: Path | None = None,
    *,
    starttls: bool = False,
) -> list[bytes]:
    """The messages in which the subject stands; over TLS when an authority is given."""
    connection: poplib.POP3
    context = _context(authority)
    if context is None or starttls:
        connection = poplib.POP3(LOOPBACK, port)
    else:
        connection = poplib.POP3_SSL(LOOPBACK, port, context=context)
    try:
        if starttls:
            connection.stls(context)
        connection.user(login)
        connection.pass_(password)
        count, _ = connection.stat()
        texts = [b"\r\n".join(connection.retr(n + 1)[1]) + b"\r\n" for n in range(count)]
        return [text for text in texts if subject.encode() in text]
    finally:
        connection.quit()


def _context(authority: Path | None) -> ssl.SSLContext | None:
    """What trusts that authority, or None for plain text."""
    return ssl.create_default_context(cafile=str(authority)) if authority else None
