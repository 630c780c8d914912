"""What `filterrelay check` looks at, part by part."""

import asyncio
import getpass
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from filterrelay.cli import examination
from filterrelay.cli.examination import Check
from filterrelay.observe.clock import Clock, SystemClock
from filterrelay.plugin.resolver import DnsResolver
from filterrelay.plugin.testing import SOME_TIME, FakeClock, FakeResolver
from filterrelay.settings import Settings
from filterrelay.settings.file import load
from filterrelay.settings.problems import SettingsError
from filterrelay.wire.certificate import VALID_FOR, self_signed
from filterrelay.wire.dkim_key import make_key

CONFIGURATION = f"""user = "{getpass.getuser()}"
hostname = "relay.office.example"
state_dir = "state"
[[listener]]
kind = "milter"
address = "127.0.0.1:2525"
"""


def configured(directory: Path, more: str = "") -> Settings:
    """The settings of a file."""
    file = directory / "f.toml"
    file.write_text(CONFIGURATION + more)
    return load(file, {})


async def plugin_checks(settings: Settings, clock: Clock | None = None) -> list[Check]:
    """What is said of the plugins."""
    return await examination.plugins(settings, clock or FakeClock(), FakeResolver())


@pytest.mark.parametrize(
    ("passed", "state", "said"),
    [
        (timedelta(), "ok", "valid until 2028-04-06"),
        (VALID_FOR - timedelta(days=13), "warning", "valid until 2028-04-06"),
        (VALID_FOR + timedelta(days=1), "failed", "expired 2028-04-06"),
    ],
)
def test_a_certificate_is_looked_at_before_it_ends(
    tmp_path: Path, passed: timedelta, state: str, said: str
) -> None:
    """Two weeks before, an operator should hear of it."""
    certificate, key = self_signed(["relay.office.example"], SOME_TIME)
    (tmp_path / "c.pem").write_bytes(certificate)
    (tmp_path / "k.pem").write_bytes(key)
    settings = configured(tmp_path, '[tls]\ncertificate = "c.pem"\nkey = "k.pem"\n')
    clock = FakeClock()
    clock.advance(passed)
    (check,) = (one for one in examination.certificate(settings, clock) if "20" in one.text)
    assert (check.state, check.text) == (state, said)


def test_a_self_signed_certificate_is_told(tmp_path: Path) -> None:
    """Clients complain of it; one that an authority has signed is no matter."""
    own, key = self_signed(["relay.office.example"], SOME_TIME)
    (tmp_path / "k.pem").write_bytes(key)
    for certificate in (own, by_an_authority(own)):
        (tmp_path / "c.pem").write_bytes(certificate)
        settings = configured(tmp_path, '[tls]\ncertificate = "c.pem"\nkey = "k.pem"\n')
        texts = [one.text for one in examination.certificate(settings, FakeClock())]
        assert any("self-signed" in text for text in texts) is (certificate == own)


def by_an_authority(pem: bytes) -> bytes:
    """The certificate as an authority would have signed it."""
    own = x509.load_pem_x509_certificate(pem)
    builder = x509.CertificateBuilder(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Authority")]),
        own.subject,
        own.public_key(),
        own.serial_number,
        own.not_valid_before_utc,
        own.not_valid_after_utc,
    )
    signed = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM)


def test_a_user_that_is_not_there_is_told(tmp_path: Path) -> None:
    """Root would start it in vain."""
    settings = configured(tmp_path)
    assert not list(examination.account(settings))
    other = settings.model_copy(update={"user": "no-such-user"})
    (check,) = examination.account(other)
    assert (check.state, check.name) == ("warning", "no-such-user")


def test_a_mail_log_that_would_be_lost_is_told(tmp_path: Path) -> None:
    """Before the first line is; without one there is nothing to say."""
    assert not list(examination.mail_log(configured(tmp_path)))
    settings = configured(tmp_path, '[log]\nmail_log = "logs/mail.log"\n')
    (check,) = examination.mail_log(settings)
    assert (check.state, check.name) == ("warning", str(tmp_path / "logs" / "mail.log"))
    assert "can't be written: No such file or directory" in check.text
    (tmp_path / "logs").mkdir()
    assert [one.state for one in examination.mail_log(settings)] == ["ok"]


