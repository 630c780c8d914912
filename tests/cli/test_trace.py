"""`filterrelay trace ID` tells all that is known of a message."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from filterrelay.intake.record import received_event
from filterrelay.mail.finding import Finding
from filterrelay.mail.outcome import Outcome, StepRecord
from filterrelay.mail.reply import Reply
from filterrelay.mail.verdict import Pass
from filterrelay.plugin.testing import SOME_TIME, FakeClock, a_session, an_envelope
from filterrelay.spool.opening import open_spool
from filterrelay.spool.store import Event

from .conftest import Run

ID = "1M82V35Y0T9CKAJYC"


@pytest.fixture
def traced(configuration: Path) -> Path:
    """A spool that has events of one message."""
    step = StepRecord(
        "spam", "on_message", 0.002, "pass", "", Finding("ham", "nothing odd\x1b[2J", 0.1)
    )
    outcome = Outcome(
        id=ID,
        at=SOME_TIME,
        session=a_session(login="alice@office.example"),
        envelope=an_envelope(),
        verdict=Pass(),
        by="",
        reply=Reply(250, "2.0.0", "OK"),
        size=1234,
        steps=(step,),
    )
    attempt = Event(
        ID,
        SOME_TIME + timedelta(seconds=1),
        "attempt",
        {"upstream": "provider", "reply": "no\x1b]0;x\x07"},
    )

    async def fill() -> None:
        spool = open_spool(
            "sqlite:///spool.sqlite",
            configuration.parent / "state",
            free_space=0,
            metrics=None,
            clock=FakeClock(),
        )
        await spool.open()
        await spool.record([received_event(outcome), attempt])
        await spool.close()

    asyncio.run(fill())
    return configuration


@pytest.mark.usefixtures("traced")
def test_session_filters_and_attempts_are_told(filterrelay: Run) -> None:
    """In words for a person."""
    ran = filterrelay("trace", ID.lower())
    assert ran.code == 0, ran.err
    for word in ("alice@office.example", "bob@partner.example", "nothing odd", "provider"):
        assert word in ran.out


@pytest.mark.usefixtures("traced")
def test_nothing_foreign_commands_the_terminal(filterrelay: Run) -> None:
    """Escape sequences in what filters found and servers replied are shown, not obeyed."""
    shown = filterrelay("trace", ID).out
    assert "[2J" in shown
    assert all(c.isprintable() or c == "\n" for c in shown)


@pytest.mark.usefixtures("traced")
def test_the_same_as_json(filterrelay: Run) -> None:
    """One document, times in UTC."""
    document = filterrelay("trace", ID, "--json").json
    assert document["id"] == ID
    assert [event["kind"] for event in document["events"]] == ["received", "attempt"]
    assert document["events"][0]["at"] == "2026-01-02T03:04:05Z"


@pytest.mark.usefixtures("traced")
def test_an_unknown_id_is_said(filterrelay: Run) -> None:
    """Exit code 1, and how long traces are kept."""
    ran = filterrelay("trace", "0000000000000000X")
    assert ran.code == 1
    assert "kept for 7 days" in ran.err
