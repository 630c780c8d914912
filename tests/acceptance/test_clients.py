"""The mail programs that people use submit through the relay, and nothing gets lost or changed.

The way: client → filterrelay → a Postfix that wants TLS and a login → Dovecot,
where the message is read back.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import PROVIDER_LOGIN
from .peers.certificates import Certificates, DkimKey
from .peers.clients import CLIENTS, Submission
from .peers.dkim_verifiers import dkimpy_accepts, opendkim_accepts
from .peers.dovecot import Dovecot
from .peers.mailbox import read_by_imap, read_by_pop3
from .peers.postfix import Postfix
from .peers.process import LOOPBACK, wait_until
from .peers.program import USERS, Program, run_program

pytestmark = [pytest.mark.peer(name) for name in ("postfix", "dovecot", "opendkim")]

ANN, BOB = USERS
HEADER = (
    "From: Ann <ann@office.example>\r\n"
    "To: Bob <bob@office.example>\r\n"
    "Subject: {subject}\r\n"
    "Date: Thu, 01 Jan 2026 12:00:00 +0100\r\n"
    "Message-ID: <{subject}@office.example>\r\n"
    "MIME-Version: 1.0\r\n"
    "Content-Type: text/plain; charset=utf-8\r\n"
    "Content-Transfer-Encoding: 8bit\r\n"
)
# All that a careless relay would spoil: dots, blanks at line ends, long lines, letters, From.
BODY = (
    "Grüße aus dem Büro, žluťoučký kůň, 日本語 and a 🐎.\r\n"
    ".a line that begins with a dot\r\n"
    ".\r\n"
    "..\r\n"
    "blanks behind   \r\n"
    "\ta tab before and behind\t\r\n"
    "From the beginning of a line\r\n" + "a long line " * 80 + "\r\n"
    "\r\n"
    "-- \r\nAnn\r\n\r\n\r\n"
).encode()


@pytest.fixture(scope="module")
def office(certificates: Certificates, dkim_key: DkimKey, provider: Postfix) -> Iterator[Program]:
    """filterrelay as an office has it: logins, a signature, a provider that wants a login."""
    with run_program(certificates, provider.ports["submission"]) as program:
        login, password = PROVIDER_LOGIN
        (program.home / "provider.password").write_text(password + "\n")
        program.config["upstream"] = [
            {
                "name": "provider",
                "hosts": [f"{LOOPBACK}:{provider.ports['submission']}"],
                "tls": "required",
                "ca_file": str(certificates.authority),
                "username": login,
                "password_file": "provider.password",
            }
        ]
        program.sign_with(dkim_key)
        program.start()
        yield program
        assert program.stop() == 0


def _submit(office: Program, name: str, *, implicit: bool, subject: str, directory: Path) -> bytes:
    message = HEADER.format(subject=subject).encode() + b"\r\n" + BODY
    port = office.ports["smtps" if implicit else "submission"]
    authority = office.certificates.authority
    CLIENTS[name](Submission(port, implicit, authority, ANN, USERS[ANN], BOB, message, directory))
    return message


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
@pytest.mark.parametrize(
    "client",
    [
        pytest.param("swaks", marks=pytest.mark.peer("swaks")),
        pytest.param("smtplib"),
        pytest.param("nodemailer", marks=pytest.mark.peer("nodemailer")),
        pytest.param("msmtp", marks=pytest.mark.peer("msmtp")),
    ],
)
def test_what_a_client_submits_is_read_back_unchanged_and_signed(
    client: str,
    tls: str,
    office: Program,
    dovecot: Dovecot,
    certificates: Certificates,
    dkim_key: DkimKey,
    tmp_path: Path,
) -> None:
    """Each client logs in over STARTTLS and over implicit TLS; IMAP and POP3 show the message."""
    subject = f"from-{client}-{tls}"
    _submit(office, client, implicit=tls == "implicit", subject=subject, directory=tmp_path)
    secure = certificates.authority if tls == "implicit" else None
    ports = dovecot.ports
    imap, pop3 = ("imaps", "pop3s") if secure else ("imap", "pop3")

    def by_imap() -> list[bytes]:
        return read_by_imap(ports[imap], BOB, USERS[BOB], subject, secure)

    (message,) = wait_until(by_imap, "the message in Bob's mailbox")
    (again,) = read_by_pop3(ports[pop3], BOB, USERS[BOB], subject, secure)

    header, _, body = message.partition(b"\r\n\r\n")
    assert body == BODY
    assert again == message
    assert b"\r\nSubject: " + subject.encode() + b"\r\n" in header
    assert opendkim_accepts(message, [dkim_key], tmp_path) == ""
    assert dkimpy_accepts(message, [dkim_key])


def test_a_message_changed_on_its_way_is_no_longer_signed(
    office: Program, dovecot: Dovecot, dkim_key: DkimKey, tmp_path: Path
) -> None:
    """The verifiers do look: one letter more, or another From, and both refuse."""
    _submit(office, "smtplib", implicit=False, subject="to-be-changed", directory=tmp_path)

    def by_imap() -> list[bytes]:
        return read_by_imap(dovecot.ports["imap"], BOB, USERS[BOB], "to-be-changed")

    (message,) = wait_until(by_imap, "the message in Bob's mailbox")
    for changed in (
        message.replace(b"a dot\r\n", b"a dot!\r\n"),
        message.replace(b"From: Ann <ann@", b"From: Ann <boss@"),
    ):
        assert changed != message
        assert opendkim_accepts(changed, [dkim_key], tmp_path) != ""
        assert not dkimpy_accepts(changed, [dkim_key])


def test_the_client_stays_private(office: Program, dovecot: Dovecot, tmp_path: Path) -> None:
    """Received names the relay, but neither the client's address nor the name of its computer."""
    _submit(office, "smtplib", implicit=True, subject="who-sent-this", directory=tmp_path)

    def by_imap() -> list[bytes]:
        return read_by_imap(dovecot.ports["imap"], BOB, USERS[BOB], "who-sent-this")

    (message,) = wait_until(by_imap, "the message in Bob's mailbox")
    header = message.partition(b"\r\n\r\n")[0].replace(b"\r\n\t", b" ").replace(b"\r\n ", b" ")
    (ours,) = [
        line
        for line in header.split(b"\r\n")
        if line.startswith(b"Received:") and b"by relay.office.example" in line
    ]
    assert b"ESMTPSA" in ours
    assert b"127.0.0.1" not in ours
