"""The verifying plugin: a result for each signature, and no effect on mail."""

import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from filterrelay.plugin import Message, Pass
from filterrelay.plugin.testing import FakeClock, FakeResolver, a_message, running
from filterrelay.wire.dkim_key import SigningKey, make_key
from filterrelay.wire.dkim_signing import Signer, names_to_sign, signature_values

KEY, OTHER, RSA = make_key("ed25519"), make_key("ed25519"), make_key("rsa")
NAME = "s1._domainkey.office.example"
PUBLISHED = {(NAME, "TXT"): [KEY.public.record.encode()]}

needs_opendkim = pytest.mark.skipif(
    shutil.which("opendkim", path="/usr/sbin:/usr/bin") is None, reason="opendkim is not installed"
)


def _signed(*signers: Signer, text: str = "Hello\n") -> Message:
    message = a_message(text)
    names = names_to_sign(message, ("from",))
    signers = signers or (Signer("office.example", "s1", KEY),)
    values = list(signature_values(message, signers, names, 1_767_323_045))
    fields = "".join(f"DKIM-Signature: {value}\r\n" for value in values)
    return Message("id", fields.encode() + message.raw)


async def _verdict(message: Message, resolver: FakeResolver | None = None, **options: Any) -> Pass:
    async with running("dkim", resolver=resolver or FakeResolver(PUBLISHED), **options) as plugin:
        verdict: Pass = await plugin.on_message(message)
    return verdict


async def _results(message: Message, resolver: FakeResolver | None = None) -> list[str]:
    verdict = await _verdict(message, resolver)
    assert verdict.finding is not None
    return [auth.result for auth in verdict.finding.auth]


async def test_a_sound_signature_passes_and_names_its_signer() -> None:
    """Authentication-Results gets domain, selector, algorithm and the first digits."""
    verdict = await _verdict(_signed())
    assert verdict.finding is not None
    (auth,) = verdict.finding.auth
    said = dict(auth.properties)
    assert (auth.method, auth.result, verdict.finding.result) == ("dkim", "pass", "pass")
    assert said["header.d"] == "office.example"
    assert said["header.s"] == "s1"
    assert said["header.a"] == "ed25519-sha256"
    assert re.fullmatch(r"[A-Za-z0-9+/]{8}", said["header.b"])


async def test_mail_without_a_signature_asks_no_dns() -> None:
    """The result is `none`."""
    resolver = FakeResolver()
    assert await _results(a_message(), resolver) == ["none"]
    assert resolver.asked == []


async def test_a_broken_signature_passes_with_a_finding() -> None:
    """It means no more than none (RFC 6376 section 6.3): later filters may think otherwise."""
    signed = _signed()
    verdict = await _verdict(Message("id", signed.raw.replace(b"Hello", b"Hallo")))
    assert isinstance(verdict, Pass)
    assert verdict.finding is not None
    assert verdict.finding.result == "fail"
    assert verdict.finding.text == "office.example: fail (the body was changed)"


async def test_every_signature_gets_its_own_result() -> None:
    """One that passes makes the message's result, whatever the others are."""
    message = _signed(
        Signer("list.example", "gone", OTHER),
        Signer("office.example", "s1", KEY),
    )
    verdict = await _verdict(message)
    assert verdict.finding is not None
    assert [auth.result for auth in verdict.finding.auth] == ["permerror", "pass"]
    assert verdict.finding.result == "pass"


async def test_dns_that_fails_is_temperror() -> None:
    """The key may be there."""
    assert await _results(_signed(), FakeResolver(failing={NAME})) == ["temperror"]


@pytest.mark.parametrize(
    "records", [[], [b"v=DKIM1; p="], [b"v=spf1 -all"], [RSA.public.record.encode()]]
)
async def test_a_key_that_will_not_do_is_permerror(records: list[bytes]) -> None:
    """Absent, revoked, nonsense or of another kind: no retry would help."""
    assert await _results(_signed(), FakeResolver({(NAME, "TXT"): records})) == ["permerror"]


async def test_a_key_beside_other_text_is_found() -> None:
    """Some put more under the name than they should."""
    records = [b"unrelated", KEY.public.record.encode()]
    assert await _results(_signed(), FakeResolver({(NAME, "TXT"): records})) == ["pass"]


