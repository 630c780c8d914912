"""Mail for servers that can do less: a Postfix that says nothing of what it can."""

import email
import smtplib
from collections.abc import Iterator

import pytest

from .peers.certificates import DkimKey
from .peers.dkim_verifiers import dkimpy_accepts
from .peers.postfix import Postfix, run_postfix
from .peers.process import LOOPBACK
from .peers.program import Program
from .peers.sink import Sink

pytestmark = pytest.mark.peer("postfix")

KEYWORDS = "8bitmime, chunking, dsn, smtputf8, pipelining, size"
TEXT = "Schöne Grüße aus dem Büro und Привет.\r\n.\r\nBlanks   \r\n"
MESSAGE = (
    "From: Ann <ann@office.example>\r\nTo: bob@partner.example\r\nSubject: {}\r\n"
    "Message-ID: <{}@office.example>\r\nMIME-Version: 1.0\r\n"
    'Content-Type: multipart/mixed; boundary="b"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n'
    "--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    f"{TEXT}--b\r\n\r\nplain\r\n--b--\r\n"
)


@pytest.fixture
def old(sink: Sink) -> Iterator[Postfix]:
    """A Postfix from the last century before the sink."""
    service = {"smtpd_discard_ehlo_keywords": KEYWORDS}
    with run_postfix({"old": service}, {"relay_transport": f"smtp:[{LOOPBACK}]:{sink.port}"}) as it:
        yield it


def submit(program: Program, tag: str, *options: str) -> None:
    """One message to bob."""
    with smtplib.SMTP(LOOPBACK, program.ports["open"]) as client:
        client.ehlo()
        client.mail("ann@office.example", ["BODY=8BITMIME", *options])
        client.rcpt("bob@partner.example", ["NOTIFY=SUCCESS"] if options else ())
        assert client.data(MESSAGE.format(tag, tag).encode())[0] == 250


def test_eight_bits_are_converted_and_the_signature_holds(
    program: Program, old: Postfix, sink: Sink, dkim_key: DkimKey
) -> None:
    """The first one when the server has said what it lacks, the next one before it is signed."""
    program.config["workers"] = 1
    program.config["upstream"][0]["hosts"] = [f"{LOOPBACK}:{old.ports['old']}"]
    program.sign_with(dkim_key)
    program.start()
    for tag in ("first", "second"):
        submit(program, tag)
        (arrival,) = sink.wait_for(f"<{tag}@office.example>")
        assert arrival.message.isascii()
        assert dkimpy_accepts(arrival.message, [dkim_key])
        parsed = email.message_from_bytes(arrival.message)
        assert len(parsed.get_all("DKIM-Signature", [])) == 1
        contents = [part.get_payload(decode=True) for part in parsed.walk()]
        assert contents == [None, TEXT.encode()[:-2], b"plain"]
    converted = [event for event in program.log_events() if event["event"] == "converted"]
    assert len(converted) == 1


def test_a_server_without_dsn_has_its_successes_reported_here(
    program: Program, old: Postfix, sink: Sink
) -> None:
    """The parameters stay here, and the sender hears that it was handed over (RFC 3461 5.2.2)."""
    program.config["upstream"][0]["hosts"] = [f"{LOOPBACK}:{old.ports['old']}"]
    program.config["route"] = [{"recipients": ["ann@office.example"], "upstream": "back"}]
    program.config["upstream"].append(
        {"name": "back", "hosts": [f"{LOOPBACK}:{sink.port}"], "tls": "none"}
    )
    program.start()
    submit(program, "asks", "RET=HDRS", "ENVID=QQ42")
    (report,) = sink.wait_for("Original-Envelope-Id: QQ42")
    assert b"Action: relayed" in report.message
