"""LMTP to Dovecot, and the mail read as its readers read it."""

import smtplib
from collections.abc import Iterator
from typing import Any

import pytest

from filterrelay.delivery.hops import Hops
from filterrelay.delivery.route import Way
from filterrelay.delivery.upstream import Sent
from filterrelay.mail.hop import Hop
from filterrelay.observe.metrics import Metrics
from filterrelay.plugin.testing import an_envelope
from filterrelay.settings import Upstream

from .peers.certificates import Certificates
from .peers.dovecot import Dovecot, run_dovecot
from .peers.mailbox import read_by_imap, read_by_pop3
from .peers.process import LOOPBACK, wait_until
from .peers.program import USERS, Program

ANN = "ann@office.example"
SHUT, STRANGER = "bob@office.example", "nobody@office.example"

pytestmark = pytest.mark.peer("dovecot")


@pytest.fixture(scope="module")
def mailboxes(certificates: Certificates) -> Iterator[Dovecot]:
    """Mailboxes for the users only; bob's can't be written to."""
    with run_dovecot(certificates, USERS, strangers=False) as running:
        running.shut(SHUT)
        yield running


def message(subject: str) -> bytes:
    """Eight bits, dots and a last line without an end of its own to come."""
    return (
        f"From: <office@office.example>\r\nSubject: {subject}\r\n"
        "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        ".Grüße\r\n..\r\n.\r\nПривет \r\n"
    ).encode()


async def deliver(host: str, body: bytes, certificates: Certificates, **changes: Any) -> Sent:
    """One message to all three."""
    values: dict[str, Any] = {"name": "mailboxes", "hosts": (host,), "protocol": "lmtp"}
    config = Upstream(**values | {"timeout": "10s"} | changes)
    upstream = Hops([config], [], "relay.office.example", Metrics()).open(Way(Hop("mailboxes")))
    envelope = an_envelope("office@office.example", ANN, STRANGER, SHUT, body="8BITMIME")
    try:
        return await upstream.send(envelope, envelope.recipients, body)
    finally:
        upstream.close()


@pytest.mark.parametrize("way", ["tcp", "starttls", "unix"])
async def test_each_recipient_has_its_reply_and_mail_is_read_as_it_was_sent(
    mailboxes: Dovecot, certificates: Certificates, way: str
) -> None:
    """One is known, one unknown, one's mailbox is broken; IMAP and POP3, with and without TLS."""
    ports, body = mailboxes.ports, message(f"by {way}")
    host = f"unix:{mailboxes.socket}" if way == "unix" else f"localhost:{ports['lmtp']}"
    changes: dict[str, Any] = {"tls": "none"}
    if way == "starttls":
        changes = {"tls": "required", "ca_file": certificates.authority}
    sent = await deliver(host, body, certificates, **changes)
    assert [reply.code // 100 for reply in sent.replies] == [2, 5, 4]
    assert sent.tls.startswith("TLSv1.") is (way == "starttls")
    assert sent.replies[1].enhanced == "5.1.1"
    login = (ANN, USERS[ANN], f"by {way}")
    for read in (
        read_by_imap(ports["imap"], *login),
        read_by_imap(ports["imap"], *login, certificates.authority, starttls=True),
        read_by_imap(ports["imaps"], *login, certificates.authority),
        read_by_pop3(ports["pop3"], *login),
        read_by_pop3(ports["pop3"], *login, certificates.authority, starttls=True),
        read_by_pop3(ports["pop3s"], *login, certificates.authority),
    ):
        (text,) = read
        assert text.endswith(b"\r\n" + body)
        assert text.startswith(b"Return-Path: <office@office.example>\r\n")


def test_an_office_whose_mailboxes_are_on_the_relays_machine(
    mailboxes: Dovecot, certificates: Certificates, program: Program
) -> None:
    """From the door to the mailbox; who isn't known there gets the mail back, by the same way."""
    program.config["upstream"] = [
        {"name": "mailboxes", "protocol": "lmtp", "hosts": [f"unix:{mailboxes.socket}"]}
    ]
    program.write_config()
    assert program.json_command("check")["cannot_deliver_to"] == []
    program.start()
    with smtplib.SMTP(LOOPBACK, program.ports["open"]) as client:
        client.sendmail(ANN, [ANN, STRANGER], message("through the relay"))

    def read(subject: str) -> list[bytes]:
        return read_by_imap(mailboxes.ports["imap"], ANN, USERS[ANN], subject)

    wait_until(lambda: len(read("through the relay")) == 1, "the message")
    wait_until(lambda: len(read("could not be delivered")) == 1, "the bounce")
    (bounce,) = read("could not be delivered")
    assert f"Final-Recipient: rfc822; {STRANGER}".encode() in bounce
    assert b"Status: 5.1.1" in bounce
