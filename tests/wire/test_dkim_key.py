"""DKIM keys: read from files, published in DNS, and compared with what DNS has."""

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from filterrelay.wire.dkim_key import (
    BadKey,
    BadKeyRecord,
    KeyKind,
    PublicKey,
    Published,
    SigningKey,
    compare_with_dns,
    concerns,
    make_key,
    parse_key_record,
    read_key,
    record_strings,
    write_key,
    zone_line,
)

RSA = make_key("rsa")
ED25519 = make_key("ed25519")
SHORT = rsa.generate_private_key(65537, 1024)


def _record_of(numbers: RSAPublicNumbers) -> bytes:
    der = numbers.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return b"v=DKIM1; p=" + base64.b64encode(der)


@pytest.mark.parametrize("key", [RSA, ED25519])
def test_a_record_carries_the_key_that_verifies_what_it_signs(key: SigningKey) -> None:
    """What is published is the other half of what signs."""
    published = parse_key_record(key.public.record.encode())
    assert published.verifies(key.sign(b"content"), b"content")
    assert not published.verifies(key.sign(b"content"), b"other")
    assert not published.verifies(b"short", b"content")


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_a_key_file_gives_the_key_back(kind: KeyKind, tmp_path: Path) -> None:
    """Both kinds are kept as PKCS #8."""
    key, path = make_key(kind), tmp_path / "key.pem"
    path.write_bytes(key.pem)
    assert read_key(path).public.record == key.public.record


def test_a_written_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    """From the first moment on, in a directory made for it."""
    path = tmp_path / "dkim" / "s1.pem"
    write_key(path, ED25519)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_key(path).public.record == ED25519.public.record


def test_a_key_is_never_written_over(tmp_path: Path) -> None:
    """Its signatures would stop to verify."""
    path = tmp_path / "s1.pem"
    write_key(path, ED25519)
    with pytest.raises(BadKey, match="there already"):
        write_key(path, RSA)
    assert read_key(path).algorithm == "ed25519-sha256"


def test_a_key_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """The path and the system's reason."""
    (tmp_path / "file").touch()
    with pytest.raises(BadKey, match="can't be written"):
        write_key(tmp_path / "file" / "s1.pem", RSA)


def test_the_old_format_of_rsa_keys_is_read_too(tmp_path: Path) -> None:
    """opendkim-genkey and older OpenSSL write PKCS #1."""
    path = tmp_path / "key.pem"
    assert isinstance(RSA.key, rsa.RSAPrivateKey)
    old = RSA.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    path.write_bytes(old)
    assert read_key(path).algorithm == "rsa-sha256"


def _encrypted() -> bytes:
    return RSA.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))


def _elliptic() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "holds no private key"),
        (b"-----BEGIN RUBBISH-----\n", "holds no private key"),
        (_encrypted(), "encrypted"),
        (_elliptic(), "RSA and Ed25519 keys only"),
    ],
)
def test_a_key_file_that_will_not_do_is_named(content: bytes, says: str, tmp_path: Path) -> None:
    """The operator reads which file it is, and why."""
    path = tmp_path / "s1.pem"
    path.write_bytes(content)
    with pytest.raises(BadKey, match=says) as caught:
        read_key(path)
    assert str(path) in str(caught.value)


def test_a_missing_key_file_is_named(tmp_path: Path) -> None:
    """The path as it was understood is in the message."""
    with pytest.raises(BadKey, match=r"gone\.pem: can't be read: No such file"):
        read_key(tmp_path / "gone.pem")


def test_a_key_that_everybody_can_read_is_a_concern(tmp_path: Path) -> None:
    """Whoever reads it can sign as the domain."""
    path = tmp_path / "key.pem"
    path.write_bytes(RSA.pem)
    path.chmod(0o644)
    assert any("everybody" in concern for concern in concerns(path, RSA))
    path.chmod(0o600)
    assert list(concerns(path, RSA)) == []


def test_a_short_key_is_a_concern(tmp_path: Path) -> None:
    """1024 bits still verify everywhere, and are less than RFC 8301 asks for."""
    path = tmp_path / "key.pem"
    path.write_bytes(SigningKey(SHORT).pem)
    path.chmod(0o600)
    (concern,) = concerns(path, read_key(path))
    assert "1024 bits" in concern


def test_a_signing_key_never_shows_itself() -> None:
    """Not in a log, not in a traceback."""
    assert repr(RSA) == "SigningKey()"


