"""TLS policies against real peers: Unbound validates what NSD says, Postfix are the servers."""

import hashlib
import json
import re
import smtplib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.delivery.certificates import Authority, Issued, make_authority

from .peers.certificates import Certificates
from .peers.dnssec import sign
from .peers.nsd import run_nsd
from .peers.postfix import Postfix, run_postfix
from .peers.process import LOOPBACK, free_port, wait_until
from .peers.program import Program, run_program
from .peers.sink import run_sink
from .peers.stripper import stripping
from .peers.unbound import run_unbound

MESSAGE = b"From: <alice@office.example>\r\nSubject: Lunch\r\n\r\nHello.\r\n"
RESULTS = ("delivered", "deferred", "bounced")
PLACES = {  # the servers that are Postfix
    "known": "127.0.1.1",
    "vouched": "127.0.1.2",
    "changed": "127.0.1.3",
    "silent": "127.0.1.4",
    "plain": "127.0.1.5",
    "strict": "127.0.1.6",
}
STRIPPED = "127.0.1.7"
OPEN = {
    "mynetworks": "127.0.0.0/8",
    "default_transport": "discard:",
    "relay_transport": "discard:",
    "relay_domains": "",
    "smtpd_tls_loglevel": "1",
}

pytestmark = pytest.mark.peer("postfix", "nsd", "unbound")


def key_digest(certificate: x509.Certificate) -> str:
    """What a TLSA record of selector 1 and matching 1 has of it."""
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(key).hexdigest()


def zone(port: int, issued: Issued, authority: Authority, suffix: str) -> str:
    """Domains that are called as their servers are, below a top-level domain."""
    where = {**PLACES, "stripped": STRIPPED}
    lines = [f"mx.{name} A {address}" for name, address in where.items()]
    lines += [f"{name} MX 10 mx.{name}.{suffix}." for name in where]
    own, other = key_digest(issued.certificate), "00" * 32
    for name, record in {
        "known": f"3 1 1 {own}",
        "vouched": f"2 1 1 {key_digest(authority.certificate)}",
        "changed": f"3 1 1 {other}",
        "plain": f"3 1 1 {own}",
        "stripped": f"3 1 1 {own}",
    }.items():
        lines.append(f"_{port}._tcp.mx.{name} TLSA {record}")
    return "\n".join(lines) + "\n"


@contextmanager
def servers(port: int, authority: Authority) -> Iterator[tuple[Postfix, Issued]]:
    """The Postfix, and the certificate that all of them have but the one that was vouched for."""
    known, vouched = authority.issue("elsewhere.invalid"), authority.issue("mx.vouched.signed")

    def tls(issued: Issued, **more: str) -> dict[str, str]:
        files = {f"smtpd_tls_{kind}_file": str(issued.file) for kind in ("cert", "key")}
        return {"smtpd_tls_security_level": "may", **files, **more}

    services = {name: tls(known) for name in PLACES} | {
        "vouched": tls(vouched),
        "plain": {"smtpd_tls_security_level": "none"},
        "strict": tls(
            known,
            smtpd_tls_security_level="encrypt",
            smtpd_tls_req_ccert="yes",
            smtpd_tls_CAfile=str(authority.file),
        ),
    }
    with run_postfix(services, OPEN, addresses=PLACES, port=port) as postfix:
        yield postfix, known


@dataclass
class Internet:
    """The relay, and who offers STARTTLS in vain."""

    program: Program
    postfix: Postfix
    intercepted: list[bytes]

    def attempt(self, domain: str, sender: str = "alice") -> dict[str, Any]:
        """The first attempt for one message to bob there, as the log has it."""
        with smtplib.SMTP(LOOPBACK, self.program.ports["open"], timeout=20) as client:
            client.ehlo("client.office.example")
            client.mail(f"{sender}@office.example")
            client.rcpt(f"bob@{domain}")
            id_ = client.data(MESSAGE)[1].decode().split()[-1]

        def tried() -> list[dict[str, Any]]:
            events = self.program.log_events()
            about = [each for each in events if each.get("message_id") == id_]
            return [each for each in about if each["event"] in RESULTS]

        return wait_until(tried, "an attempt")[0]

    def connections(self, result: str) -> float:
        """How many have come out like that."""
        _, text = self.program.http("/metrics")
        counts = re.findall(rf'tls_sessions_total{{result="{result}",.*}} (.*)', text)
        return sum(map(float, counts))