async def test_the_spool_is_opened(tmp_path: Path) -> None:
    """And counted."""
    check = await examination.spool(configured(tmp_path), FakeClock())
    assert (check.state, check.text) == ("ok", "0 messages")


async def test_a_spool_that_does_not_open_fails(tmp_path: Path) -> None:
    """Here a file is where the state directory should be."""
    (tmp_path / "state").write_text("in the way")
    check = await examination.spool(configured(tmp_path), FakeClock())
    assert check.state == "failed"


async def test_a_plugin_says_what_it_found(tmp_path: Path) -> None:
    """Those that depend on something tell of it."""
    (tmp_path / "users").write_text("alice:{PLAIN}x\nbob:{WHAT}x\n")
    settings = configured(tmp_path, '[[auth]]\nuse = "auth-file"\noptions.path = "users"\n')
    assert await plugin_checks(settings) == [
        Check("plugin", "auth-file", "ok", "2 accounts, 1 can log in")
    ]


@pytest.mark.parametrize("users", ["", "alice:{PLAIN}x:frozen\n", "bob:{WHAT}x\n"])
async def test_a_login_that_nobody_has_is_a_warning(tmp_path: Path, users: str) -> None:
    """The relay would serve, and refuse everybody."""
    (tmp_path / "users").write_text(users)
    settings = configured(tmp_path, '[[auth]]\nuse = "auth-file"\noptions.path = "users"\n')
    (check,) = await plugin_checks(settings)
    assert check.state == "warning"
    assert "0 can log in: `filterrelay user add LOGIN`" in check.text


async def test_a_plugin_that_cannot_start_fails(tmp_path: Path) -> None:
    """With the reason, whatever its type."""
    settings = configured(tmp_path, '[[auth]]\nuse = "auth-file"\noptions.path = "users"\n')
    (check,) = await plugin_checks(settings)
    assert (check.state, check.text) == (
        "failed",
        f"{tmp_path}/users: No such file or directory",
    )


@pytest.mark.parametrize(
    ("policy", "state"),
    [
        ('on_error = "defer"', "failed"),
        ('on_error = "accept"', "warning"),
        ('mode = "shadow"', "warning"),
    ],
)
async def test_a_daemon_that_is_down_fails_unless_mail_flows_without(
    tmp_path: Path, policy: str, state: str
) -> None:
    """What the filter's policy makes of it decides whether the relay would serve."""
    settings = configured(
        tmp_path,
        f'[[filter]]\nuse = "clamav"\n{policy}\noptions.socket = "unix:{tmp_path}/none"\n',
    )
    (check,) = await plugin_checks(settings)
    assert check.state == state
    assert "No such file or directory" in check.text


async def test_an_observer_without_its_daemon_stops_nothing(tmp_path: Path) -> None:
    """Mail flows unobserved, so the relay would serve."""
    settings = configured(
        tmp_path,
        '[[observer]]\nuse = "opentelemetry"\noptions.timeout = "0.2s"\n'
        'options.endpoint = "http://127.0.0.1:1/"\n',
    )
    (check,) = await plugin_checks(settings)
    assert (check.state, check.text) == ("warning", "http://127.0.0.1:1/ takes no traces")


async def test_a_daemon_that_says_nothing_is_waited_for_in_vain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But not for long."""
    monkeypatch.setattr(examination, "PATIENCE", 0.1)
    settings = configured(
        tmp_path, f'[[filter]]\nuse = "clamav"\noptions.socket = "unix:{tmp_path}/s"\n'
    )

    left = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        left.set()

    async with await asyncio.start_unix_server(silent, tmp_path / "s"):
        (check,) = await plugin_checks(settings)
        await left.wait()
    assert (check.state, check.text) == ("failed", "no answer within 0.1 s")


async def test_bad_options_are_problems_of_the_file(tmp_path: Path) -> None:
    """With their lines."""
    settings = configured(tmp_path, '[[filter]]\nuse = "clamav"\noptions.sockt = "x"\n')
    with pytest.raises(SettingsError, match=r"f\.toml:9: filter\[0\]\.options\.sockt"):
        await plugin_checks(settings)


@asynccontextmanager
async def smart_host(
    login: bytes = b"235 ok", heard: list[bytes] | None = None
) -> AsyncIterator[int]:
    """An SMTP server that offers PLAIN without TLS; gives its port. heard: takes the verbs."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 provider.example ESMTP\r\n")
        while line := await reader.readline():
            if heard is not None:
                heard.append(line[:4])
            match line[:4].upper():
                case b"EHLO":
                    writer.write(b"250-provider.example\r\n250 AUTH PLAIN\r\n")
                case b"AUTH":
                    writer.write(login + b"\r\n")
                case _:
                    writer.write(b"221 bye\r\n")
                    break
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


