"""The signing plugin: whose mail it signs with which key, and what it never lets out."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from filterrelay_plugins import dkim_sign

from filterrelay.mail.edits import edit_message
from filterrelay.plugin import Message
from filterrelay.plugin.discovery import BadOptions
from filterrelay.plugin.testing import (
    FakeResolver,
    a_message,
    a_session,
    an_envelope,
    running,
    some_services,
    within_cpu_budget,
)
from filterrelay.wire.dkim_key import BadKey, SigningKey, make_key

RSA, ED25519, OTHER = make_key("rsa"), make_key("ed25519"), make_key("ed25519")

USER = a_session(login="alice@office.example")

needs_opendkim = pytest.mark.skipif(
    shutil.which("opendkim", path="/usr/sbin:/usr/bin") is None, reason="opendkim is not installed"
)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A configuration's directory with three keys in it."""
    for name, key in (("rsa", RSA), ("ed25519", ED25519), ("other", OTHER)):
        path = tmp_path / f"{name}.pem"
        path.touch(mode=0o600)
        path.write_bytes(key.pem)
    return tmp_path


def _use(domain: str, key: str, **more: Any) -> dict[str, Any]:
    return {"domain": domain, "selector": key, "key": f"{key}.pem", **more}


async def _signed(
    keys: Path, *uses: dict[str, Any], message: Message | None = None, **more: Any
) -> Message:
    """The message as it would leave."""
    envelope = an_envelope(more.pop("sender", "alice@office.example"))
    message = message or a_message("Hello  Bob, \n")
    async with running("dkim-sign", base_dir=keys, keys=list(uses), **more) as plugin:
        return edit_message(message, await plugin.sign(USER, envelope, message) or ())


def _signatures(message: Message) -> list[str]:
    return [header.value for header in message.all("dkim-signature")]


async def test_mail_is_signed_by_the_domain_of_its_from(keys: Path) -> None:
    """The signature goes on top, with the file's selector and the clock's time."""
    signed = await _signed(keys, _use("office.example", "rsa"))
    assert signed.headers[0].name == "DKIM-Signature"
    (value,) = _signatures(signed)
    for tag in ("a=rsa-sha256", "d=office.example", "s=rsa", "t=1767323045"):
        assert f"{tag};" in value


async def test_from_is_oversigned(keys: Path) -> None:
    """One mention more than there are fields."""
    (value,) = _signatures(await _signed(keys, _use("office.example", "rsa"), oversign=["date"]))
    names = value.partition("h=")[2].partition(";")[0].split(" : ")
    assert (names.count("from"), names.count("date"), names.count("subject")) == (2, 2, 1)


async def test_several_keys_of_a_domain_sign_each(keys: Path) -> None:
    """RSA for everybody, Ed25519 for who can read it."""
    uses = [_use("office.example", "rsa"), _use("office.example", "ed25519")]
    assert len(_signatures(await _signed(keys, *uses))) == 2


@pytest.mark.parametrize(
    ("author", "key"),
    [
        ("alice@office.example", "rsa"),
        ("ALICE@OFFICE.EXAMPLE", "rsa"),
        ("alice@mail.office.example", "ed25519"),
        ("alice@deep.mail.office.example", "ed25519"),
        ("alice@www.office.example", "rsa"),
        ("alice@sub.shop.example", None),
        ("alice@notoffice.example", None),
        ("alice@example", None),
    ],
)
async def test_the_nearest_domain_signs(keys: Path, author: str, key: str | None) -> None:
    """Its own key first, then that of the domain above, unless that is for itself only."""
    uses = [
        _use("office.example", "rsa"),
        _use("mail.office.example", "ed25519"),
        _use("shop.example", "other", subdomains=False),
    ]
    signed = await _signed(keys, *uses, message=a_message(**{"from": author}))
    selectors = [value.partition("s=")[2].partition(";")[0] for value in _signatures(signed)]
    assert selectors == ([key] if key else [])


