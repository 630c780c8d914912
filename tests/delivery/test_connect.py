"""How connections are made: TLS as the policy says, and logging in."""

import asyncio
import base64
import socket
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from filterrelay.delivery.connect import Login
from filterrelay.delivery.upstream import Sent, Upstream
from filterrelay.plugin.testing import an_envelope
from filterrelay.settings import Upstream as UpstreamSettings

from .certificates import Authority, make_authority
from .far_side import Act, FarSide, far_side, upstream_settings

Opener = Callable[[UpstreamSettings], Upstream]
OFFERS_TLS = ("PIPELINING", "STARTTLS")
OFFERS_LOGIN = ("PIPELINING", "AUTH PLAIN LOGIN")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority that the upstreams here trust."""
    return make_authority(tmp_path_factory.mktemp("authority"))


async def send(upstream: Upstream, **envelope_changes: Any) -> Sent:
    """One message to bob."""
    envelope = an_envelope(**envelope_changes)
    body = b"Subject: Lunch\r\n\r\nHello.\r\n"
    return await asyncio.wait_for(upstream.send(envelope, envelope.recipients, body), 10)


def settings(side: FarSide, authority: Authority, tls: str, **changes: Any) -> UpstreamSettings:
    """An upstream that trusts the authority alone."""
    return upstream_settings(side, tls=tls, ca_file=authority.file, timeout="2s", **changes)


def code(sent: Sent) -> str:
    """The one reply's codes."""
    (reply,) = sent.replies
    return f"{reply.code} {reply.enhanced}"


async def test_required_encrypts_and_verifies(open_upstream: Opener, authority: Authority) -> None:
    """A certificate for the host's name by a known authority is what `required` wants."""
    async with far_side(extensions=OFFERS_TLS, tls=authority.server()) as side:
        sent = await send(open_upstream(settings(side, authority, "required")))
        assert code(sent) == "250 2.0.0"
        assert sent.tls.startswith("TLSv1.")
        assert side.verbs()[:3] == ["EHLO", "STARTTLS", "EHLO"]


async def test_required_sends_nothing_when_starttls_is_missing(
    open_upstream: Opener, authority: Authority
) -> None:
    """Somebody who strips STARTTLS from the greeting gets no mail, and no address."""
    async with far_side(extensions=("PIPELINING",)) as side:
        sent = await send(open_upstream(settings(side, authority, "required")))
        assert code(sent) == "451 4.7.4"
        assert "MAIL" not in side.verbs()


@pytest.mark.parametrize(("address", "expired"), [("127.0.0.1", True), ("192.0.2.1", False)])
async def test_required_defers_for_a_bad_certificate(
    open_upstream: Opener, authority: Authority, address: str, expired: bool
) -> None:
    """Expired, or for another name: the mail waits until that is repaired."""
    context = authority.server(address, expired=expired)
    async with far_side(extensions=OFFERS_TLS, tls=context) as side:
        sent = await send(open_upstream(settings(side, authority, "required")))
        assert code(sent) == "451 4.7.5"
        assert "certificate" in sent.replies[0].text
        assert "MAIL" not in side.verbs()


@pytest.mark.parametrize("tls", ["required", "opportunistic"])
async def test_an_unknown_authority_is_believed_by_opportunistic_only(
    open_upstream: Opener, authority: Authority, tmp_path: Path, tls: str
) -> None:
    """Encryption to nobody in particular is better than none, where none would do."""
    stranger = make_authority(tmp_path)
    async with far_side(extensions=OFFERS_TLS, tls=stranger.server()) as side:
        sent = await send(open_upstream(settings(side, authority, tls)))
        assert code(sent) == ("451 4.7.5" if tls == "required" else "250 2.0.0")
        assert sent.tls == "none" if tls == "required" else sent.tls.startswith("TLSv1.")


