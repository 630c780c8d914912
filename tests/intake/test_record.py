"""The trace of a message as JSON values."""

import json

import pytest

from filterrelay.intake.record import logged, received_event
from filterrelay.mail.finding import Finding
from filterrelay.mail.message import Message
from filterrelay.mail.outcome import Outcome, StepRecord
from filterrelay.mail.reply import OK
from filterrelay.mail.session import Session
from filterrelay.mail.verdict import Pass
from filterrelay.observe.events import events
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


@pytest.mark.parametrize(
    ("session", "left_out"),
    [
        (a_session(), {"client_name", "queue_id"}),
        (a_session(client_name="pc.office.example", queue_id="4ABC"), set()),
    ],
)
def test_the_log_says_what_the_catalogue_lists(session: Session, left_out: set[str]) -> None:
    """Which can't be read from the sources; what only a mail server tells is left out without."""
    message = Message("MESSAGE", b"Message-ID: <1@office.example>\r\n\r\n")
    outcome = Outcome("MESSAGE", SOME_TIME, session, an_envelope(), Pass(), "", OK, size=10)
    (listed,) = [event.fields for event in events() if event.name == "message"]
    assert logged(outcome, message).keys() == {*listed} - left_out