@pytest.mark.parametrize(
    "author",
    [
        "alice@office.example",
        "<alice@office.example>",
        "Alice Example <alice@office.example>",
        '"Example, Alice" <alice@office.example>',
        '"evil@other.example" <alice@office.example>',
        "evil@other.example <alice@office.example>",
        "Alice (evil@other.example) <alice@office.example>",
        '"a b"@office.example',
        "Alice <alice@office.example> (Sales)",
        "=?utf-8?q?a=40other.example?= <alice@office.example>",
    ],
)
async def test_the_author_is_found_in_every_form_of_from(keys: Path, author: str) -> None:
    """Names, quotes and comments don't lead to another domain's key."""
    uses = [_use("office.example", "rsa"), _use("other.example", "other")]
    (value,) = _signatures(await _signed(keys, *uses, message=a_message(**{"from": author})))
    assert "d=office.example;" in value


async def test_a_domain_beyond_ascii_finds_its_key(keys: Path) -> None:
    """Written in letters or in A-labels, it is one domain (RFC 5890)."""
    message = a_message(**{"from": "alice@BÜRO.example"})
    (value,) = _signatures(await _signed(keys, _use("büro.example", "rsa"), message=message))
    assert "d=xn--bro-hoa.example;" in value


async def test_the_envelope_sender_may_decide_when_from_has_no_key(keys: Path) -> None:
    """For a service that sends in its customers' names, when asked for."""
    message = a_message(**{"from": "customer@elsewhere.example"})
    use = _use("office.example", "rsa")
    assert _signatures(await _signed(keys, use, message=message)) == []
    signed = await _signed(keys, use, message=message, by_envelope_sender=True)
    assert len(_signatures(signed)) == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"Subject: no author\n\nHello\n",
        b"From: a@office.example\nFrom: b@office.example\n\nHello\n",
        b"From: nobody in particular\n\nHello\n",
        b"From:\n\nHello\n",
    ],
)
async def test_mail_without_one_author_leaves_unsigned(keys: Path, raw: bytes) -> None:
    """A signature would vouch for something that nobody can tell."""
    assert (
        _signatures(await _signed(keys, _use("office.example", "rsa"), message=a_message(raw)))
        == []
    )


async def test_a_big_message_is_signed_too(keys: Path) -> None:
    """In a thread, where it holds up nobody."""
    message = a_message("A line.\n" * 50_000)
    assert (
        len(_signatures(await _signed(keys, _use("office.example", "rsa"), message=message))) == 1
    )


async def test_the_sign_plugin_and_the_verify_plugin_agree(keys: Path) -> None:
    """What leaves here would pass here."""
    uses = [_use("office.example", "rsa"), _use("office.example", "ed25519")]
    signed = await _signed(keys, *uses)
    resolver = FakeResolver(
        {
            ("rsa._domainkey.office.example", "TXT"): [RSA.public.record.encode()],
            ("ed25519._domainkey.office.example", "TXT"): [ED25519.public.record.encode()],
        }
    )
    async with running("dkim", resolver=resolver) as plugin:
        verdict = await plugin.on_message(signed)
    assert [auth.result for auth in verdict.finding.auth] == ["pass", "pass"]


class Forgetful(SigningKey):
    """A key whose signatures are of something else."""

    def sign(self, content: bytes) -> bytes:
        return super().sign(content + b"!")


