"""The milter door behind a real Postfix: what it judges, edits and signs, and how it leaves."""

import smtplib
from collections.abc import Iterator

import pytest

from .peers.certificates import DkimKey
from .peers.dkim_verifiers import dkimpy_accepts
from .peers.postfix import Postfix, run_postfix
from .peers.process import LOOPBACK, free_port, wait_until
from .peers.program import Program, find_in
from .peers.sink import Sink

pytestmark = pytest.mark.peer("postfix")

GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\n"

MESSAGE = (
    b"From: Ann <ann@office.example>\r\nTo: bob@partner.example\r\nSubject:  two  blanks\r\n"
    b"X-Folded: one\r\n\ttwo\r\n  three\r\nDate: Thu, 1 Jan 2026 00:00:00 +0000\r\n"
    b"Message-ID: <1@office.example>\r\n\r\n.dot\r\n..\r\nend  \r\n\r\n"
)


@pytest.fixture
def milter(program: Program, dkim_key: DkimKey) -> Program:
    """The program as a milter that signs."""
    program.ports["milter"] = free_port()
    listener = {"name": "milter", "kind": "milter"}
    program.config["listener"] = [listener | {"address": f"{LOOPBACK}:{program.ports['milter']}"}]
    program.config["auth"] = []
    program.sign_with(dkim_key)
    return program


@pytest.fixture
def postfix(milter: Program, sink: Sink) -> Iterator[Postfix]:
    """A Postfix that asks it, and relays to the sink."""
    settings = {
        "smtpd_milters": f"inet:{LOOPBACK}:{milter.ports['milter']}",
        "mynetworks": f"{LOOPBACK}/32",
        "relayhost": f"[{LOOPBACK}]:{sink.port}",
        "relay_transport": "smtp",
        "default_transport": "smtp",
    }
    with run_postfix({"office": {}}, settings) as running:
        yield running


def test_what_it_signs_verifies_behind_postfix(
    milter: Program, postfix: Postfix, sink: Sink, dkim_key: DkimKey
) -> None:
    """Several messages on one connection; the trace tells Postfix's name for each."""
    milter.start()
    with smtplib.SMTP(LOOPBACK, postfix.ports["office"]) as client:
        for recipient in ("bob@partner.example", "root", '"a b"@partner.example'):
            client.sendmail("ann@office.example", [recipient], MESSAGE)
    arrivals = sink.wait_for("two  blanks", 3)
    for arrival in arrivals:
        assert dkimpy_accepts(arrival.message, [dkim_key])
        assert arrival.message.endswith(MESSAGE)
    told = [event for event in milter.log_events() if event["event"] == "message"]
    assert len(told) == 3
    assert all(event["queue_id"] in postfix.log() for event in told)
    (session, *_) = find_in(milter.json_command("trace", told[0]["message_id"]), "session")
    assert session["door"] == "milter"
    assert session["client_ip"] == LOOPBACK


def test_it_leaves_a_client_between_messages_without_a_loss(
    milter: Program, postfix: Postfix, sink: Sink
) -> None:
    """SIGTERM while a client is connected: its next message is put off, and taken after that."""
    milter.start()
    with smtplib.SMTP(LOOPBACK, postfix.ports["office"]) as client:
        client.sendmail("ann@office.example", ["bob@partner.example"], MESSAGE)
        assert milter.stop() == 0
        with pytest.raises(smtplib.SMTPResponseException) as refused:
            client.sendmail("ann@office.example", ["bob@partner.example"], MESSAGE)
        assert refused.value.smtp_code // 100 == 4
    milter.start()
    with smtplib.SMTP(LOOPBACK, postfix.ports["office"]) as client:
        client.sendmail("ann@office.example", ["bob@partner.example"], MESSAGE)
    sink.wait_for("two  blanks", 2)
    wait_until(postfix.queue_is_empty, "an empty queue")


def test_what_it_sets_aside_itself_comes_back_signed_when_it_is_released(
    milter: Program, sink: Sink, dkim_key: DkimKey
) -> None:
    """Postfix has done with it, and passes it on once it comes to the port that asks no milter."""
    (listener,) = milter.config["listener"]
    listener |= {"quarantine": "own", "upstream": "behind"}
    milter.config["filter"] = [{"use": "spam", "options": {"reject": "off"}}]
    settings = {"relay_transport": f"smtp:[{LOOPBACK}]:{sink.port}"}
    asks = {"smtpd_milters": f"inet:{LOOPBACK}:{milter.ports['milter']}"}
    with run_postfix({"office": asks, "behind": {}}, settings) as postfix:
        behind = {"name": "behind", "hosts": [f"{LOOPBACK}:{postfix.ports['behind']}"]}
        milter.config["upstream"].append(behind | {"tls": "none"})
        milter.start()
        with smtplib.SMTP(LOOPBACK, postfix.ports["office"]) as client:
            client.sendmail("ann@office.example", ["bob@partner.example"], MESSAGE + GTUBE)
        (entry,) = milter.json_command("quarantine", "list")
        assert entry["reason"]
        assert postfix.queue_is_empty()
        assert "milter-discard" in postfix.log()
        assert milter.command("quarantine", "release", entry["id"]).returncode == 0
        (arrival,) = sink.wait_for("two  blanks")
        assert arrival.recipients == ("bob@partner.example",)
        assert f"by relay.office.example with ESMTP id {entry['id']}".encode() in arrival.message
        assert dkimpy_accepts(arrival.message, [dkim_key])
