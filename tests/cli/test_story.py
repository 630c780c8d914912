"""How a message's trace reads."""

from dataclasses import replace
from typing import Any

import pytest

from filterrelay.cli.common import iso
from filterrelay.cli.story import fate, show_event
from filterrelay.mail.session import Session
from filterrelay.plugin.testing import SOME_TIME, a_session
from filterrelay.spool.store import Event

ANN, BOB = "ann@partner.example", "bob@partner.example"
STEP = {
    "plugin": "attachments",
    "hook": "on_message",
    "ms": 0.04,
    "verdict": "reject",
    "finding": {
        "result": "blocked",
        "text": "x.exe: .exe files are not accepted",
        "details": [["file", "x.exe"], ["rule", "names"]],
    },
}


def received(session: Session | None = None, *to: str, **more: Any) -> Event:
    """How it came in."""
    data = {
        "session": (session or a_session()).facts(),
        "sender": "alice@office.example",
        "recipients": list(to or (BOB,)),
        "size": 7,
        "verdict": "pass",
        "by": "",
        "reply": "250 2.0.0 OK",
        "steps": [],
    }
    return Event("ID", SOME_TIME, "received", data | more)


def attempt(**results: str) -> Event:
    """One that ended so for ann and bob."""
    recipients = [
        {"address": f"{name}@partner.example", "result": result, "reply": "250 2.0.0 OK"}
        for name, result in results.items()
    ]
    data = {"upstream": "provider", "host": "mx:25", "tls": "TLSv1.3", "seconds": 0.125}
    return Event("ID", SOME_TIME, "attempt", {**data, "recipients": recipients})


def later(kind: str, **data: Any) -> Event:
    """What happened then."""
    return Event("ID", SOME_TIME, kind, data)


def told(capsys: pytest.CaptureFixture[str], event: Event) -> list[str]:
    """The lines that tell of it, below its time and kind."""
    show_event(event)
    return capsys.readouterr().out.splitlines()[2:]


def test_an_attempt_is_a_line_a_recipient(capsys: pytest.CaptureFixture[str]) -> None:
    """Where it went, then who got it."""
    assert told(capsys, attempt(ann="delivered", bob="deferred")) == [
        "  via provider at mx:25, TLSv1.3, 0.12 s",
        "  ann@partner.example  delivered: 250 2.0.0 OK",
        "  bob@partner.example  deferred: 250 2.0.0 OK",
    ]


def test_an_attempt_tells_all_that_is_known_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Why it went there, to which address, how protected, what took the time, what follows."""
    event = attempt(bob="deferred")
    event.data["recipients"][0]["next"] = "2026-01-31T09:00:00Z"
    more = {"address": "192.0.2.1:25", "cipher": "AES", "verified": True, "kept": True}
    more |= {"waited": 0.025, "took": 0.1, "stage": "rcpt", "reason": "route 2: everybody"}
    assert told(capsys, replace(event, data={**event.data, **more})) == [
        "  via provider at mx:25 (192.0.2.1:25), TLSv1.3 with AES, verified, "
        "0.12 s: kept connection 0.03, transaction 0.10",
        "  why: route 2: everybody",
        "  failed at rcpt",
        "  bob@partner.example  deferred: 250 2.0.0 OK; again at 2026-01-31T09:00:00Z",
    ]


def test_without_a_host_there_was_no_connection(capsys: pytest.CaptureFixture[str]) -> None:
    """What was discarded, or found no servers, was not sent in plain text."""
    event = attempt(bob="delivered")
    discarded = {"upstream": "discard", "host": "", "tls": "none", "seconds": 0.0}
    lines = told(capsys, replace(event, data={**event.data, **discarded}))
    assert lines[0] == "  via discard, no connection, 0.00 s"
    refused = {"host": "mx:25", "tls": "none", "stage": "connect"}
    lines = told(capsys, replace(event, data={**event.data, **refused}))
    assert lines[0] == "  via provider at mx:25, no connection, 0.12 s"


def test_a_second_judgement_reads_as_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    """With the plugins' table, and nothing said twice in it."""
    data = {"verdict": "reject", "by": "attachments", "overruled": ["spam"], "steps": [STEP]}
    assert told(capsys, later("judged-again", **data)) == [
        "  verdict reject by attachments",
        "  without spam, which the operator overruled",
        "  plugin       hook         ms  verdict  finding and edits",
        "  attachments  on_message  0.0  reject   "
        "blocked; x.exe: .exe files are not accepted; rule: names",
    ]


