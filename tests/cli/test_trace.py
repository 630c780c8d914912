"""`filterrelay trace ID` tells all that is known of a message."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from filterrelay.intake.record import received_event
from filterrelay.mail.finding import Finding
from filterrelay.mail.outcome import Outcome, StepRecord
from filterrelay.mail.reply import Reply
from filterrelay.mail.verdict import Pass, Reject
from filterrelay.plugin.testing import SOME_TIME, FakeClock, a_session, an_envelope
from filterrelay.spool.opening import open_spool
from filterrelay.spool.store import Event

from .conftest import Run

ID, OTHER = "1M82V35Y0T9CKAJYC", "1M82V3600T9CKAJYD"
SPAM = Reply(550, "5.7.1", "We take no spam")


@pytest.fixture
def traced(configuration: Path) -> Path:
    """A spool that has events of one message."""
    step = StepRecord(
        "spam", "on_message", 0.002, "pass", "", Finding("ham", "nothing odd\x1b[2J", 0.1)
    )
    outcome = Outcome(
        id=ID,
        at=SOME_TIME,
        session=replace(a_session(login="alice@office.example"), queue_id="4B7D2x"),
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
        {
            "upstream": "provider",
            "host": "mx:25",
            "tls": "",
            "recipients": [
                {
                    "address": "bob@partner.example",
                    "result": "deferred",
                    "reply": "450 no\x1b]0;x\x07",
                }
            ],
            "seconds": 0.5,
        },
    )
    other = replace(outcome, id=OTHER, at=SOME_TIME + timedelta(hours=1), by="spam")
    other = replace(other, envelope=an_envelope("eve@elsewhere.example"), verdict=Reject(SPAM))

    async def fill() -> None:
        spool = open_spool(
            "sqlite:///spool.sqlite",
            configuration.parent / "state",
            free_space=0,
            metrics=None,
            clock=FakeClock(),
        )
        await spool.open()
        await spool.record([received_event(outcome), attempt, received_event(other)])
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
def test_the_mail_servers_id_does_as_well(filterrelay: Run) -> None:
    """It stands in that server's log; of messages that it called the same, the last one is told."""
    assert filterrelay("trace", "4B7D2x", "--json").json["id"] == OTHER
    assert filterrelay("trace", "4B7D2").code == 1


@pytest.mark.usefixtures("traced")
def test_an_unknown_id_is_said(filterrelay: Run) -> None:
    """Exit code 1, and how long traces are kept."""
    ran = filterrelay("trace", "0000000000000000X")
    assert ran.code == 1
    assert "kept for 7 days" in ran.err


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize(
    ("options", "ids"),
    [
        (("--sender", "alice@office.example"), [ID]),
        (("--recipient", "*@partner.example"), [OTHER, ID]),
        (("--recipient", "*@partner.example", "--limit", "1"), [OTHER]),
        (("--since", "2026-01-02T03:30:00Z"), [OTHER]),
        (("--since", "2026-01-02", "--until", "2026-01-02T05:30:00+02:00"), [ID]),
        (("--since", "2h"), []),
        (("--since", "2h ago"), []),
    ],
)
def test_messages_are_found_without_their_ids(
    filterrelay: Run, options: tuple[str, ...], ids: list[str]
) -> None:
    """Whoever asks knows an address and a time; the newest stand first."""
    ran = filterrelay("trace", *options, "--json")
    assert ran.code == 0, ran.err
    assert [found["id"] for found in ran.json] == ids


@pytest.mark.usefixtures("traced")
def test_the_list_says_what_became_of_each(filterrelay: Run) -> None:
    """The refused ones too, which no queue has ever held."""
    lines = filterrelay("trace", "--since", "2026-01-01").out.splitlines()
    assert lines[1].split()[0] == OTHER
    assert lines[1].endswith("reject   refused")
    assert lines[2].endswith("pass     deferred")
    assert lines[3] == "2 messages"
    found = filterrelay("trace", "--sender", "*@elsewhere.example", "--json").json
    assert [(one["by"], one["became"], one["received"]) for one in found] == [
        ("spam", "refused", "2026-01-02T04:04:05Z")
    ]


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize(
    "arguments",
    [(), (ID, "--sender", "a@b.example"), ("--since", "noon"), ("--sender", "a b")],
)
def test_what_cannot_be_meant_is_wrong_usage(filterrelay: Run, arguments: tuple[str, ...]) -> None:
    """Nothing, both at once, and times and patterns that are none."""
    assert filterrelay("trace", *arguments).code == 2