NOBODY = "127.0.0.1:1"  # tcpmux, which nobody serves


def upstream(*hosts: str, more: str = "") -> str:
    """A next hop."""
    listed = ", ".join(f'"{host}"' for host in hosts)
    return f'[[upstream]]\nname = "provider"\nhosts = [{listed}]\ntls = "none"\n{more}'


async def test_an_upstream_that_answers_is_good(tmp_path: Path) -> None:
    """It is greeted, and left before the command ends."""
    heard: list[bytes] = []
    async with smart_host(heard=heard) as port:
        settings = configured(tmp_path, upstream(f"127.0.0.1:{port}"))
        (check,) = await examination.next_hops(settings, FakeResolver())
        assert heard == [b"EHLO", b"QUIT"]
    assert (check.state, check.name) == ("ok", f"provider 127.0.0.1:{port}")


@pytest.mark.parametrize(("key", "state"), [("xforward", "ok"), ("xclient", "warning")])
async def test_a_next_hop_that_may_not_be_told_of_clients_is_named(
    tmp_path: Path, key: str, state: str
) -> None:
    """With what its Postfix lacks; where we shall pose as clients, no mail could pass."""
    async with smart_host() as port:
        settings = configured(tmp_path, upstream(f"127.0.0.1:{port}", more=f"{key} = true\n"))
        (check,) = await examination.next_hops(settings, FakeResolver())
    assert check.state == state
    assert f"smtpd_authorized_{key}_hosts" in check.text


async def test_an_upstream_nobody_of_which_answers_makes_mail_wait(tmp_path: Path) -> None:
    """It is accepted nevertheless."""
    settings = configured(tmp_path, upstream(NOBODY))
    (check,) = await examination.next_hops(settings, FakeResolver())
    assert (check.state, check.waits) == ("warning", "provider")


async def test_a_host_that_is_down_beside_another_is_a_warning(tmp_path: Path) -> None:
    """That is what failover is for."""
    async with smart_host() as port:
        settings = configured(tmp_path, upstream(NOBODY, f"127.0.0.1:{port}"))
        checks = await examination.next_hops(settings, FakeResolver())
    assert [(check.state, check.waits) for check in checks] == [("warning", ""), ("ok", "")]


@pytest.mark.parametrize(("answer", "state"), [(b"235 ok", "ok"), (b"535 5.7.8 no", "warning")])
async def test_the_login_is_tried(tmp_path: Path, answer: bytes, state: str) -> None:
    """A wrong password is found now, not by the first mail."""
    async with smart_host(answer) as port:
        login = 'username = "office"\npassword = "secret"\n'
        settings = configured(tmp_path, upstream(f"127.0.0.1:{port}", more=login))
        (check,) = await examination.next_hops(settings, FakeResolver())
    assert check.state == state
    assert "secret" not in check.text


async def test_what_to_do_about_a_certificate_is_said(tmp_path: Path) -> None:
    """That it is self-signed doesn't tell a person which key of the file would help."""
    chain, key = self_signed(["127.0.0.1"], SystemClock().now())
    pair = tmp_path / "pair.pem"
    pair.write_bytes(chain + key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair)
    async with await asyncio.start_server(lambda _, __: None, "127.0.0.1", 0, ssl=context) as one:
        text = upstream(f"127.0.0.1:{one.sockets[0].getsockname()[1]}")
        settings = configured(tmp_path, text.replace('"none"', '"implicit"'))
        (check,) = await examination.next_hops(settings, FakeResolver())
    assert check.state == "warning"
    assert "certificate: " in check.text
    assert "ca_file" in check.text


