"""A small certificate authority and a DKIM key, made anew for each run of the tests."""

import base64
import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

_DAY = dt.timedelta(days=1)
_NAMES = ("localhost", "relay.office.example", "mx.provider.example")


@dataclass(frozen=True)
class Certificates:
    """PEM files: the authority that clients shall trust, a server's chain and its key."""

    authority: Path
    chain: Path
    key: Path


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def make_certificates(directory: Path) -> Certificates:
    """An authority and one certificate by it for 127.0.0.1 and all names in use here."""
    now = dt.datetime.now(dt.UTC)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    issuer = _name("filterrelay test authority")
    draft = (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .not_valid_before(now - _DAY)
        .not_valid_after(now + 30 * _DAY)
    )
    authority = (
        draft.subject_name(issuer)
        .public_key(authority_key.public_key())
        .serial_number(x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False
        )
        .sign(authority_key, hashes.SHA256())
    )
    server_key = ec.generate_private_key(ec.SECP256R1())
    addresses = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    names = [x509.DNSName(name) for name in _NAMES]
    server = (
        draft.subject_name(_name("localhost"))
        .public_key(server_key.public_key())
        .serial_number(x509.random_serial_number())
        .add_extension(x509.SubjectAlternativeName([*names, *addresses]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
            critical=False,
        )
        .sign(authority_key, hashes.SHA256())
    )
    files = Certificates(directory / "ca.pem", directory / "chain.pem", directory / "key.pem")
    encoding = serialization.Encoding.PEM
    files.authority.write_bytes(authority.public_bytes(encoding))
    files.chain.write_bytes(server.public_bytes(encoding) + authority.public_bytes(encoding))
    files.key.write_bytes(_pem(server_key))
    files.key.chmod(0o600)
    return files


@dataclass(frozen=True)
class DkimKey:
    """An RSA key for signing, and the record that the domain publishes of it."""

    domain: str
    selector: str
    private: bytes  # PEM
    record: str

    @property
    def name(self) -> str:
        """Where the record stands in DNS (RFC 6376 section 3.6.2.1)."""
        return f"{self.selector}._domainkey.{self.domain}"


def make_dkim_key(domain: str, selector: str = "s1") -> DkimKey:
    """A fresh key of 2048 bits."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    record = f"v=DKIM1; k=rsa; p={base64.b64encode(public).decode()}"
    return DkimKey(domain, selector, _pem(key), record)