@pytest.fixture(scope="module")
def internet(
    certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Internet]:
    """All at work: the zone signed, the same one unsigned, and one that was tampered with."""
    directory: Path = tmp_path_factory.mktemp("policies")
    authority = make_authority(directory)
    ours = authority.issue("relay.office.example")
    port = free_port()
    with servers(port, authority) as (postfix, issued):
        proved = sign("signed", zone(port, issued, authority, "signed"))
        forged = sign("forged", zone(port, issued, authority, "forged"))
        texts = {
            "signed": proved.text,
            "unsigned": zone(port, issued, authority, "unsigned"),
            "forged": forged.text,
        }
        another = sign("forged", "").anchor
        with (
            run_nsd(texts) as nsd,
            run_unbound(nsd, list(texts), [proved.anchor, another]) as dns,
            stripping(STRIPPED, port, (PLACES["known"], port)) as intercepted,
            run_sink() as sink,
            run_program(certificates, sink.port) as program,
        ):
            program.config["dns"] = {"servers": [dns]}
            direct = {"protocol": "mx", "port": port, "allow_networks": ["127.0.0.0/8"]}
            program.config["upstream"] += [
                {"name": "mx", **direct},
                {
                    "name": "ours",
                    **direct,
                    "certificate": str(ours.file),
                    "key": str(ours.file),
                },
            ]
            program.config["route"] = [
                {"recipients": ["*@office.example"], "upstream": "provider"},
                {"senders": ["dane@office.example"], "upstream": "mx", "tls": "dane"},
                {"senders": ["required@office.example"], "upstream": "mx", "tls": "required"},
                {"senders": ["ours@office.example"], "upstream": "ours"},
                {"upstream": "mx"},
            ]
            program.start()
            yield Internet(program, postfix, intercepted)


@pytest.mark.parametrize(
    ("domain", "result"),
    [
        ("known.signed", "dane"),
        ("vouched.signed", "dane"),
        ("silent.signed", "unverified"),
        ("changed.unsigned", "unverified"),
        ("plain.unsigned", "plain"),
        ("stripped.unsigned", "plain"),
    ],
)
def test_mail_goes_as_protected_as_it_can_be(internet: Internet, domain: str, result: str) -> None:
    """By DANE where DNSSEC proves it; else the file's own policy is to take what there is."""
    before = internet.connections(result)
    attempt = internet.attempt(domain)
    assert attempt["event"] == "delivered", attempt
    assert internet.connections(result) > before


@pytest.mark.parametrize(
    ("sender", "domain", "reply"),
    [
        ("alice", "changed.signed", "451 4.7.5"),
        ("alice", "plain.signed", "451 4.7.4"),
        ("alice", "stripped.signed", "451 4.7.4"),
        ("alice", "known.forged", "451 4.4.3"),
        ("dane", "silent.signed", "451 4.7.5"),
        ("dane", "known.unsigned", "451 4.7.5"),
        ("required", "stripped.unsigned", "451 4.7.4"),
        ("required", "known.unsigned", "451 4.7.5"),
    ],
)
def test_mail_waits_for_the_protection_that_is_demanded(
    internet: Internet, sender: str, domain: str, reply: str
) -> None:
    """By the destination, or by the route that the sender's mail takes."""
    internet.intercepted.clear()
    attempt = internet.attempt(domain, sender)
    assert attempt["event"] == "deferred", attempt
    assert attempt["reply"].startswith(reply)
    assert not any(b"MAIL" in octets for octets in internet.intercepted)


@pytest.mark.parametrize(("sender", "result"), [("alice", "deferred"), ("ours", "delivered")])
def test_a_server_that_wants_to_know_us_sees_our_certificate(
    internet: Internet, sender: str, result: str
) -> None:
    """The upstream's, and only where the file names one."""
    assert internet.attempt("strict.unsigned", sender)["event"] == result


def test_what_destinations_shall_be_told_is_on_disk_at_the_end(internet: Internet) -> None:
    """The report on a day can be made after a restart, too."""
    for domain in ("known.signed", "changed.signed", "plain.signed", "silent.signed"):
        internet.attempt(domain)
    internet.attempt("plain.unsigned")
    internet.program.stop()
    files = internet.program.home.glob("state/tls-reports/*/*.jsonl")
    results = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    found = {(each["domain"], each["kind"], each["failure"]) for each in results}
    assert {
        ("known.signed", "tlsa", ""),
        ("changed.signed", "tlsa", "validation-failure"),
        ("plain.signed", "tlsa", "starttls-not-supported"),
        ("silent.signed", "no-policy-found", ""),
        ("plain.unsigned", "no-policy-found", "starttls-not-supported"),
    } <= found