async def test_missing_tls_makes_mail_wait_where_it_is_required(tmp_path: Path) -> None:
    """As delivery would refuse to go on in plain text."""
    async with smart_host() as port:
        text = upstream(f"127.0.0.1:{port}").replace('"none"', '"required"')
        (check,) = await examination.next_hops(configured(tmp_path, text), FakeResolver())
    assert (check.state, check.waits) == ("warning", "provider")


@pytest.mark.parametrize(
    "more", ['[[route]]\nupstream = "mx"\n', '[[upstream]]\nname = "mx"\nprotocol = "mx"\n']
)
@pytest.mark.parametrize(
    ("failing", "state", "waits"), [(False, "ok", ""), (True, "warning", "mx")]
)
async def test_direct_delivery_needs_dns_only(
    tmp_path: Path, more: str, failing: bool, state: str, waits: str
) -> None:
    """No destination is known beforehand; that port 25 may be closed outwards is said."""
    resolver = FakeResolver(failing=["relay.office.example"] if failing else [])
    (check,) = await examination.next_hops(configured(tmp_path, more), resolver)
    assert (check.name, check.state, check.waits) == ("mx", state, waits)
    assert ("port 25" in check.text) is not failing


def signing(**keys: str) -> str:
    """A signer with these key files, by their selectors."""
    tables = ", ".join(
        f'{{ domain = "office.example", selector = "{selector}", key = "{file}" }}'
        for selector, file in keys.items()
    )
    return f'[[signer]]\nuse = "dkim-sign"\noptions.keys = [{tables}]\n'


async def test_dkim_keys_are_compared_with_dns(tmp_path: Path) -> None:
    """Published, another one published, and not published."""
    key = make_key("ed25519")
    (tmp_path / "k.pem").touch(mode=0o600)
    (tmp_path / "k.pem").write_bytes(key.pem)
    settings = configured(tmp_path, signing(a="k.pem", b="k.pem", c="k.pem"))
    dns = FakeResolver(
        {
            ("a._domainkey.office.example", "TXT"): [key.public.record.encode()],
            ("b._domainkey.office.example", "TXT"): [make_key("ed25519").public.record.encode()],
        }
    )
    checks = await examination.dkim_keys(settings, dns)
    assert [check.state for check in checks] == ["ok", "warning", "warning"]


async def test_a_dkim_key_that_cannot_sign_fails(tmp_path: Path) -> None:
    """A DNS that doesn't answer is only a warning."""
    (tmp_path / "good.pem").touch(mode=0o600)
    (tmp_path / "good.pem").write_bytes(make_key("ed25519").pem)
    (tmp_path / "bad.pem").write_text("no key")
    settings = configured(tmp_path, signing(good="good.pem", bad="bad.pem"))
    dns = FakeResolver(failing={"good._domainkey.office.example"})
    checks = await examination.dkim_keys(settings, dns)
    assert [check.state for check in checks] == ["warning", "failed"]


async def test_everything_is_looked_at(tmp_path: Path) -> None:
    """The file's parts, one after another."""
    (tmp_path / "users").write_text("")
    settings = configured(
        tmp_path,
        '[dns]\nservers = ["127.0.0.1:1"]\ntimeout = "100ms"\n'
        '[[auth]]\nuse = "auth-file"\noptions.path = "users"\n' + upstream(NOBODY),
    )
    checks = await examination.examine(settings, FakeClock())
    assert [check.part for check in checks] == ["spool", "plugin", "upstream"]


@pytest.mark.parametrize(("validating", "waits"), [(True, []), (False, ["mx", "strict"])])
async def test_dane_needs_name_servers_that_can_be_believed(
    tmp_path: Path, validating: bool, waits: list[str]
) -> None:
    """The machine's own may be anywhere; the file alone doesn't show it."""
    more = """
[[upstream]]
name = "strict"
protocol = "mx"
tls = "dane"

[[route]]
recipients = ["*@bank.example"]
upstream = "mx"
tls = "dane"
"""
    resolver = DnsResolver(
        ["127.0.0.1"], timedelta(seconds=1), SystemClock(), validating=validating
    )
    checks = await examination.dnssec(configured(tmp_path, more), resolver)
    assert sorted(check.waits for check in checks) == waits
    await resolver.close()
