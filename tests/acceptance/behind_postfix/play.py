"""Sends the mail every way at once, and gathers what became of it."""

import re
import smtplib
import ssl
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby

from ..peers.conversation import trusting_context
from ..peers.process import LOOPBACK, wait_until
from ..peers.program import USERS
from ..peers.sink import Arrival
from .mails import Mail
from .ways import DOOR, WAYS, Office

_PER_CONNECTION = 20
_STATUS = re.compile(rb"([245]\.\d+\.\d+) ")
_AGAIN = ("incoming", "active", "maildrop")


@dataclass(frozen=True)
class Result:
    """What became of one message one way.

    replies: to MAIL, to each RCPT and to the message, as far as it came; each a code and a
    status. verdicts: what our log says of it. arrivals: what the far side got.
    """

    replies: tuple[str, ...]
    verdicts: tuple[str, ...]
    arrivals: tuple[Arrival, ...] = field(repr=False)

    @property
    def recipients(self) -> list[str]:
        """Who got it, by any of its copies."""
        return sorted(one for arrival in self.arrivals for one in arrival.recipients)


Results = dict[tuple[str, str], Result]  # by way and mail's name


def marked(address: str, way: str, mail: Mail) -> str:
    """The address as it is used for that mail on that way, so that it is found again."""
    return f"{address.partition('@')[0]}@{mark(way, mail)}.partner.example"


def mark(way: str, mail: Mail) -> str:
    """The label that no other mail has."""
    return f"{mail.name}-by-{way}"


def play(office: Office, mails: Sequence[Mail]) -> Results:
    """Everything sent, and everything settled."""
    with ThreadPoolExecutor() as pool:
        sent = {way: pool.submit(_send_all, office, way, mails) for way in (DOOR, *WAYS)}
        replies = {way: future.result() for way, future in sent.items()}
    wait_until(lambda: _is_settled(office), "all mail where it goes", 60)
    events = office.program.log_events()
    return {
        (way, mail.name): Result(
            replies[way][mail.name],
            tuple(_verdicts(events, way, mail)),
            tuple(_arrivals(office, way, mail)),
        )
        for way in replies
        for mail in mails
    }


def _is_settled(office: Office) -> bool:
    """Whether nothing moves any more; what is deferred or held stays."""
    queues = (postfix.directory / "queue" for postfix in office.postfixes.values())
    moving = any(f.is_file() for q in queues for name in _AGAIN for f in (q / name).rglob("*"))
    return not moving and office.program.json_command("queue", "list") == []


def _arrivals(office: Office, way: str, mail: Mail) -> Iterator[Arrival]:
    domain = f"@{mark(way, mail)}.partner.example"
    for arrival in office.sink.arrivals:
        if any(domain in recipient for recipient in arrival.recipients):
            yield arrival


def _verdicts(events: Iterable[dict[str, object]], way: str, mail: Mail) -> Iterator[str]:
    """Of copies for some of the recipients each one once."""
    seen = set[str]()
    for event in events:
        about = f"{event.get('recipients')} {event.get('header_message_id')}"
        ours = f"@{mark(way, mail)}." in about or f"<{mail.name}@" in about
        if event.get("event") == "message" and event.get("listener") == way and ours:
            verdict = f"{event['verdict']} by {event['by'] or 'nobody'}"
            if verdict not in seen:
                yield verdict
            seen.add(verdict)


def _send_all(office: Office, way: str, mails: Sequence[Mail]) -> dict[str, tuple[str, ...]]:
    """What was replied to each, over connections of twenty messages at most."""
    replies = {}
    context = trusting_context()
    for (xclient, login), alike in groupby(mails, key=lambda mail: (mail.xclient, mail.login)):
        waiting = list(alike)
        while waiting:
            some, waiting = waiting[:_PER_CONNECTION], waiting[_PER_CONNECTION:]
            with smtplib.SMTP(LOOPBACK, office.port(way), "client.office.example") as client:
                _introduce(client, context, xclient, login=login)
                for mail in some:
                    replies[mail.name] = tuple(_send(client, way, mail))
    return replies


def _introduce(client: smtplib.SMTP, context: ssl.SSLContext, xclient: str, *, login: bool) -> None:
    client.ehlo()
    if xclient:
        code, text = client.docmd("XCLIENT", xclient)
        assert code == 220, text
        client.ehlo()
    if login:
        client.starttls(context=context)
        client.login(*next(iter(USERS.items())))


def _send(client: smtplib.SMTP, way: str, mail: Mail) -> Iterator[str]:
    code, text = client.mail(mail.sender, mail.options)
    yield _short(code, text)
    accepted = False
    for recipient in mail.recipients if code == 250 else ():
        code, text = client.rcpt(marked(recipient, way, mail))
        yield _short(code, text)
        accepted |= code == 250
    if accepted:
        code, text = client.docmd("DATA")
        if code == 354:
            client.send((b"\r\n" + mail.message).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n")
            code, text = client.getreply()
        yield _short(code, text)
    client.rset()


def _short(code: int, text: bytes) -> str:
    status = _STATUS.match(text)
    return f"{code} {status[1].decode() if status else ''}"
