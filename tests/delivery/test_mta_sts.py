"""MTA-STS: what a policy says, how it is had, and how long it holds."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from filterrelay.delivery import mta_sts
from filterrelay.delivery.https import Https
from filterrelay.delivery.mta_sts import (
    MOST_AGE,
    MOST_AT_ONCE,
    BadPolicy,
    MtaSts,
    PolicyFiles,
    Told,
    parse_policy,
    record_id,
)
from filterrelay.plugin.testing import SOME_TIME, FakeClock, FakeResolver

from .certificates import Authority, make_authority
from .web import Web, at_loopback, web

PATH = "/.well-known/mta-sts.txt"
DOMAIN = "partner.example"
RECORD = ("_mta-sts.partner.example", "TXT")
TEXT = b"version: STSv1\r\nmode: enforce\r\nmx: mx.partner.example\r\nmax_age: 604800\r\n"


@pytest.mark.parametrize(
    ("records", "id_"),
    [
        ([b"v=STSv1; id=20260102;"], "20260102"),
        ([b"v=STSv1;id=a"], "a"),
        ([b"v=spf1 -all", b"v=STSv1; id=b; more=c;"], "b"),
        ([b"v=STSv1; id=a;", b"v=STSv1; id=b;"], ""),
        ([b"v=STSv2; id=a;"], ""),
        ([b"v=STSv1; id=;"], ""),
        ([b"v=STSv1; id=" + b"a" * 33], ""),
        ([], ""),
    ],
)
def test_one_record_names_the_policy(records: list[bytes], id_: str) -> None:
    """More than one is none (RFC 8461 section 3.1)."""
    assert record_id(records) == id_


def test_a_policy_is_read_as_it_is_written() -> None:
    """Fields in any order, the first of each, unknown ones passed over (section 3.2)."""
    text = b"max_age: 99999999\nmode: testing\nversion: STSv1\nmx: *.Partner.example\nx: y\n"
    policy = parse_policy(text + b"mx: mx.example\nmode: none\n\n", "1", SOME_TIME)
    assert (policy.mode, policy.mx) == ("testing", ("*.partner.example", "mx.example"))
    assert policy.max_age == MOST_AGE
    assert policy.lines[:2] == ("version: STSv1", "mode: testing")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"<html>Not here</html>",
        TEXT.replace(b"STSv1", b"STSv2"),
        TEXT.replace(b"enforce", b"strict"),
        TEXT.replace(b"604800", b"-1"),
        TEXT.replace(b"604800", b"\xd9\xa1"),
        TEXT.replace(b"mx: mx.partner.example\r\n", b""),
        TEXT.replace(b"mx.partner.example", b"*"),
        TEXT.replace(b"mx.partner.example", b"mx.*.example"),
        TEXT + b"mx: mx.example\n" * 100,
        b"\xff" + TEXT,
    ],
)
def test_what_is_no_policy(text: bytes) -> None:
    """It is as if there were none."""
    with pytest.raises(BadPolicy):
        parse_policy(text, "1", SOME_TIME)


@pytest.mark.parametrize(
    ("mx", "host", "allowed"),
    [
        ("mx.partner.example", "MX.partner.example", True),
        ("mx.partner.example", "mx2.partner.example", False),
        ("*.partner.example", "mx.partner.example", True),
        ("*.partner.example", "a.mx.partner.example", False),
        ("*.partner.example", "partner.example", False),
    ],
)
def test_a_star_stands_for_one_label(mx: str, host: str, allowed: bool) -> None:
    """And for nothing else (section 4.1)."""
    text = TEXT.replace(b"mx.partner.example", mx.encode())
    assert parse_policy(text, "1", SOME_TIME).allows(host) is allowed


@dataclass
class Site:
    """A domain with a policy, and who asks for it."""

    server: Web
    sts: MtaSts
    resolver: FakeResolver
    clock: FakeClock
    directory: Path
    https: Https

    def publish(self, id_: str, text: bytes = TEXT) -> None:
        """A new record and its policy."""
        self.resolver._records[RECORD] = [f"v=STSv1; id={id_};".encode()]
        self.server.text(PATH, text)

    def restarted(self) -> MtaSts:
        """Another process, or this one later, which knows only what is on disk."""
        return MtaSts(self.resolver, self.https, PolicyFiles(self.directory), self.clock)

    async def mode(self) -> str:
        """The policy's mode, once what is fetched beside the mail is there."""
        await self.sts.policy(DOMAIN)
        await asyncio.gather(*self.sts._under_way.values())
        told = await self.sts.policy(DOMAIN)
        return told.policy.mode if told.policy else told.fault


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority that is trusted here."""
    return make_authority(tmp_path_factory.mktemp("sts"))


@pytest.fixture
def server(authority: Authority) -> Iterator[Web]:
    """The domain's web server."""
    with web(authority.server(f"mta-sts.{DOMAIN}")) as running:
        yield running


@pytest.fixture
async def site(server: Web, authority: Authority, tmp_path: Path) -> AsyncIterator[Site]:
    """The domain and we."""
    clock, resolver = FakeClock(), FakeResolver()
    trusted = ssl.create_default_context(cafile=str(authority.file))
    https = Https(at_loopback(f"mta-sts.{DOMAIN}").places, trusted, server.port)
    directory = tmp_path / "mta-sts"
    sts = MtaSts(resolver, https, PolicyFiles(directory), clock)
    yield Site(server, sts, resolver, clock, directory, https)
    await sts.close()


async def test_a_domain_without_a_record_has_no_policy(site: Site) -> None:
    """And its web server is left in peace."""
    assert await site.sts.policy(DOMAIN) == Told()
    assert not site.server.asked


