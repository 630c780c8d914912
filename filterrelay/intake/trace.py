"""The trace fields that the relay adds: Received and Authentication-Results."""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from email.utils import format_datetime
from functools import lru_cache

from filterrelay.mail.edits import AddHeader, Edit, RemoveHeader
from filterrelay.mail.envelope import Envelope
from filterrelay.mail.finding import AuthResult, Finding
from filterrelay.mail.message import Message
from filterrelay.mail.printable import printable
from filterrelay.mail.session import Session

RESULTS = "Authentication-Results"

_MOST_QUOTED = 200  # characters of a text in a quoted-string
_ID_WITHIN = 1000  # characters at a field's beginning, where its authserv-id must stand

_ATOM = r"[!#$%&'*+0-9A-Z^_`a-z{|}~-]+"  # RFC 2045 section 5.1's token but for the dot
_TOKEN = rf"(?:\.|{_ATOM})+"
_DOT_ATOM = rf"{_ATOM}(?:\.{_ATOM})*"
_PLAIN = re.compile(rf"(?:{_TOKEN}|(?:{_DOT_ATOM})?@{_DOT_ATOM})\Z")
_ID = re.compile(rf'({_TOKEN})|"((?:[^"\\]|\\.)*)"')


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
    """The text as it stands between quotes (RFC 5322 section 3.2.4)."""
    clean = printable(text[:_MOST_QUOTED])
    return re.sub(r'["\\]', r"\\\g<0>", clean)


def _value(text: str) -> str:
    """A property's value: a token or an address as it is, else quoted."""
    return text if _PLAIN.match(text) else f'"{_quoted(text)}"'


def without_forged_results(hostname: str, message: Message) -> Iterator[Edit]:
    """Takes away results that claim to be ours (RFC 8601 section 5), and those of nobody.

    Where we can't read the name, somebody else might read ours.
    """
    ours = hostname.lower()
    for index, field in reversed(list(enumerate(message.all(RESULTS)))):
        authserv_id = _authserv_id(field.value)
        if authserv_id is None or authserv_id.lower().rstrip(".") == ours:
            yield RemoveHeader(RESULTS, index)


def _authserv_id(value: str) -> str | None:
    """Who says these results (RFC 8601 section 2.2), or None where that can't be read."""
    beginning = value[:_ID_WITHIN]
    found = _ID.match(beginning, _behind_comments(beginning, 0))
    if found is None:
        return None
    end = _behind_comments(beginning, found.end())
    while beginning[end : end + 1].isdigit():  # the version
        end += 1
    end = _behind_comments(beginning, end)
    if value[end : end + 1] not in ("", ";"):
        return None
    token, quoted = found.groups()
    return token or re.sub(r"\\(.)", r"\1", quoted).strip()


def _behind_comments(text: str, at: int) -> int:
    """The place behind blanks and comments, nested ones too (RFC 5322 section 3.2.2)."""
    depth = 0
    while at < len(text):
        char = text[at]
        if char == "(":
            depth += 1
        elif not depth and char not in " \t":
            break
        elif char == ")":
            depth -= 1
        elif char == "\\":
            at += 1
        at += 1
    return min(at, len(text))
