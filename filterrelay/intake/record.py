"""A message's way through the chain as JSON values, for its event in the spool."""

from collections.abc import Iterable
from typing import Any

from filterrelay.mail.envelope import Envelope
from filterrelay.mail.finding import Finding
from filterrelay.mail.outcome import Outcome, StepRecord
from filterrelay.mail.verdict import name_of
from filterrelay.spool.store import Event


def received_event(outcome: Outcome) -> Event:
    """The event that opens a message's trace."""
    data: dict[str, Any] = {
        "session": outcome.session.facts(),
        **envelope_facts(outcome.envelope),
        "size": outcome.size,
        "verdict": name_of(outcome.verdict),
        "by": outcome.by,
        "reply": str(outcome.reply),
        "steps": steps_facts(outcome.steps),
    }
    return Event(outcome.id, outcome.at, "received", data)


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
