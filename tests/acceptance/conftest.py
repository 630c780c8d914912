"""Fixtures: the program and its peers."""

from collections.abc import Iterator

import pytest

from .behind_postfix.ways import Office, run_office
from .peers.certificates import Certificates, DkimKey, make_certificates, make_dkim_key
from .peers.clamd import Clamd, run_clamd
from .peers.dovecot import Dovecot, run_dovecot
from .peers.postfix import Postfix, login_settings, run_postfix, tls_settings
from .peers.process import LOOPBACK, workplace
from .peers.program import USERS, Program, run_program
from .peers.sink import Sink, run_sink

PROVIDER_LOGIN = ("relay@provider.example", "a long secret")


@pytest.fixture(scope="session")
def certificates() -> Iterator[Certificates]:
    """An authority and a certificate for all servers here."""
    with workplace("tls") as directory:
        yield make_certificates(directory)


@pytest.fixture(scope="session")
def dkim_key() -> DkimKey:
    """The key that office.example signs with."""
    return make_dkim_key("office.example")


@pytest.fixture(scope="session")
def dovecot(certificates: Certificates) -> Iterator[Dovecot]:
    """Mailboxes for all users, and the passwords that Postfix asks for."""
    with run_dovecot(certificates, {**USERS, PROVIDER_LOGIN[0]: PROVIDER_LOGIN[1]}) as running:
        yield running


@pytest.fixture(scope="session")
def provider(certificates: Certificates, dovecot: Dovecot) -> Iterator[Postfix]:
    """The smart host: a Postfix that wants TLS and a login, with Dovecot's mailboxes behind it."""
    settings = {
        **tls_settings(certificates),
        **login_settings(dovecot.ports["auth"]),
        "relay_transport": f"lmtp:inet:{LOOPBACK}:{dovecot.ports['lmtp']}",
    }
    service = {
        "smtpd_tls_security_level": "encrypt",
        "smtpd_relay_restrictions": "permit_sasl_authenticated, reject",
    }
    with run_postfix({"submission": service}, settings) as running:
        yield running


@pytest.fixture(scope="session")
def behind_postfix(
    certificates: Certificates, dkim_key: DkimKey, dovecot: Dovecot
) -> Iterator[Office]:
    """filterrelay behind a Postfix for each way that deploy/postfix/ shows, all running."""
    with run_office(certificates, dkim_key, dovecot.ports["auth"]) as office:
        office.program.start()
        yield office
        assert office.program.stop() == 0
        assert office.sink.frowns == []


@pytest.fixture
def clamd() -> Iterator[Clamd]:
    """A clamd that knows EICAR and one more signature."""
    with run_clamd() as running:
        yield running


@pytest.fixture
def sink() -> Iterator[Sink]:
    """A strict smart host that keeps what it gets; at the end it must have nothing to frown at."""
    with run_sink() as running:
        yield running
        assert running.frowns == []


@pytest.fixture
def program(certificates: Certificates, sink: Sink) -> Iterator[Program]:
    """filterrelay in front of the sink, to be configured and started by the test."""
    with run_program(certificates, sink.port) as made:
        yield made