@pytest.mark.parametrize(
    ("record", "says"),
    [
        (b"v=DKIM1; k=rsa; p=", "revoked"),
        (b"v=DKIM2; p=AAAA", "another version"),
        (b"v=DKIM1; k=rsa", "no key"),
        (b"v=DKIM1; k=rsa; p=!!!", "broken"),
        (b"v=DKIM1; k=rsa; p=AAAA", "broken"),
        (b"v=DKIM1; k=ed25519; p=AAAA", "broken"),
        (b"v=DKIM1; k=dsa; p=AAAA", "unknown kind"),
        (b"p=AAAA; p=AAAA", "no tag list"),
        (b"hello", "no tag list"),
        (b"v=DKIM1; h=sha1; p=AAAA", "not for SHA-256"),
        (b"v=DKIM1; s=tlsrpt; p=AAAA", "not for mail"),
        (b"v=DKIM1; p=" + b"A" * 5000, "too long"),
    ],
)
def test_a_record_that_will_not_do_says_why(record: bytes, says: str) -> None:
    """RFC 6376 section 3.6.1, tag by tag."""
    with pytest.raises(BadKeyRecord, match=says):
        parse_key_record(record)


def test_a_record_may_be_folded_and_leave_its_defaults_out() -> None:
    """v=, k= and s= need not be said; blanks in p= don't count."""
    key = RSA.public.encoded
    record = b"p=" + key[:100] + b" " + key[100:]
    assert parse_key_record(record).encoded == key


def test_the_flags_of_a_record_are_kept() -> None:
    """t=y asks for patience, t=s forbids subdomains."""
    found = parse_key_record(RSA.public.record.encode() + b"; t=y:s")
    assert (found.testing, found.strict) == (True, True)


@pytest.mark.parametrize(
    ("numbers", "says"),
    [
        (RSAPublicNumbers(65537, (1 << 767) + 1), "only 768 bits"),
        (RSAPublicNumbers(65537, (1 << 4200) + 1), "more than 4096"),
        (RSAPublicNumbers((1 << 40) + 1, (1 << 1024) + 1), "exponent"),
    ],
)
def test_keys_too_short_or_too_dear_are_weak(numbers: RSAPublicNumbers, says: str) -> None:
    """RFC 8301 sets the floor; the ceiling keeps a stranger's key from costing us much."""
    assert says in parse_key_record(_record_of(numbers)).weakness


def test_a_key_of_usual_size_has_no_weakness() -> None:
    """1024 bits are the floor, included."""
    assert PublicKey(SHORT.public_key()).weakness == ""
    assert ED25519.public.weakness == ""


def test_a_record_is_cut_into_strings_that_fit() -> None:
    """A TXT string holds 255 octets (RFC 1035 section 3.3)."""
    record = RSA.public.record
    strings = record_strings(record)
    assert [len(text) for text in strings] == [255, len(record) - 255]
    assert "".join(strings) == record


def test_a_long_record_is_printed_for_a_zone_file() -> None:
    """As BIND, NSD and Knot read it."""
    printed = zone_line("s1._domainkey.office.example", RSA.public.record).splitlines()
    assert printed[0] == "s1._domainkey.office.example. IN TXT ("
    assert printed[1].startswith('    "v=DKIM1; k=rsa; p=')
    assert printed[-1] == ")"


def test_a_short_record_stays_on_its_line() -> None:
    """An Ed25519 key needs one string."""
    printed = zone_line("s1._domainkey.office.example", ED25519.public.record)
    assert printed.count("\n") == 0
    assert printed.endswith('"')


@pytest.mark.parametrize(
    ("records", "state"),
    [
        ([], Published.MISSING),
        ([RSA.public.record.encode()], Published.MATCHES),
        ([RSA.public.record.encode() + b"; t=y"], Published.MATCHES),
        ([ED25519.public.record.encode()], Published.DIFFERENT),
        ([b"v=DKIM1; p="], Published.REVOKED),
        ([b"v=spf1 -all"], Published.BROKEN),
        ([RSA.public.record.encode()] * 2, Published.SEVERAL),
    ],
)
def test_what_dns_has_is_told_in_a_word(records: list[bytes], state: Published) -> None:
    """The operator sees which of the usual mistakes it is."""
    found = compare_with_dns(RSA.public, records)
    assert found.state is state
    assert found.is_good == (state is Published.MATCHES)
