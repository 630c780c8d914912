"""The invented office whose mail is sent: names, keys, certificate, free ports."""

import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

DOMAIN = "bench.example"  # signs; RFC 2606: never a real name
HOSTNAME = f"relay.{DOMAIN}"
SENDER = f"office@{DOMAIN}"
LOGIN = SENDER
PASSWORD = "plum-Tractor-41"
SELECTOR = "s1"
RECIPIENT_DOMAIN = "customer.example"
STRANGER = "203.0.113.7"  # an address that DOMAIN lets send its mail; RFC 5737

APP_DOMAIN = "app.example"  # has signed each message before it reaches the relay
APP_SELECTOR = "app1"

_PRIVATE = (
    serialization.Encoding.PEM,
    serialization.PrivateFormat.TraditionalOpenSSL,
    serialization.NoEncryption(),
)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An RSA-2048 key: its PEM file and the TXT record that publishes it."""

    path: Path
    record: str


@dataclass(frozen=True, slots=True)
class Site:
    """What all relays of one benchmark share. directory is theirs to write below."""

    directory: Path
    dkim: SigningKey
    app_dkim: SigningKey
    certificate: Path
    key: Path
    dns_port: int


def build_site(directory: Path) -> Site:
    """Make keys and a certificate under directory."""
    secrets = directory / "keys"
    secrets.mkdir()
    certificate, key = _certificate(secrets)
    return Site(
        directory=directory,
        dkim=_signing_key(secrets / "dkim.pem"),
        app_dkim=_signing_key(secrets / "app.pem"),
        certificate=certificate,
        key=key,
        dns_port=free_port(socket.SOCK_DGRAM),
    )


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _signing_key(path: Path) -> SigningKey:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    _write_private(path, key.private_bytes(*_PRIVATE))
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    encoded = "".join(public.decode().splitlines()[1:-1])
    return SigningKey(path, f"v=DKIM1; k=rsa; p={encoded}")


def _certificate(directory: Path) -> tuple[Path, Path]:
    """A self-signed P-256 certificate, the kind that public authorities issue by default."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOSTNAME)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOSTNAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_path, key_path = directory / "certificate.pem", directory / "key.pem"
    certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    _write_private(
        key_path,
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
    return certificate_path, key_path


def _write_private(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)
