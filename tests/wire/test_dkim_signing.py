"""DKIM signatures as they are made: the octets that dkimpy would write."""

import base64
import time
from pathlib import Path
from unittest import mock

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from filterrelay.plugin import Message
from filterrelay.plugin.testing import a_message
from filterrelay.wire.dkim_key import SigningKey, make_key
from filterrelay.wire.dkim_signing import Signer, names_to_sign, signature_values

AT = 1_767_323_045
RSA, ED25519 = make_key("rsa"), make_key("ed25519")

PLAIN = b"""\
Received: from client.example (client.example [192.0.2.1])
\tby relay.office.example with ESMTPSA id 4dX;
\tFri, 02 Jan 2026 03:04:05 +0000
From: =?utf-8?Q?Andr=C3=A9?=  <andre@office.example>
To: bob@partner.example,
 carol@partner.example
Subject:  a   subject\twith blanks\x20
Date: Fri, 02 Jan 2026 03:04:05 +0000
Message-ID: <1@office.example>
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8

Hello  Bob,\t
  indented\x20\x20
--\x20
Andr\xc3\xa9


"""
MARKUP = b"""\
from: shop@office.example
to: a@b.example
to: c@d.example
list-unsubscribe: <mailto:leave@office.example>
in-reply-to: <0@office.example>
references: <0@office.example>
 <00@office.example>
content-type: multipart/alternative; boundary="x"

--x
Content-Type: text/html

<table>
\t<tr>
        <td>   A   </td>
\t</tr>
</table>
--x--
"""
BARE = b"From: a@office.example\n\n"
HEADER_ONLY = b"From: a@office.example\nSubject: nothing follows\n"

# Debian's libpython3.11-testsuite has real and broken mail, where it is installed.
DEBIAN = sorted(Path("/usr/lib/python3.11/test/test_email/data").glob("*.txt"))
CORPUS = {"plain": PLAIN, "markup": MARKUP, "bare": BARE, "header-only": HEADER_ONLY} | {
    path.name: path.read_bytes() for path in DEBIAN
}


def _signed_by_dkimpy(message: Message, key: SigningKey, names: list[str]) -> bytes:
    private = key.pem
    if isinstance(key.key, Ed25519PrivateKey):
        private = base64.b64encode(key.key.private_bytes_raw())
    signer = dkim.DKIM(message.raw, signature_algorithm=key.algorithm.encode())
    with mock.patch.object(time, "time", return_value=AT):
        field: bytes = signer.sign(
            b"s1",
            b"office.example",
            private,
            canonicalize=(b"relaxed", b"relaxed"),
            include_headers=[name.encode() for name in names],
        )
    return field


def _signed(message: Message, key: SigningKey, names: list[str]) -> bytes:
    (value,) = signature_values(message, [Signer("office.example", "s1", key)], names, AT)
    return f"DKIM-Signature: {value}\r\n".encode()


@pytest.mark.parametrize("key", [RSA, ED25519], ids=["rsa", "ed25519"])
@pytest.mark.parametrize("name", CORPUS)
def test_the_signature_is_the_one_that_dkimpy_makes(name: str, key: SigningKey) -> None:
    """Octet for octet: the reference and the quick way are one."""
    message = a_message(CORPUS[name])
    names = names_to_sign(message, ("from", "subject", "to"))
    try:
        wanted = _signed_by_dkimpy(message, key, names)
    except dkim.MessageFormatError:
        pytest.skip("dkimpy reads no mail so broken")
    assert _signed(message, key, names) == wanted


@settings(max_examples=50)
@given(
    st.lists(
        st.sampled_from(["From: a@b.example", "To:x@y.example", "Subject: \t a  b", "X: y", "CC:"]),
        min_size=1,
        max_size=8,
    ),
    st.lists(st.sampled_from(["a", " ", "\t", "\r\n", "  ", "é"]), max_size=30).map("".join),
)
def test_made_up_mail_is_signed_as_dkimpy_does_too(fields: list[str], body: str) -> None:
    """Any mix of fields and blanks."""
    message = Message("id", "\r\n".join([*fields, "", body, ""]).encode())
    names = names_to_sign(message, ("from",))
    assert _signed(message, ED25519, names) == _signed_by_dkimpy(message, ED25519, names)


def test_every_recommended_field_is_named_as_often_as_it_is_there() -> None:
    """RFC 6376 section 5.4.1; Received and the like stay out."""
    assert names_to_sign(a_message(MARKUP), ()) == [
        "from",
        "to",
        "to",
        "list-unsubscribe",
        "in-reply-to",
        "references",
        "content-type",
    ]


def test_oversigned_fields_are_named_once_more() -> None:
    """Also those that aren't there at all."""
    names = names_to_sign(a_message(BARE), ("from", "reply-to"))
    assert names == ["from", "from", "reply-to"]


def test_thousands_of_fields_make_no_endless_signature() -> None:
    """What a client can make grow has a limit."""
    message = a_message(b"From: a@b.example\n" + b"To: x@y.example\n" * 5000 + b"\n")
    assert len(names_to_sign(message, ("from",))) == 201


def test_a_long_domain_is_never_cut() -> None:
    """A fold in the middle of d= would make it another name."""
    domain = ".".join(["a" * 60] * 3) + ".example"
    signer = Signer(domain, "s1", ED25519)
    (value,) = signature_values(a_message(BARE), [signer], ["from"], AT)
    assert f"d={domain};" in value
    assert f"i=@{domain};" in value


def test_no_line_of_the_signature_is_long() -> None:
    """As RFC 5322 section 2.1.1 asks of all mail."""
    message = a_message(PLAIN)
    names = names_to_sign(message, ("from", "subject", "to"))
    field = _signed(message, RSA, names)
    assert max(len(line) for line in field.split(b"\r\n")) <= 78


def test_two_keys_make_two_signatures() -> None:
    """RSA for everybody, Ed25519 for who can read it (RFC 8463)."""
    signers = [Signer("office.example", "r", RSA), Signer("office.example", "e", ED25519)]
    first, second = signature_values(a_message(BARE), signers, ["from"], AT)
    assert "a=rsa-sha256" in first
    assert "a=ed25519-sha256" in second
