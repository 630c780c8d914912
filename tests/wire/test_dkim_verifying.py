"""DKIM signatures judged, one by one."""

import base64
import time
import tracemalloc
from dataclasses import replace
from typing import Any
from unittest import mock

import dkim
import pytest
from dkim.util import InvalidTagValueList, parse_tag_value
from hypothesis import given
from hypothesis import strategies as st

from filterrelay.plugin import Message
from filterrelay.plugin.testing import a_message, within_cpu_budget
from filterrelay.wire import dkim_verifying
from filterrelay.wire.dkim_key import PublicKey, SigningKey, make_key
from filterrelay.wire.dkim_signing import Signer, names_to_sign, signature_values
from filterrelay.wire.dkim_verifying import (
    MAX_FIELD,
    Judgement,
    Unacceptable,
    Verification,
    parse_signature,
)

AT = 1_767_323_045
RSA, ED25519 = make_key("rsa"), make_key("ed25519")


def _signed(
    key: SigningKey = ED25519, text: str = "Hello  Bob, \n", oversign: tuple[str, ...] = ("from",)
) -> Message:
    """A message with our signature on top."""
    message = a_message(text)
    names = names_to_sign(message, oversign)
    (value,) = signature_values(message, [Signer("office.example", "s1", key)], names, AT)
    return replace(message, raw=f"DKIM-Signature: {value}\r\n".encode() + message.raw)


def _judged(message: Message, key: PublicKey = ED25519.public, now: int = AT) -> Judgement:
    """The judgement of the topmost signature."""
    try:
        signature = parse_signature(message.all("dkim-signature")[0].raw)
    except Unacceptable as error:
        return error.judgement
    return Verification(message, now).judge(signature, key)


def _replaced(message: Message, old: bytes, new: bytes) -> Message:
    assert old in message.raw
    return replace(message, raw=message.raw.replace(old, new, 1))


@pytest.mark.parametrize("key", [RSA, ED25519], ids=["rsa", "ed25519"])
def test_a_sound_signature_passes(key: SigningKey) -> None:
    """And the judgement names who signed."""
    judged = _judged(_signed(key), key.public)
    assert (judged.result, judged.domain, judged.selector) == ("pass", "office.example", "s1")
    assert judged.algorithm == key.algorithm
    assert len(judged.digits) == 8


@pytest.mark.parametrize("key", [RSA, ED25519], ids=["rsa", "ed25519"])
@pytest.mark.parametrize("forms", ["simple/simple", "simple/relaxed", "relaxed/simple"])
def test_signatures_of_dkimpy_in_every_form_pass(forms: str, key: SigningKey) -> None:
    """Others choose other canonical forms than we do."""
    message = a_message("Hello  Bob, \n\n\n", subject="  a   b ")
    private: Any = key.pem
    if key is ED25519:
        private = base64.b64encode(ED25519.key.private_bytes_raw())  # type: ignore[union-attr]  # Ed25519 has it
    with mock.patch.object(time, "time", return_value=AT):
        field = dkim.sign(
            message.raw,
            b"s1",
            b"office.example",
            private,
            canonicalize=tuple(form.encode() for form in forms.split("/")),
            signature_algorithm=key.algorithm.encode(),
        )
    assert _judged(replace(message, raw=field + message.raw), key.public).result == "pass"


def test_dkimpy_verifies_what_we_sign() -> None:
    """The reference reads our signatures."""
    record = RSA.public.record.encode()
    with mock.patch.object(time, "time", return_value=AT):
        assert dkim.verify(_signed(RSA).raw, dnsfunc=lambda name, timeout: record)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"Hello", b"Hallo", "the body was changed"),
        (b"Subject: Lunch", b"Subject: Money", "the header doesn't match"),
        (b"From: Alice", b"From: Mallory", "the header doesn't match"),
        (b"s=s1", b"s=s2", "the header doesn't match"),
    ],
)
def test_a_changed_message_fails(old: bytes, new: bytes, reason: str) -> None:
    """Body, signed fields and the signature's own tags are all covered."""
    judged = _judged(_replaced(_signed(), old, new))
    assert (judged.result, judged.reason) == ("fail", reason)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Subject: Lunch", b"SUBJECT:   Lunch\t"),
        (b"Hello  Bob, \r\n", b"Hello Bob,\t\r\n\r\n\r\n"),
        (b"Subject: Lunch", b"Subject:\r\n Lunch"),
        (b"From: Alice", b"X-Added: by a relay\r\nFrom: Alice"),
    ],
)
def test_what_relays_usually_do_changes_nothing(old: bytes, new: bytes) -> None:
    """That is what the relaxed form is for."""
    assert _judged(_replaced(_signed(), old, new)).result == "pass"


