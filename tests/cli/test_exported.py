"""What stands in an exported message's files."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from filterrelay.cli.exported import exported, imported, plain_import
from filterrelay.cli.mail_files import BadFile
from filterrelay.mail.address import Address
from filterrelay.mail.envelope import Envelope, Recipient
from filterrelay.plugin.testing import SOME_TIME, a_session
from filterrelay.spool.store import (
    RecipientState,
    State,
    StoredMessage,
    StoredRecipient,
)

NOW = SOME_TIME + timedelta(days=6)
ANN, BOB = Address("ann", "office.example"), Address("bob", "büro.example")
RAW = b"Subject: x\r\n\r\nx\r\n"
DONE = Recipient(ANN)
WAITS = Recipient(BOB, ("FAILURE",), "utf-8;bob@b\\x{FC}ro.example")
MESSAGE = StoredMessage(
    "1M82V35Y0T9CKAJY1",
    SOME_TIME,
    Envelope(ANN, (DONE, WAITS), "8BITMIME", True, True, "FULL", "QQ+3D1", "<>", 99),
    a_session(login="ann@office.example").facts(),
    len(RAW),
    (StoredRecipient(0, DONE, RecipientState.DELIVERED), StoredRecipient(1, WAITS, attempts=3)),
    state=State.HELD,
    reason="ask Bob",
)


def changed(**changes: Any) -> bytes:
    """The export with something else in it."""
    return json.dumps(json.loads(exported(MESSAGE)) | changes).encode()


def test_a_message_comes_back_as_it_was() -> None:
    """For those who haven't got it; patience with the next hop counts anew."""
    found = imported(exported(MESSAGE), RAW, "x.eml", NOW)
    envelope = replace(MESSAGE.envelope, recipients=(WAITS,), size=None)
    assert found.message == replace(
        MESSAGE,
        envelope=envelope,
        recipients=(StoredRecipient(0, WAITS, next_attempt=NOW),),
        released=NOW,
    )
    assert found.body == RAW
    assert found.events[0].data["imported"] == "x.eml"


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "../../etc/passwd"},
        {"sender": "a b@x.example"},
        {"recipients": []},
        {"recipients": [{"address": "x@y.example\r\nDATA"}]},
        {"envid": "a b"},
        {"auth": "x\r\n"},
        {"session": {}},
        {"session": {**MESSAGE.session, "client_ip": ["192.0.2.7"]}},
        {"session": {**MESSAGE.session, "identity": {"login": ["ann"], "senders": []}}},
        {"received": "2026-03-01T00:00:00"},
        {"received": "1969-12-31T23:59:59Z"},
        {"state": "quarantined"},
        {"frobnicate": 1},
    ],
)
def test_what_was_tampered_with_is_refused(changes: Mapping[str, Any]) -> None:
    """What is in the file becomes part of SMTP commands and of the trace."""
    with pytest.raises(BadFile):
        imported(changed(**changes), RAW, "x.eml", NOW)


def test_no_message_comes_from_the_future() -> None:
    """Two machines' clocks differ, and a listing goes by age."""
    found = imported(changed(received="9999-12-31T23:59:59Z"), RAW, "x.eml", NOW)
    assert found.message.received == NOW


@pytest.mark.parametrize("text", [b"", b"[]", b"\xff", b"{"])
def test_what_is_no_export_is_refused(text: bytes) -> None:
    """With a reason, not with a traceback."""
    with pytest.raises(BadFile):
        imported(text, RAW, "x.eml", NOW)


@pytest.mark.parametrize("content", [b"", b"\r\n", b"Subject: x\n\n\0\n"])
def test_what_is_no_mail_is_refused(content: bytes) -> None:
    """Nothing, or what no next hop would take."""
    with pytest.raises(BadFile):
        plain_import(content, ANN, (BOB,), "x.eml", NOW)


def test_the_same_message_to_the_same_people_has_the_same_id() -> None:
    """So that importing it twice is noticed."""
    first = plain_import(RAW, ANN, (BOB,), "x.eml", NOW).message
    assert plain_import(RAW, ANN, (BOB,), "y.eml", SOME_TIME).message.id == first.id
    others = {
        plain_import(RAW, None, (BOB,), "x.eml", NOW).message.id,
        plain_import(RAW, ANN, (ANN,), "x.eml", NOW).message.id,
        plain_import(RAW + b"x", ANN, (BOB,), "x.eml", NOW).message.id,
    }
    assert first.id not in others
    assert first.envelope.smtputf8
