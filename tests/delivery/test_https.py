"""HTTPS to hosts that strangers name."""

import socket
import ssl

import pytest

from filterrelay.delivery.addresses import HostLookup, Place
from filterrelay.delivery.https import MOST_OCTETS, Https, HttpsFailed
from filterrelay.plugin.testing import FakeResolver

from .certificates import Authority, make_authority
from .far_side import LOOPBACK
from .web import at_loopback, web

HOST = "mta-sts.partner.example"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority that is trusted here."""
    return make_authority(tmp_path_factory.mktemp("https"))


def trusting(authority: Authority) -> ssl.SSLContext:
    """A client that trusts the authority alone."""
    return ssl.create_default_context(cafile=str(authority.file))


async def test_a_page_is_had_from_the_address_that_dns_says(authority: Authority) -> None:
    """The name is what the certificate is for, and what the server is asked for."""
    with web(authority.server(HOST)) as server:
        server.text("/policy?a=b", b"Hello")
        https = Https(at_loopback(HOST).places, trusting(authority), server.port)
        page = await https.get(f"https://{HOST}/policy?a=b")
        assert (page.content, page.kind) == (b"Hello", "text/plain")
        assert server.asked == [("GET", HOST, "/policy?a=b")]


async def test_an_address_that_is_silent_leaves_time_for_the_next(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As IPv6 is where it ends in a black hole: else no policy would ever be learnt there."""
    monkeypatch.setattr("filterrelay.delivery.https.CONNECT", 0.2)
    monkeypatch.setattr("filterrelay.delivery.https.TIMEOUT", 3.0)
    with web(authority.server(HOST)) as server, socket.socket() as silent:
        silent.bind(("127.0.0.2", server.port))
        silent.listen()

        async def places(_: str, port: int) -> list[Place]:
            return [Place(socket.AF_INET, (each, port)) for each in ("127.0.0.2", LOOPBACK)]

        server.text("/", b"Hello")
        https = Https(places, trusting(authority), server.port)
        assert (await https.get(f"https://{HOST}/")).content == b"Hello"


async def test_content_is_handed_over(authority: Authority) -> None:
    """With its media type."""
    with web(authority.server(HOST)) as server:
        server.answers["/in"] = (201, {}, b"")
        https = Https(at_loopback(HOST).places, trusting(authority), server.port)
        await https.post(f"https://{HOST}/in", "application/tlsrpt+gzip", b"report")
        assert server.posted == [("application/tlsrpt+gzip", b"report")]


@pytest.mark.parametrize("fault", ["name", "expired", "stranger"])
async def test_a_bad_certificate_is_none(authority: Authority, fault: str) -> None:
    """And is told apart from other failures."""
    names = {"name": "another.example"}
    context = authority.server(names.get(fault, HOST), expired=fault == "expired")
    trusted = ssl.create_default_context() if fault == "stranger" else trusting(authority)
    with web(context) as server:
        server.text("/", b"Hello")
        https = Https(at_loopback(HOST).places, trusted, server.port)
        with pytest.raises(HttpsFailed) as failed:
            await https.get(f"https://{HOST}/")
        assert failed.value.certificate
        assert not server.asked


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((302, {"Location": "/elsewhere"}, b""), "status 302"),
        ((404, {}, b""), "status 404"),
        ((200, {}, b"x" * (MOST_OCTETS + 1)), "more than 64 KiB"),
    ],
)
async def test_what_is_no_answer(
    authority: Authority, answer: tuple[int, dict[str, str], bytes], why: str
) -> None:
    """Redirects least of all (RFC 8461 section 3.3)."""
    with web(authority.server(HOST)) as server:
        server.answers["/"] = answer
        server.text("/elsewhere", b"Hello")
        https = Https(at_loopback(HOST).places, trusting(authority), server.port)
        with pytest.raises(HttpsFailed, match=why):
            await https.get(f"https://{HOST}/")
        assert len(server.asked) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://partner.example/",
        "https:///",
        "https://user@partner.example/",
        "https://[::1/",
        "https://partner.example:99999/",
        "https://nobody.example/",
        "https://partner.example/\x01",
    ],
)
async def test_a_url_that_leads_nowhere(url: str) -> None:
    """Strangers write them."""
    with pytest.raises(HttpsFailed):
        await Https(at_loopback("partner.example").places).get(url)


async def test_a_stranger_cannot_have_this_machine_asked() -> None:
    """Nor others behind it: the addresses are those that mail may go to."""
    resolver = FakeResolver({(HOST, "A"): [LOOPBACK]})
    with pytest.raises(HttpsFailed, match="no mail goes to"):
        await Https(HostLookup(resolver).places).get(f"https://{HOST}/")
