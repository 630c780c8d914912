"""What the spool gets of a message: its row, and its way through the chain as JSON values."""

from collections.abc import Iterable
from typing import Any

from filterrelay.mail.envelope import Envelope
from filterrelay.mail.finding import Finding
from filterrelay.mail.message import Message
from filterrelay.mail.outcome import Outcome, StepRecord
from filterrelay.mail.verdict import Quarantine, name_of
from filterrelay.spool.store import Deposit, Event, Lease, State, StoredMessage, recipients_due

LOGGED_RECIPIENTS = 5  # of a message; the trace has all of them
LOGGED_ID = 250  # characters of its Message-ID


def deposit_of(
    outcome: Outcome,
    message: Message,
    lease: Lease | None = None,
    *,
    reason: str = "",
    about: str = "",
    redirect: str = "",
) -> Deposit:
    """The message for the spool: queued, or set aside for a reason.

    message: as it shall leave. lease: whose it is now; its recipients are then
    due when that ends, and at once without. about: the message that it reports on.
    redirect: the upstream that it goes to whatever the routes say.
    """
    quarantined = isinstance(outcome.verdict, Quarantine)
    stored = StoredMessage(
        id=outcome.id,
        received=outcome.at,
        envelope=outcome.envelope,
        session=outcome.session.facts(),
        size=len(message),
        recipients=recipients_due(outcome.envelope, lease.until if lease else outcome.at, redirect),
        state=State.QUARANTINED if quarantined else State.QUEUED,
        reason=reason,
        by=outcome.by,
        lease=lease,
    )
    return Deposit(stored, message.raw, (received_event(outcome, about=about),))


def received_event(outcome: Outcome, *, about: str = "") -> Event:
    """The event that opens a message's trace. about: the message that it reports on."""
    data: dict[str, Any] = {
        "session": outcome.session.facts(),
        **envelope_facts(outcome.envelope),
        "size": outcome.size,
        "verdict": name_of(outcome.verdict),
        "by": outcome.by,
        "reply": str(outcome.reply),
        "steps": steps_facts(outcome.steps),
    }
    if about:
        data["about"] = about
    return Event(outcome.id, outcome.at, "received", data)


def logged(outcome: Outcome, message: Message) -> dict[str, Any]:
    """What the log says of a message: enough to find it by an address or by its Message-ID."""
    session, recipients = outcome.session, outcome.envelope.recipients
    return {
        "message_id": outcome.id,
        "verdict": name_of(outcome.verdict),
        "by": outcome.by,
        "sender": outcome.envelope.return_path,
        "recipients": [str(recipient) for recipient in recipients[:LOGGED_RECIPIENTS]],
        "recipient_count": len(recipients),
        "header_message_id": message.get("message-id")[:LOGGED_ID],
        "size": outcome.size,
        "client": session.client_ip,
        **({"client_name": session.client_name} if session.client_name else {}),
        "helo": session.helo,
        "protocol": session.protocol,
        **({"queue_id": session.queue_id} if session.queue_id else {}),
        "login": session.login,
        "listener": session.listener,
        "door": session.door,
        "reply": str(outcome.reply),
    }


def envelope_facts(envelope: Envelope) -> dict[str, Any]:
    """Sender and recipients."""
    return {
        "sender": envelope.return_path,
        "recipients": [str(recipient) for recipient in envelope.recipients],
    }


def steps_facts(steps: Iterable[StepRecord]) -> list[dict[str, Any]]:
    """Each plugin's turn; empty particulars are left out."""
    return [_step(step) for step in steps]


def _step(step: StepRecord) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "plugin": step.plugin,
        "hook": step.hook,
        "ms": round(step.seconds * 1000, 3),
        "verdict": step.verdict,
    }
    if step.text:
        facts["text"] = step.text
    if step.finding is not None:
        facts["finding"] = _finding(step.finding)
    if step.edits:
        facts["edits"] = list(step.edits)
    if step.shadow:
        facts["shadow"] = True
    if step.error:
        facts["error"] = step.error
    return facts


def _finding(finding: Finding) -> dict[str, Any]:
    facts: dict[str, Any] = {"result": finding.result}
    if finding.text:
        facts["text"] = finding.text
    if finding.score is not None:
        facts["score"] = finding.score
    if finding.details:
        facts["details"] = [list(pair) for pair in finding.details]
    return facts