def test_an_added_from_breaks_an_oversigned_signature() -> None:
    """The reader would be shown another author (RFC 6376 section 8.15)."""
    forged = _replaced(_signed(), b"From:", b"From: evil@bad.example\r\nFrom:")
    assert _judged(forged).result == "fail"


def test_an_added_from_is_seen_even_without_oversigning() -> None:
    """A signature that covers one of two From fields vouches for neither."""
    forged = _replaced(_signed(oversign=()), b"From:", b"From: evil@bad.example\r\nFrom:")
    judged = _judged(forged)
    assert (judged.result, judged.reason) == ("permerror", "a From field is not signed")


def test_an_added_subject_breaks_an_oversigned_one() -> None:
    """Also for other fields that are shown."""
    signed = _signed(oversign=("from", "subject"))
    forged = _replaced(signed, b"From:", b"Subject: other\r\nFrom:")
    assert _judged(forged).result == "fail"


@pytest.mark.parametrize(
    ("old", "new", "result", "reason"),
    [
        (b"v=1", b"v=2", "neutral", "another version"),
        (b"v=1;", b"", "neutral", "no v="),
        (b"a=ed25519-sha256", b"a=rsa-sha1", "policy", "rsa-sha1"),
        (b"a=ed25519-sha256", b"a=rsa-md5", "neutral", "algorithm"),
        (b"c=relaxed/relaxed", b"c=nofws", "neutral", "canonicalization"),
        (b"a=ed25519-sha256; c=relaxed", b"a=rsa-sha1; c=nofws", "policy", "rsa-sha1"),
        (b"d=office.example", b"d=office example", "neutral", "no domain name"),
        (b"d=office.example", b"d=example", "neutral", "no domain name"),
        (b"s=s1", b"s=s1/../x", "neutral", "no domain name"),
        (b"q=dns/txt", b"q=carrier/pigeon", "neutral", "not in DNS"),
        (b"t=1767323045", b"t=yesterday", "neutral", "no number"),
        (b"t=1767323045", b"l=5", "policy", "l="),
        (b"t=1767323045", b"t=1767323045; x=5", "permerror", "x= is before t="),
        (b"i=@office.example", b"i=@other.example", "permerror", "not within d="),
        (b"i=@office.example", b"i=@badoffice.example", "permerror", "not within d="),
        (b"bh=", b"bh=*", "neutral", "base64"),
        (b"v=1", b"v", "neutral", "no tag list"),
        (b"v=1", b"v=1; v=1", "neutral", "no tag list"),
    ],
)
def test_a_signature_that_cannot_count_says_why(
    old: bytes, new: bytes, result: str, reason: str
) -> None:
    """Judged by its own words, before any look-up (RFC 6376 section 6.1.1)."""
    judged = _judged(_replaced(_signed(), old, new))
    assert judged.result == result
    assert reason in judged.reason


@given(
    st.lists(st.sampled_from([b"b", b"v", b"=", b";", b" ", b"\r\n\t", b"1", b":", b"_", b"\xe9"]))
)
def test_tags_are_read_as_dkimpy_reads_them(pieces: list[bytes]) -> None:
    """The quick reader takes and refuses the same lists."""
    value = b"".join(pieces)
    try:
        expected = parse_tag_value(value)
    except InvalidTagValueList:
        expected = None
    assert dkim_verifying._tags(value) == expected


@pytest.mark.parametrize(
    ("field", "signed"),
    [
        (b"D: b=abc; v=1", b"D: b=; v=1"),
        (b"D: h=from:b=x; bh=1; b = a\r\n b ;t=1", b"D: h=from:b=x; bh=1; b =;t=1"),
        (b"D: bb=1; v=b=2", b"D: bb=1; v=b=2"),
    ],
)
def test_the_signature_itself_is_not_signed(field: bytes, signed: bytes) -> None:
    """The value of b= is taken out, and nothing that only looks like it."""
    assert dkim_verifying._without_signature(field) == signed


def test_a_signature_without_from_does_not_count() -> None:
    """RFC 6376 section 5.4: From must be signed."""
    judged = _judged(_replaced(_signed(oversign=()), b"h=from : to", b"h=to"))
    assert (judged.result, judged.reason) == ("permerror", "From is not signed")


