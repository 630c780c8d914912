"""What the relay says in systemd's journal, read by journalctl."""

import asyncio
from collections.abc import Iterator

import pytest

from filterrelay.observe.journal import Journal, rendered

from .peers.conversation import greeted
from .peers.journald import Journald, run_journald
from .peers.process import wait_until
from .peers.program import Program
from .peers.sink import Sink

pytestmark = pytest.mark.peer("journald")
# What systemd does for a unit: its output goes to the journal, and the variable says so.
STREAM = 'exec 3>&1; export JOURNAL_STREAM=$(stat -Lc %d:%i /proc/self/fd/3); exec "$@" 3>&-'
AS_A_UNIT = ("systemd-cat", "sh", "-ec", STREAM, "sh")
ANN, BOB = "ann@office.example", "bob@partner.example"


@pytest.fixture
def journald() -> Iterator[Journald]:
    """A journal of the test's own."""
    with run_journald() as running:
        yield running


async def test_a_message_is_found_by_its_id_and_its_recipient(
    journald: Journald, program: Program, sink: Sink
) -> None:
    """The relay notices by itself that the journal reads its output, as in a systemd unit."""
    program.config["log"] = {"mail_log": "syslog"}
    program.wrapper = (*journald.inside, *AS_A_UNIT)
    program.start()
    text = f"From: <{ANN}>\r\nMessage-ID: <1@x>\r\nSubject: journal\r\n\r\nText.\r\n".encode()
    async with greeted(program.ports["open"]) as conversation:
        answer = await conversation.deliver(ANN, [BOB], text)
    assert answer.code == 250
    message_id = answer.text.rpartition(" ")[2]
    await asyncio.to_thread(sink.wait_for, "journal")

    def told() -> list[str]:
        entries = journald.entries(f"FILTERRELAY_MESSAGE_ID={message_id}")
        return [entry["MESSAGE"] for entry in entries] if len(entries) == 2 else []

    came, went = await asyncio.to_thread(wait_until, told, "both of its entries")
    assert came.startswith(f"{message_id}: client=unknown[127.0.0.1], message-id=<1@x>, from=")
    assert went.startswith(f"{message_id}: to=<{BOB}>, relay=127.0.0.1[127.0.0.1]:{sink.port}")
    (entry,) = journald.entries(f"FILTERRELAY_RECIPIENTS={BOB}", "FILTERRELAY_EVENT=delivered")
    assert entry["FILTERRELAY_MESSAGE_ID"] == message_id
    assert (entry["SYSLOG_IDENTIFIER"], entry["PRIORITY"]) == ("filterrelay", "6")

    (line,) = journald.entries("SYSLOG_IDENTIFIER=filterrelay/smtp")
    assert line["SYSLOG_FACILITY"] == "2", "mail"
    assert line["MESSAGE"] == went
    assert program.stop() == 0
    assert journald.entries("FILTERRELAY_EVENT=stopped")


def test_no_entry_is_too_large(journald: Journald) -> None:
    """A long traceback arrives whole."""
    journal = Journal(str(journald.socket))
    text = "no end of it\n" * 50_000
    journal.error(rendered(None, "error", {"event": "failed", "level": "error", "reason": text}))
    (entry,) = wait_until(lambda: journald.entries("FILTERRELAY_EVENT=failed"), "the entry")
    assert entry["FILTERRELAY_REASON"] == text
    journal.close()