async def test_signatures_beyond_the_bound_are_left_out() -> None:
    """Anybody can add a thousand of them."""
    message = _signed(*[Signer("office.example", "s1", KEY)] * 12)
    verdict = await _verdict(message)
    assert verdict.finding is not None
    assert len(verdict.finding.auth) == 8
    assert verdict.finding.text.endswith("4 more left out")


async def test_each_key_is_asked_for_once() -> None:
    """Two signatures by one key are one look-up."""
    resolver = FakeResolver(PUBLISHED)
    await _verdict(_signed(*[Signer("office.example", "s1", KEY)] * 2), resolver)
    assert resolver.asked == [(NAME, "TXT")]


async def test_a_signature_that_cannot_count_asks_no_dns() -> None:
    """Its own words are enough."""
    resolver = FakeResolver(PUBLISHED)
    message = Message("id", _signed().raw.replace(b"a=ed25519-sha256", b"a=rsa-sha1"))
    assert await _results(message, resolver) == ["policy"]
    assert resolver.asked == []


async def test_a_big_message_is_verified_too() -> None:
    """In a thread, where it holds up nobody."""
    assert await _results(_signed(text="A line.\n" * 50_000)) == ["pass"]


async def test_a_test_key_is_told() -> None:
    """t=y in its record."""
    records = {(NAME, "TXT"): [KEY.public.record.encode() + b"; t=y"]}
    verdict = await _verdict(_signed(), FakeResolver(records))
    assert verdict.finding is not None
    assert verdict.finding.auth[0].reason == "test key"


async def test_an_unreadable_signature_is_neutral() -> None:
    """RFC 8601 section 2.7.1."""
    verdict = await _verdict(a_message(b"DKIM-Signature: hello\nFrom: a@b.example\n\n"))
    assert verdict.finding is not None
    assert verdict.finding.result == "neutral"
    assert verdict.finding.text == "unreadable: neutral (the signature is no tag list)"


def _signed_by_opendkim(directory: Path, key: SigningKey, form: str, algorithm: str) -> Message:
    """A message with opendkim's own signature on top."""
    (directory / "key.pem").write_bytes(key.pem)
    (directory / "conf").write_text(
        f"Mode s\nSyslog no\nBackground no\nRequireSafeKeys no\nDomain office.example\n"
        f"Selector s1\nKeyFile {directory}/key.pem\nSignatureAlgorithm {algorithm}\n"
        f"Canonicalization {form}\nOversignHeaders From\n"
    )
    message = a_message("Hello  Bob, \n\ttab\n\n\n", subject="much   blank")
    (directory / "message.eml").write_bytes(message.raw)
    command = ["-x", f"{directory}/conf", "-f", "-t", f"{directory}/message.eml", "-v", "-v"]
    printed = subprocess.run(
        ["/usr/sbin/opendkim", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=30,
        check=False,
    ).stdout
    found = re.search(rb"hname='DKIM-Signature' hvalue='([^']+)'", printed)
    assert found, printed
    value = found[1].replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return Message("id", b"DKIM-Signature: " + value.lstrip() + b"\r\n" + message.raw)


@needs_opendkim
@pytest.mark.parametrize(
    ("key", "algorithm", "form", "result"),
    [
        (RSA, "rsa-sha256", "simple/simple", "pass"),
        (RSA, "rsa-sha256", "simple/relaxed", "pass"),
        (RSA, "rsa-sha256", "relaxed/relaxed", "pass"),
        (RSA, "rsa-sha1", "relaxed/relaxed", "policy"),
        # opendkim 2.11's own wrapping breaks its simple Ed25519 signatures, for dkimpy too.
        (KEY, "ed25519-sha256", "relaxed/simple", "pass"),
        (KEY, "ed25519-sha256", "relaxed/relaxed", "pass"),
    ],
)
async def test_we_judge_what_opendkim_signs(
    tmp_path: Path, key: SigningKey, algorithm: str, form: str, result: str
) -> None:
    """The signer of most mail servers is understood, in every form."""
    message = _signed_by_opendkim(tmp_path, key, form, algorithm)
    resolver = FakeResolver({(NAME, "TXT"): [key.public.record.encode()]})
    clock = FakeClock(datetime.now(UTC))
    async with running("dkim", resolver=resolver, clock=clock) as plugin:
        verdict = await plugin.on_message(message)
    assert verdict.finding.result == result, verdict.finding