def test_a_report_and_its_message_name_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    """And of the report's client, which was the relay itself, nothing is said."""
    assert told(capsys, later("bounce", recipients=[BOB], report="REPORT")) == [
        f"  the sender is told in message REPORT, of {BOB}"
    ]
    assert told(capsys, later("double-bounce", recipients=[BOB], report="REPORT")) == [
        f"  the postmaster is told in message REPORT, of {BOB}"
    ]
    assert told(capsys, later("nobody-told", recipients=[BOB])) == [f"  nobody is told of {BOB}"]
    session = Session("X", "", "report", "", trusted=True)
    lines = told(capsys, received(session, "alice@office.example", sender="", about="LOST"))
    assert lines == [
        "  from <> to alice@office.example",
        "  the relay's own report on message LOST, 7 bytes",
        "  verdict pass: 250 2.0.0 OK",
    ]


def test_the_client_is_told_with_its_login(capsys: pytest.CaptureFixture[str]) -> None:
    """Without empty brackets and names of nothing."""
    lines = told(capsys, received(a_session(login="alice", helo="")))
    assert lines[1] == "  client 192.0.2.1, login alice, no TLS, listener smtp, 7 bytes"


def test_other_events_are_told_by_their_particulars(capsys: pytest.CaptureFixture[str]) -> None:
    """A reason, where there is one."""
    assert told(capsys, later("held", reason="ask Bob")) == ["  reason: ask Bob"]
    assert told(capsys, later("retried")) == []


@pytest.mark.parametrize(
    ("events", "text"),
    [
        ((received(),), "queued"),
        ((received(verdict="reject"),), "refused"),
        ((received(verdict="defer"),), "put off"),
        ((received(verdict="discard"),), "discarded"),
        ((received(verdict="quarantine"),), "quarantined"),
        ((received(verdict="quarantine"), later("released")), "queued"),
        ((received(), attempt(bob="delivered")), "delivered"),
        ((received(), attempt(bob="deferred"), attempt(bob="bounced")), "bounced"),
        ((received(), attempt(bob="deferred"), later("held", reason="")), "held"),
        ((received(), later("deleted")), "deleted"),
        (
            (received(None, ANN, BOB), attempt(ann="delivered", bob="deferred"), later("deleted")),
            "1 delivered, 1 deleted",
        ),
    ],
)
def test_what_became_of_a_message_is_a_word(events: tuple[Event, ...], text: str) -> None:
    """For several recipients a count of each."""
    assert fate(events) == text


@pytest.mark.parametrize(
    ("upstream", "words"),
    [
        ("backup", "to backup"),
        ("", "back to where the routes say"),
        ("reject:", "to be returned to its sender"),
        ("reject:Closed", "to be returned to its sender: Closed"),
    ],
)
def test_a_redirection_says_where_to(
    capsys: pytest.CaptureFixture[str], upstream: str, words: str
) -> None:
    """In words, the bounce that an operator asked for, too."""
    show_event(Event("ID", SOME_TIME, "redirected", {"upstream": upstream}))
    assert capsys.readouterr().out == f"\n{iso(SOME_TIME)}  redirected\n  {words}\n"


@pytest.mark.parametrize(
    ("reply", "word"),
    [("250 2.0.0 OK", "passed on"), ("451 4.3.0 Later", "put off"), ("550 5.1.1 No", "refused")],
)
def test_what_a_mail_server_asked_about_is_with_it(reply: str, word: str) -> None:
    """Nothing of it is in our queue."""
    session = replace(a_session(), door="milter")
    assert fate([received(session, reply=reply)]) == word


def test_the_mail_servers_name_for_a_message_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """By it the message is found in the mail server's log."""
    session = replace(a_session(), door="milter", queue_id="4XyZ")
    assert any(line.endswith("queue ID 4XyZ") for line in told(capsys, received(session)))