async def test_a_policy_is_fetched_once(site: Site) -> None:
    """Whoever needs it meanwhile waits; afterwards it is known, also after a restart."""
    site.publish("1")
    told = await asyncio.gather(*(site.sts.policy(DOMAIN) for _ in range(5)))
    assert {each.policy.mode for each in told if each.policy} == {"enforce"}
    again = await site.restarted().policy(DOMAIN)
    assert again.policy == told[0].policy
    assert site.server.asked == [("GET", f"mta-sts.{DOMAIN}", PATH)]


async def test_a_new_record_means_a_new_policy(site: Site) -> None:
    """It is waited for: the old one may not let mail through any more."""
    site.publish("1")
    assert await site.mode() == "enforce"
    site.publish("2", TEXT.replace(b"enforce", b"none"))
    told = await site.sts.policy(DOMAIN)
    assert told.policy is not None
    assert (told.policy.id, told.policy.mode) == ("2", "none")


async def test_a_policy_whose_time_is_over_holds_no_longer(site: Site) -> None:
    """Not even where it is fetched anew once a day only."""
    site.publish("1", TEXT.replace(b"604800", b"3600"))
    assert await site.mode() == "enforce"
    site.server.answers.clear()
    site.clock.advance(timedelta(hours=2))
    assert (await site.sts.policy(DOMAIN)).policy is None


async def test_no_policy_makes_each_message_mean_a_fetch(site: Site) -> None:
    """However short it says that it holds."""
    site.publish("1", TEXT.replace(b"604800", b"0"))
    for _ in range(3):
        assert await site.mode() == "enforce"
    assert len(site.server.asked) == 1


async def test_a_policy_outlasts_its_record_and_its_server(site: Site) -> None:
    """Who can stop both can't have the mail for it, until max_age is over (section 10.2)."""
    site.publish("1")
    assert await site.mode() == "enforce"
    del site.resolver._records[RECORD]
    site.server.answers.clear()
    site.clock.advance(timedelta(days=6))
    assert await site.mode() == "enforce"
    site.clock.advance(timedelta(days=2))
    assert await site.mode() == ""


async def test_a_failing_look_up_changes_nothing(site: Site) -> None:
    """DNS may be down, or made to be."""
    site.publish("1")
    assert await site.mode() == "enforce"
    site.resolver._failing.add(RECORD[0])
    assert await site.mode() == "enforce"


async def test_a_policy_of_some_age_is_fetched_beside_the_mail(site: Site) -> None:
    """So that it never runs out while the domain is in use (section 3.3)."""
    site.publish("1")
    assert await site.mode() == "enforce"
    site.clock.advance(timedelta(days=3))
    assert (await site.sts.policy(DOMAIN)).policy is not None
    assert await site.mode() == "enforce"
    site.clock.advance(timedelta(days=6))
    assert (await site.sts.policy(DOMAIN)).policy is not None
    assert len(site.server.asked) == 2


@pytest.mark.parametrize(
    ("status", "kind", "text", "fault"),
    [
        (404, "text/plain", TEXT, "sts-policy-fetch-error"),
        (302, "text/plain", TEXT, "sts-policy-fetch-error"),
        (200, "text/html", TEXT, "sts-policy-invalid"),
        (200, "text/plain", b"Hello", "sts-policy-invalid"),
    ],
)
async def test_a_policy_that_cannot_be_had_is_none(
    site: Site, status: int, kind: str, text: bytes, fault: str
) -> None:
    """The mail goes on, the report has it, and it is tried again in five minutes."""
    site.publish("1")
    site.server.answers[PATH] = (status, {"Content-Type": kind, "Location": "/"}, text)
    told = await site.sts.policy(DOMAIN)
    assert (told.policy, told.fault) == (None, fault)
    await site.mode()
    assert len(site.server.asked) == 1
    site.publish("1")
    site.clock.advance(timedelta(minutes=6))
    assert await site.mode() == "enforce"


async def test_servers_that_hang_keep_no_other_mail_waiting(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who finds no room to fetch goes on with what is known, as after any fetch that fails."""
    site.publish("1")
    assert await site.mode() == "enforce"
    monkeypatch.setattr(mta_sts, "MOST_WAIT", 0.05)
    for _ in range(MOST_AT_ONCE):
        await site.sts._slots.acquire()
    site.publish("2", TEXT.replace(b"enforce", b"none"))
    told = await asyncio.wait_for(site.sts.policy(DOMAIN), 5)
    assert told.policy is not None
    assert (told.policy.mode, told.fault) == ("enforce", "sts-policy-fetch-error")
    site.sts._slots.release()
    site.clock.advance(timedelta(minutes=6))
    assert await site.mode() == "none"


async def test_a_server_with_a_bad_certificate_gives_no_policy(site: Site) -> None:
    """It is told with its own word."""
    site.publish("1")
    site.https._tls = ssl.create_default_context()
    assert (await site.sts.policy(DOMAIN)).fault == "sts-webpki-invalid"


async def test_a_damaged_file_is_fetched_anew(site: Site) -> None:
    """What isn't read is as if it weren't there."""
    site.publish("1")
    assert await site.mode() == "enforce"
    (file,) = site.directory.glob("*.json")
    file.write_text("{")
    assert (await site.restarted().policy(DOMAIN)).policy is not None
    assert len(site.server.asked) == 2


def test_files_whose_time_is_over_are_swept(tmp_path: Path) -> None:
    """The others stay."""
    files = PolicyFiles(tmp_path)
    for domain, age in (("old.example", b"60"), ("new.example", b"604800")):
        files.save(domain, parse_policy(TEXT.replace(b"604800", age), "1", SOME_TIME))
    files.sweep(SOME_TIME + timedelta(hours=1))
    assert [file.name for file in tmp_path.iterdir()] == ["new.example.json"]