@pytest.mark.parametrize("key", [RSA, ED25519], ids=["rsa", "ed25519"])
async def test_a_signature_that_does_not_verify_never_leaves(
    keys: Path, key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The finished header is verified as a receiver would; a fault is ours, so not a 5xx."""
    monkeypatch.setattr(dkim_sign, "read_key", lambda path: Forgetful(key.key))
    with pytest.raises(dkim_sign.SignatureUnsound, match=r"office\.example.*header"):
        await _signed(keys, _use("office.example", "rsa"))


async def test_a_body_hashed_wrong_never_leaves(
    keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check goes by the body's own hash, whatever the signer wrote."""
    monkeypatch.setattr("filterrelay.wire.dkim_signing.digest_of_body", lambda *args: b"?" * 32)
    with pytest.raises(dkim_sign.SignatureUnsound, match="the body was changed"):
        await _signed(keys, _use("office.example", "rsa"))


async def test_a_missing_key_is_named_at_start(keys: Path) -> None:
    """Not when the first message comes."""
    with pytest.raises(BadKey, match=r"gone\.pem"):
        await _signed(keys, _use("office.example", "gone"))


async def test_a_key_that_everybody_can_read_is_warned_of(keys: Path) -> None:
    """It works, and the log says what is wrong with it."""
    (keys / "rsa.pem").chmod(0o644)
    told: list[dict[str, Any]] = []

    class Log:
        def warning(self, event: str, **values: Any) -> None:
            told.append(values)

    options = dkim_sign.DkimSignOptions.model_validate({"keys": [_use("office.example", "rsa")]})
    services = some_services(state_dir=keys, base_dir=keys)
    object.__setattr__(services, "log", Log())
    async with dkim_sign.DkimSign(options).lifespan(services):
        pass
    assert "everybody" in told[0]["reason"]


@pytest.mark.parametrize(
    "change",
    [
        {"domain": "office example"},
        {"domain": ""},
        {"selector": "s1; d=evil.example"},
    ],
)
async def test_options_that_would_spoil_a_signature_are_refused(
    keys: Path, change: dict[str, str]
) -> None:
    """A blank or a semicolon would end the tag."""
    with pytest.raises(BadOptions):
        await _signed(keys, _use("office.example", "rsa") | change)


async def test_oversigned_names_must_be_names(keys: Path) -> None:
    """They go into the h= tag."""
    with pytest.raises(BadOptions):
        await _signed(keys, _use("office.example", "rsa"), oversign=["to;"])


async def test_signing_stays_within_its_share_of_the_budget(keys: Path) -> None:
    """A hundred messages of 10 KB, signed and checked, in the time that Ed25519 needs."""
    message = a_message("A line of text, as mail has it.\n" * 300)
    async with running(
        "dkim-sign", base_dir=keys, keys=[_use("office.example", "ed25519")]
    ) as plugin:
        envelope = an_envelope()
        with within_cpu_budget(milliseconds=150):
            for _ in range(100):
                await plugin.sign(USER, envelope, Message("id", message.raw))


def _opendkim_says(directory: Path, published: str, raw: bytes) -> str:
    """What opendkim prints when it verifies the message with that key in its DNS."""
    (directory / "published").write_text(published)
    (directory / "message.eml").write_bytes(raw)
    (directory / "conf").write_text(
        f"Mode v\nSyslog no\nBackground no\nTestPublicKeys {directory}/published\n"
    )
    command = ["-x", f"{directory}/conf", "-f", "-t", f"{directory}/message.eml", "-v", "-v"]
    judged = subprocess.run(
        ["/usr/sbin/opendkim", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=30,
        check=False,
    )
    return judged.stdout


@needs_opendkim
@pytest.mark.parametrize("changed", [False, True], ids=["untouched", "changed"])
@pytest.mark.parametrize("key", ["rsa", "ed25519"])
async def test_opendkim_judges_our_signatures_as_we_do(keys: Path, key: str, changed: bool) -> None:
    """The verifier of most mail servers is the judge."""
    text = "Hello  Bob, \n\ttab\n.\n\n\n"
    message = a_message(text, subject="  much   blank\t", cc="a@b.example,\n c@d.example")
    signed = await _signed(keys, _use("office.example", key), message=message)
    raw = signed.raw.replace(b"Hello", b"Hallo") if changed else signed.raw
    record = {"rsa": RSA, "ed25519": ED25519}[key].public.record
    said = _opendkim_says(keys, f"{key}._domainkey.office.example {record}\n", raw)
    assert ("dkim=fail" if changed else "dkim=pass") in said, said


async def test_a_strangers_mail_is_never_signed(keys: Path) -> None:
    """Whatever domain it claims, our signature would vouch for it."""
    async with running("dkim-sign", base_dir=keys, keys=[_use("office.example", "rsa")]) as plugin:
        assert await plugin.sign(a_session(), an_envelope(), a_message()) is None