async def test_opportunistic_goes_on_in_plain_text_on_a_fresh_connection(
    open_upstream: Opener, authority: Authority
) -> None:
    """A server that says itself that it has no TLS now gets its mail (RFC 3207 section 4)."""
    answers: dict[str, Any] = {"STARTTLS": "454 4.7.0 Not now"}
    async with far_side(extensions=OFFERS_TLS, answers=answers, tls=authority.server()) as side:
        sent = await send(open_upstream(settings(side, authority, "opportunistic")))
        assert code(sent) == "250 2.0.0"
        assert sent.tls == "none"
        assert side.connections == 2


@pytest.mark.parametrize(
    ("verb", "answer"),
    [
        ("STARTTLS", Act.DROP),
        ("STARTTLS", Act.HANG),
        ("STARTTLS", "421 4.3.2 Stopping"),
        ("EHLO", ["250-mx\r\n250 STARTTLS", Act.DROP]),
    ],
)
async def test_a_broken_connection_is_no_reason_for_plain_text(
    open_upstream: Opener, authority: Authority, verb: str, answer: Any
) -> None:
    """Who can cut a line can't have the mail in clear text for it: it waits, and is encrypted."""
    answers = {verb: answer}
    async with far_side(extensions=OFFERS_TLS, answers=answers, tls=authority.server()) as side:
        config = settings(side, authority, "opportunistic", connect_timeout="200ms")
        sent = await send(open_upstream(config))
        assert sent.replies[0].is_temporary
        assert "MAIL" not in side.verbs()


async def test_connections_opened_at_once_all_find_the_same_rung(
    open_upstream: Opener, authority: Authority, tmp_path: Path
) -> None:
    """With twenty failing the same check together, each steps down one rung and not twenty."""
    stranger = make_authority(tmp_path)
    async with far_side(extensions=OFFERS_TLS, tls=stranger.server()) as side:
        upstream = open_upstream(settings(side, authority, "opportunistic"))
        sent = await asyncio.gather(*(send(upstream) for _ in range(20)))
        assert {code(each) for each in sent} == {"250 2.0.0"}
        assert all(each.tls.startswith("TLSv1.") for each in sent)


async def test_handshake_garbage_defers_under_required(
    open_upstream: Opener, authority: Authority
) -> None:
    """A server that can't speak TLS gets no mail in plain text."""
    answers: dict[str, Any] = {"STARTTLS": b"220 Go\r\n"}
    side = FarSide(extensions=OFFERS_TLS, answers=answers)
    server = await asyncio.start_server(_speak_garbage, "127.0.0.1", 0)
    side.port = server.sockets[0].getsockname()[1]
    sent = await send(open_upstream(settings(side, authority, "required")))
    server.close()
    assert code(sent) == "451 4.7.5"


async def _speak_garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mx\r\n")
    await reader.readline()
    writer.write(b"250-mx\r\n250 STARTTLS\r\n")
    await reader.readline()
    writer.write(b"220 Go\r\n")
    await reader.read(100)
    writer.write(b"this is no server hello at all, sorry\r\n")
    await reader.read()
    writer.close()


async def test_opportunistic_does_without_tls_that_is_not_offered(
    open_upstream: Opener, authority: Authority
) -> None:
    """Old servers get their mail."""
    async with far_side() as side:
        sent = await send(open_upstream(settings(side, authority, "opportunistic")))
        assert (code(sent), sent.tls) == ("250 2.0.0", "none")


async def test_none_never_encrypts(open_upstream: Opener, authority: Authority) -> None:
    """Even where STARTTLS is offered."""
    async with far_side(extensions=OFFERS_TLS) as side:
        sent = await send(open_upstream(settings(side, authority, "none")))
        assert (code(sent), sent.tls) == ("250 2.0.0", "none")
        assert "STARTTLS" not in side.verbs()


async def test_implicit_encrypts_from_the_first_octet(
    open_upstream: Opener, authority: Authority
) -> None:
    """Port 465's way (RFC 8314 section 3.3), verified like `required`."""
    async with far_side(tls=authority.server(), implicit=True) as side:
        sent = await send(open_upstream(settings(side, authority, "implicit")))
        assert code(sent) == "250 2.0.0"
        assert sent.tls.startswith("TLSv1.")


