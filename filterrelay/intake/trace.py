"""The trace fields that the relay adds: Received and Authentication-Results."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from email.utils import format_datetime
from functools import lru_cache

from filterrelay.mail.edits import AddHeader, Edit, RemoveHeader
from filterrelay.mail.envelope import Envelope
from filterrelay.mail.finding import AuthResult, Finding
from filterrelay.mail.message import Message
from filterrelay.mail.session import Session

RESULTS = "Authentication-Results"


@lru_cache(maxsize=4)
def _date(second: datetime) -> str:
    return format_datetime(second)


def date_value(at: datetime) -> str:
    """The time as a Date or Received field has it (RFC 5322 section 3.3)."""
    return _date(at.replace(microsecond=0))


def protocol_of(session: Session, envelope: Envelope) -> str:
    """The word behind `with` (RFC 3848, RFC 6531 section 4.3)."""
    if not session.esmtp:
        return "SMTP"
    base = "UTF8SMTP" if envelope.smtputf8 else "ESMTP"
    return f"{base}{'S' if session.tls else ''}{'A' if session.identity else ''}"


def received(
    session: Session,
    envelope: Envelope,
    hostname: str,
    message_id: str,
    at: datetime,
    *,
    client: bool,
) -> AddHeader:
    """This hop's Received field (RFC 5321 section 4.4).

    client: whether it says who the client was; a recipient is named only when
    there is one, so that nobody learns of the others.
    """
    lines = []
    if client:
        address = f"IPv6:{session.client_ip}" if ":" in session.client_ip else session.client_ip
        where = f"([{address}])" if address else "(local)"
        lines.append(f"from {session.helo or 'unknown'} {where}")
    lines.append(f"by {hostname} with {protocol_of(session, envelope)} id {message_id}")
    if session.tls:
        lines.append(f"({session.tls.version} {session.tls.cipher})")
    last = f"; {date_value(at)}"
    if len(envelope.recipients) == 1 and not envelope.recipients[0].notify:
        lines.append(f"for <{envelope.recipients[0]}>")
    return AddHeader("Received", "\r\n\t".join(lines) + last)


def authentication_results(hostname: str, findings: Iterable[Finding]) -> Iterator[Edit]:
    """The field with what the filters found out (RFC 8601), if they did."""
    results = [result for finding in findings for result in finding.auth]
    if results:
        yield AddHeader(RESULTS, ";\r\n\t".join([hostname, *map(_result, results)]))


def _result(result: AuthResult) -> str:
    words = [f"{result.method}={result.result}"]
    if result.reason:
        words.append(f'reason="{_quoted(result.reason)}"')
    words.extend(f"{name}={_value(value)}" for name, value in result.properties)
    return " ".join(words)


def _quoted(text: str) -> str:
    clean = "".join(c if c.isprintable() and c not in '"\\' else " " for c in text)
    return clean[:200]


def _value(text: str) -> str:
    plain = (
        text.isascii() and text and all(c.isalnum() or c in "@.-_+=/:!#$%&'*?^`{|}~" for c in text)
    )
    return text if plain else f'"{_quoted(text)}"'


def without_forged_results(hostname: str, message: Message) -> Iterator[Edit]:
    """Takes away results that claim to be ours (RFC 8601 section 5)."""
    ours = hostname.lower()
    for index in range(len(fields := message.all(RESULTS)) - 1, -1, -1):
        authserv_id = fields[index].value.partition(";")[0].split("(")[0].strip()
        if authserv_id.partition(" ")[0].strip('"').lower() == ours:
            yield RemoveHeader(RESULTS, index)
