"""What Postfix would say of an event, for people and programs that read its log."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_STAGES = {"on_connect": "CONNECT", "on_helo": "HELO", "on_sender": "MAIL", "on_recipient": "RCPT"}
_STATUS = {"delivered": "sent", "deferred": "deferred", "bounced": "bounced"}
_AGENTS = {"discard": "discard", "reject": "error"}  # by upstream; the others are spoken SMTP with
_DELAYS = ("queue", "connection", "transaction")
_FAILED_LOGINS = ("bad", "locked", "frozen")
_CODES = re.compile(r"(\d)\d\d (?:(\d\.\d{1,3}\.\d{1,3}) )?")

Said = tuple[str, str]  # the process and its words


@dataclass(frozen=True, slots=True)
class Summary:
    """An event in Postfix's words.

    id: the message's; empty where there is none. said: in this order. rest: what is the same
    in all of it, and follows each.
    """

    id: str
    said: tuple[Said, ...]
    rest: str = ""

    def lines(self) -> Iterator[Said]:
        """As the mail log has them: one for each thing that is said."""
        begin = f"{self.id}: " if self.id else ""
        for process, words in self.said:
            yield process, f"{begin}{words}{self.rest}"

    def __str__(self) -> str:
        begin = f"{self.id}: " if self.id else ""
        return f"{begin}{', '.join([words for _, words in self.said])}{self.rest}"


def summary(event: Mapping[str, Any]) -> Summary | None:
    """What Postfix would say; None for what it says nothing of."""
    make = _SUMMARIES.get(event["event"])
    if make is None or "plugin" in event:
        return None
    try:
        return make(event)
    except (KeyError, AttributeError, TypeError):  # somebody else's event, of the same name
        return None


def _message(event: Mapping[str, Any]) -> Summary:
    """A message that came in, or was refused when it was complete."""
    id_, reply, verdict = event["message_id"], event["reply"], event["verdict"]
    if not reply.startswith("2"):
        words = reply.removesuffix(f" [{id_}]")
        if not event["by"]:
            return Summary(id_, (("smtpd", _refusal("reject", words, event)),))
        refusal = _refusal("milter-reject", words.partition(" ")[2], event)
        return Summary(id_, (("cleanup", refusal),))
    said = [("smtpd", _client(event)), *_named(event)]
    match verdict:
        case "quarantine":
            words = _refusal("milter-hold", "milter triggers HOLD action", event)
            said += [("cleanup", words), _queued(event, "queue hold")]
        case "discard":
            words = _refusal("milter-discard", "milter triggers DISCARD action", event)
            said += [("cleanup", words)]
        case _:
            said += [_queued(event, "queue active" if event["door"] == "smtp" else "passed on")]
    return Summary(id_, tuple(said))


def _report(event: Mapping[str, Any]) -> Summary:
    """Mail of our own."""
    about = event["about"]
    where = f"queue active, report on {about}" if about else "queue active"
    return Summary(event["message_id"], (*_named(event), _queued(event, where)))


def _attempt(event: Mapping[str, Any]) -> Summary | None:
    """One line a recipient. What a proxy's next hop refuses is our refusal, too, and no bounce."""
    status = _STATUS[event["event"]]
    if event["door"] == "proxy" and status != "sent":
        return None
    agent = _AGENTS.get(event["upstream"], "smtp")
    delays = event["delays"]
    parts = "/".join(["0", *[f"{delays[name]:g}" for name in _DELAYS]])
    reply = event["reply"]
    rest = (
        f", relay={_relay(event)}, delay={event['delay']:g}, delays={parts}, "
        f"dsn={_status_code(reply)}, status={status} ({reply})"
    )
    recipients = event["recipients"]
    return Summary(event["message_id"], tuple([(agent, f"to=<{to}>") for to in recipients]), rest)


def _removed(event: Mapping[str, Any]) -> Summary:
    return Summary(event["message_id"], (("qmgr", "removed"),))


def _refused(event: Mapping[str, Any]) -> Summary:
    """Somebody who was refused before there was a message."""
    stage = _STAGES[event["hook"]]
    subjects = {
        "CONNECT": _peer(event),
        "HELO": event["helo"],
        "MAIL": event["sender"],
        "RCPT": event["recipient"],
    }
    reply = event["reply"]
    codes = _CODES.match(reply)
    end = codes.end() if codes is not None else 0
    told = f"{reply[:end]}<{subjects[stage]}>: {reply[end:]}"
    envelope = _envelope(event, event["recipient"]) if stage in ("MAIL", "RCPT") else ""
    line = f"reject: {stage} from {_peer(event)}: {told};{envelope}{_introduction(event)}"
    return Summary("NOQUEUE", (("smtpd", line),))


def _login(event: Mapping[str, Any]) -> Summary | None:
    """A failed login only."""
    if event["result"] not in _FAILED_LOGINS:
        return None
    line = (
        f"warning: {_peer(event)}: SASL {event['mechanism']} authentication failed: "
        f"{event['result']}, sasl_username={event['login']}"
    )
    return Summary("", (("smtpd", line),))


def _refusal(kind: str, words: str, event: Mapping[str, Any]) -> str:
    first = next(iter(event["recipients"]), "")
    envelope = f"{_envelope(event, first)}{_introduction(event)}"
    return f"{kind}: END-OF-MESSAGE from {_peer(event)}: {words};{envelope}"


def _envelope(event: Mapping[str, Any], recipient: str) -> str:
    to = f" to=<{recipient}>" if recipient else ""
    return f" from=<{event['sender']}>{to}"


def _introduction(event: Mapping[str, Any]) -> str:
    login = f" sasl_username=<{event['login']}>" if event["login"] else ""
    return f" proto={event['protocol']} helo=<{event['helo']}>{login}"


def _peer(event: Mapping[str, Any]) -> str:
    """`name[address]`, as Postfix has it; of bound fields only the address is there."""
    address = event.get("client", "")
    if not address:
        return "localhost[local]"
    return f"{event.get('client_name') or 'unknown'}[{address}]"


def _client(event: Mapping[str, Any]) -> str:
    queue_id, login = event.get("queue_id"), event["login"]
    original = f", orig_queue_id={queue_id}" if queue_id else ""
    return f"client={_peer(event)}{original}" + (f", sasl_username={login}" if login else "")


def _named(event: Mapping[str, Any]) -> list[Said]:
    header = event["header_message_id"]
    return [("cleanup", f"message-id={header}")] if header else []


def _queued(event: Mapping[str, Any], where: str) -> Said:
    sender, size, count = event["sender"], event["size"], event["recipient_count"]
    return "qmgr", f"from=<{sender}>, size={size}, nrcpt={count} ({where})"


def _relay(event: Mapping[str, Any]) -> str:
    """`name[address]:port`."""
    host, address = event["host"], event["address"]
    if not address:
        return host or "none"
    name, (ip, _, port) = host.rpartition(":")[0], address.rpartition(":")
    return f"{name or host}[{ip.strip('[]')}]:{port}"


def _status_code(reply: str) -> str:
    """The reply's enhanced status code, or the least that its code says (RFC 3463 section 2)."""
    codes = _CODES.match(reply)
    if codes is None:
        return "4.0.0"
    return codes[2] or f"{codes[1]}.0.0"


_SUMMARIES: Mapping[str, Callable[[Mapping[str, Any]], Summary | None]] = {
    "message": _message,
    "report_queued": _report,
    **dict.fromkeys(_STATUS, _attempt),
    "removed": _removed,
    "refused": _refused,
    "login": _login,
}