async def test_implicit_defers_for_another_name(
    open_upstream: Opener, authority: Authority
) -> None:
    """No mail for who can't prove to be the host."""
    async with far_side(tls=authority.server("192.0.2.1"), implicit=True) as side:
        sent = await send(open_upstream(settings(side, authority, "implicit")))
        assert code(sent) == "451 4.7.5"
        assert f"{side.host}: certificate: IP address mismatch" in sent.replies[0].text


async def test_what_is_injected_before_the_handshake_is_not_believed(
    open_upstream: Opener, authority: Authority
) -> None:
    """Words sent in plain text behind the 220 don't count as said under TLS (RFC 3207 4.2)."""
    answers: dict[str, Any] = {"STARTTLS": b"220 Go\r\n250 AUTH PLAIN\r\n"}
    async with far_side(extensions=OFFERS_TLS, answers=answers, tls=authority.server()) as side:
        sent = await send(open_upstream(settings(side, authority, "required")))
        assert sent.replies[0].code in (250, 451)
        assert len(side.received) == (sent.replies[0].code == 250)


async def test_requiretls_goes_to_a_verified_server_that_offers_it(
    open_upstream: Opener, authority: Authority
) -> None:
    """And says so with MAIL (RFC 8689 section 3)."""
    words = ("PIPELINING", "STARTTLS", "REQUIRETLS")
    async with far_side(extensions=words, tls=authority.server()) as side:
        sent = await send(open_upstream(settings(side, authority, "required")), requiretls=True)
        assert code(sent) == "250 2.0.0"
        assert side.received[0].mail.endswith(" REQUIRETLS")


@pytest.mark.parametrize("tls", ["none", "required"])
async def test_requiretls_bounces_elsewhere(
    open_upstream: Opener, authority: Authority, tls: str
) -> None:
    """Without TLS, or without the promise to keep it, the mail comes back with 5.7.30."""
    words = OFFERS_TLS if tls == "required" else ("PIPELINING", "REQUIRETLS")
    async with far_side(extensions=words, tls=authority.server()) as side:
        sent = await send(open_upstream(settings(side, authority, tls)), requiretls=True)
        assert code(sent) == "550 5.7.30"
        assert "MAIL" not in side.verbs()


@pytest.mark.parametrize(
    ("first", "expected"),
    [(OFFERS_TLS, "250 2.0.0"), (("STARTTLS", "REQUIRETLS"), "250 2.0.0"), ((), "451 4.4.1")],
)
async def test_requiretls_goes_on_to_the_host_that_is_fit_for_it(
    open_upstream: Opener, authority: Authority, first: tuple[str, ...], expected: str
) -> None:
    """Past those that aren't; while one can't be asked, the mail waits (RFC 8689 4.2.1)."""
    words = ("PIPELINING", "STARTTLS", "REQUIRETLS")
    async with (
        far_side(extensions=first or OFFERS_TLS, tls=authority.server()) as one,
        far_side(extensions=words, tls=authority.server()) as two,
    ):
        config = settings(one, authority, "required")
        second = two.host if first else "127.0.0.1:1"
        upstream = open_upstream(config.model_copy(update={"hosts": (one.host, second)}))
        if first == OFFERS_TLS:
            await send(upstream)  # whose connection is kept
        assert code(await send(upstream, requiretls=True)) == expected
        assert not any("REQUIRETLS" in each.mail for each in one.received if first == OFFERS_TLS)


async def test_requiretls_bounces_once_every_host_has_been_asked(
    open_upstream: Opener, authority: Authority
) -> None:
    """None twice."""
    async with (
        far_side(extensions=OFFERS_TLS, tls=authority.server()) as one,
        far_side(extensions=OFFERS_TLS, tls=authority.server()) as two,
    ):
        config = settings(one, authority, "required").model_copy(
            update={"hosts": (one.host, two.host)}
        )
        assert code(await send(open_upstream(config), requiretls=True)) == "550 5.7.30"
        assert (one.connections, two.connections) == (1, 1)


