"""The trace of a message as JSON values."""

import json

from filterrelay.intake.record import received_event
from filterrelay.mail.finding import Finding
from filterrelay.mail.outcome import Outcome, StepRecord
from filterrelay.mail.reply import OK
from filterrelay.mail.verdict import Pass
from filterrelay.plugin.testing import SOME_TIME, a_session, an_envelope


def test_a_message_s_event_says_who_what_and_why() -> None:
    """Session, envelope, verdict and each step with its finding, as JSON."""
    finding = Finding("tagged", "looks odd", 5.5, (("RULE", "5.5"),))
    step = StepRecord("spam", "on_message", 0.0012, "pass", "", finding, ("add header X: y",))
    outcome = Outcome("ID7", SOME_TIME, a_session(), an_envelope(), Pass(), "", OK, 1234, (step,))
    data = json.loads(json.dumps(received_event(outcome).data))
    assert data["sender"] == "alice@office.example"
    assert data["recipients"] == ["bob@partner.example"]
    assert (data["verdict"], data["size"], data["reply"]) == ("pass", 1234, "250 2.0.0 OK")
    assert data["steps"] == [
        {
            "plugin": "spam",
            "hook": "on_message",
            "ms": 1.2,
            "verdict": "pass",
            "finding": {
                "result": "tagged",
                "text": "looks odd",
                "score": 5.5,
                "details": [["RULE", "5.5"]],
            },
            "edits": ["add header X: y"],
        }
    ]