def test_a_signature_may_speak_for_a_subdomain() -> None:
    """i= may lie below d=, which changes the signed bytes and so only fails."""
    message = _replaced(_signed(), b"i=@office.example", b"i=@sales.office.example")
    assert _judged(message).reason == "the header doesn't match"


def test_an_expired_signature_fails() -> None:
    """x= is its last second, slow clocks allowed for."""
    message = _replaced(_signed(), b"t=1767323045", b"t=1767323045; x=1767323046")
    assert _judged(message, now=AT + 302).reason == "the signature has expired"
    assert _judged(message, now=AT + 200).reason == "the header doesn't match"


def test_a_key_of_another_kind_is_a_permerror() -> None:
    """An RSA key can't answer for an Ed25519 signature."""
    assert _judged(_signed(), RSA.public).result == "permerror"


def test_a_strict_key_is_not_for_subdomains() -> None:
    """t=s in the record (RFC 6376 section 3.6.1)."""
    message = _replaced(_signed(), b"i=@office.example", b"i=@sales.office.example")
    judged = _judged(message, replace(ED25519.public, strict=True))
    assert judged.reason == "the key is not for subdomains"


def test_a_testing_key_is_told() -> None:
    """t=y in the record."""
    assert _judged(_signed(), replace(ED25519.public, testing=True)).testing


def test_a_huge_signature_field_is_not_read() -> None:
    """Real ones stay below two kilobytes."""
    raw = b"DKIM-Signature: v=1; b" + b"\r\n " * MAX_FIELD + b"=\r\n"
    with within_cpu_budget(milliseconds=50), pytest.raises(Unacceptable):
        parse_signature(raw)


def test_the_signature_may_stand_anywhere_and_be_folded_anywhere() -> None:
    """b= first, with blanks around it, is taken out whole."""
    message = _signed()
    field = message.headers[0].raw
    head, _, value = field.rpartition(b" b=")
    digits = value.strip()
    moved = b"DKIM-Signature: b = " + digits[:9] + b"\r\n\t" + digits[9:] + b" ;"
    assert parse_signature(moved + head.partition(b":")[2] + b"\r\n").signature


def test_what_one_signature_says_is_never_taken_for_anothers() -> None:
    """Of a second with the same tags, since what they say is remembered."""
    message = _signed()
    assert _judged(message).result == "pass"
    broken = _replaced(message, b"bh=", b"bh=AAAA")
    assert _judged(broken).result == "fail"
    missing = _replaced(message, b" b=", b" z=")
    assert _judged(missing).reason == "the signature has no b="
    assert _judged(message).result == "pass"


@pytest.mark.parametrize(
    "tags", [b"h=" + b"aa:" * 5000, b"".join(b"x%x=;" % number for number in range(2500))]
)
def test_long_signatures_take_no_memory_once_they_are_judged(tags: bytes) -> None:
    """Whoever sends many of them, each another one: nothing that they say is remembered."""
    tracemalloc.start()
    try:
        for number in range(100):
            with pytest.raises(Unacceptable):
                parse_signature(b"DKIM-Signature: s=%d; %b\r\n" % (number, tags))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1024**2


def test_text_beyond_ascii_in_a_signature_is_no_accident() -> None:
    """A domain may have such letters (RFC 8616); nonsense in other tags is only noted."""
    message = _replaced(_signed(), b"d=office.example", "d=büro.example".encode())
    message = _replaced(message, b"i=@office.example", b"i=@\xff\xfe")
    assert _judged(message).result == "permerror"


@given(
    st.lists(
        st.sampled_from(
            ["v=1;", "a=rsa-sha256;", "d=a.example;", "s=s;", "h=from;", "bh=AA==;", "b=AA==;"]
        )
        | st.text("abch=;: \t\r\n.\xff", max_size=8),
        max_size=12,
    )
)
def test_no_signature_field_breaks_the_parser(pieces: list[str]) -> None:
    """Whatever a stranger writes, there is a judgement."""
    raw = ("DKIM-Signature:" + "".join(pieces)).encode("latin-1") + b"\r\n"
    try:
        signature = parse_signature(raw)
    except Unacceptable as error:
        judged = error.judgement
    else:
        judged = Verification(a_message("Hello\n"), AT).judge(signature, RSA.public)
    assert judged.result in ("neutral", "permerror", "policy", "fail")