async def test_the_login_is_shown_before_mail(open_upstream: Opener, authority: Authority) -> None:
    """AUTH PLAIN over TLS, once a connection."""
    words = (*OFFERS_LOGIN, "STARTTLS")
    async with far_side(extensions=words, tls=authority.server()) as side:
        config = settings(side, authority, "required", username="office", password="sesame")
        upstream = open_upstream(config)
        await send(upstream)
        assert code(await send(upstream)) == "250 2.0.0"
        token = base64.b64encode(b"\0office\0sesame").decode()
        assert [c for c in side.commands if c.startswith("AUTH")] == [f"AUTH PLAIN {token}"]


async def test_a_refused_login_defers_and_is_not_tried_again_and_again(
    open_upstream: Opener, authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong password is our own fault: no bounce, an error in the log, no locked account."""
    answers = {"AUTH": "535 5.7.8 Wrong password"}
    async with far_side(extensions=OFFERS_LOGIN, answers=answers) as side:
        config = settings(side, authority, "none", username="office", password="sesame")
        upstream = open_upstream(config)
        assert code(await send(upstream)) == "454 4.7.8"
        assert code(await send(upstream)) == "454 4.7.8"
        assert side.verbs().count("AUTH") == 1
    logged = capsys.readouterr().out
    assert "error" in logged
    assert "sesame" not in logged


async def test_a_password_never_goes_out_in_clear_text_by_accident(
    open_upstream: Opener, authority: Authority
) -> None:
    """With STARTTLS stripped under `opportunistic`, the login waits instead."""
    async with far_side(extensions=OFFERS_LOGIN) as side:
        config = settings(side, authority, "opportunistic", username="office", password="sesame")
        assert code(await send(open_upstream(config))) == "454 4.7.0"
        assert "AUTH" not in side.verbs()


async def test_a_password_is_not_shown_to_any_certificate(
    open_upstream: Opener, authority: Authority, tmp_path: Path
) -> None:
    """Encrypted to nobody in particular is no place for a password: the login waits."""
    words, stranger = (*OFFERS_LOGIN, "STARTTLS"), make_authority(tmp_path)
    async with far_side(extensions=words, tls=stranger.server()) as side:
        config = settings(side, authority, "opportunistic", username="office", password="sesame")
        assert code(await send(open_upstream(config))) == "454 4.7.0"
        assert "AUTH" not in side.verbs()


async def test_a_name_without_address_defers(
    open_upstream: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS may be down: the mail waits."""

    async def unknown(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    config = upstream_settings(FarSide(port=25), hosts=("no-such-host.invalid:25",))
    sent = await send(open_upstream(config))
    assert str(sent.replies[0]) == (
        "451 4.4.4 connect to no-such-host.invalid:25: the name has no address"
    )


def test_the_password_shows_in_no_repr() -> None:
    """What is logged of a login names it without the password."""
    login = Login("office", "sesame")
    assert "sesame" not in repr(login)
    assert "sesame" not in repr(replace(login, username="other"))


@pytest.mark.parametrize("shown", [True, False])
async def test_a_server_that_asks_for_our_certificate_gets_it(
    open_upstream: Opener, authority: Authority, shown: bool
) -> None:
    """And without one it takes no mail; that waits until the file names one."""
    context = authority.server()
    context.load_verify_locations(authority.file)
    context.verify_mode = ssl.CERT_REQUIRED
    ours = authority.issue("relay.office.example").file
    files = {"certificate": ours, "key": ours} if shown else {}
    async with far_side(extensions=OFFERS_TLS, tls=context) as side:
        sent = await send(open_upstream(settings(side, authority, "required", **files)))
        assert sent.replies[0].is_temporary is not shown
        assert bool(side.received) is shown


async def test_an_older_version_than_allowed_is_no_tls(
    open_upstream: Opener, authority: Authority
) -> None:
    """The upstream's minimum_version holds."""
    context = authority.server()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with far_side(extensions=OFFERS_TLS, tls=context) as side:
        for version, expected in (("1.3", "451 4.7.5"), ("1.2", "250 2.0.0")):
            config = settings(side, authority, "required", minimum_version=version)
            assert code(await send(open_upstream(config))) == expected
