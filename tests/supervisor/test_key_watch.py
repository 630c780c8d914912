"""Keys that are compared with DNS while mail is signed with them."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from filterrelay.observe.metrics import Metrics
from filterrelay.plugin.services import DnsError
from filterrelay.settings import Settings
from filterrelay.supervisor import key_watch
from filterrelay.supervisor.key_watch import watch_keys
from filterrelay.wire.dkim_key import make_key, write_key

KEY, OTHER = make_key("ed25519"), make_key("ed25519")
NAME = "s1._domainkey.office.example"


class Dns:
    """Has one record, or fails."""

    def __init__(self) -> None:
        self.record: str | None = KEY.public.record
        self.fails = False
        self.asked = 0

    async def lookup(self, name: str, kind: str) -> Sequence[bytes]:
        """What it has."""
        self.asked += 1
        if self.fails:
            raise DnsError("no answer")
        return [self.record.encode()] if name == NAME and self.record else []


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hours and minutes are short."""
    monkeypatch.setattr(key_watch, "EVERY", 0.01)
    monkeypatch.setattr(key_watch, "SOON", 0.01)


@pytest.fixture
def lines() -> Iterator[list[EventDict]]:
    """What is logged."""
    with capture_logs() as captured:
        yield captured


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Those of a relay that signs for one domain, and wants to for another."""
    write_key(tmp_path / "s1.pem", KEY)
    keys = [
        {"domain": "broken.example", "selector": "s2", "key": str(tmp_path / "absent.pem")},
        {"domain": "office.example", "selector": "s1", "key": str(tmp_path / "s1.pem")},
    ]
    signer = {"use": "dkim-sign", "options": {"keys": keys}}
    listener = {"kind": "smtp", "address": "127.0.0.1:0"}
    return Settings.model_validate({"listener": [listener], "signer": [signer]})


def published(metrics: Metrics, domain: str = "office.example") -> float | None:
    """What the gauge says."""
    labels = {"domain": domain, "selector": "s1"}
    return metrics.registry.get_sample_value("filterrelay_dkim_key_published", labels)


async def until(metrics: Metrics, value: float) -> None:
    """Returns when the gauge says that."""
    async with asyncio.timeout(5):
        while published(metrics) != value:  # noqa: ASYNC110  # a gauge sets no event
            await asyncio.sleep(0.005)


async def asked_again(dns: Dns) -> None:
    """Returns when DNS has been asked twice more."""
    before = dns.asked
    async with asyncio.timeout(5):
        while dns.asked < before + 2:  # noqa: ASYNC110  # it sets no event
            await asyncio.sleep(0.005)


async def test_a_key_that_vanishes_from_dns_shows(
    settings: Settings, lines: list[EventDict]
) -> None:
    """And one that is there again. The log tells of each change once, with what DNS has."""
    metrics, dns = Metrics(), Dns()
    watching = asyncio.create_task(watch_keys(settings, dns, metrics))
    await until(metrics, 1)
    dns.record = OTHER.public.record
    await until(metrics, 0)
    await asked_again(dns)
    dns.record = KEY.public.record
    await until(metrics, 1)
    watching.cancel()
    unreadable, wrong, right = lines
    assert (unreadable["event"], published(metrics, "broken.example")) == (
        "dkim_key_unreadable",
        None,
    )
    assert (wrong["event"], wrong["domain"]) == ("dkim_key_not_published", "office.example")
    assert "another key" in wrong["reason"]
    assert right["event"] == "dkim_key_published"


async def test_dns_that_does_not_answer_says_nothing(settings: Settings) -> None:
    """The gauge keeps what it was: nothing at first, then what was found last."""
    metrics, dns = Metrics(), Dns()
    dns.fails = True
    watching = asyncio.create_task(watch_keys(settings, dns, metrics))
    await asked_again(dns)
    assert published(metrics) is None
    dns.fails, dns.record = False, None
    await until(metrics, 0)
    dns.fails = True
    await asked_again(dns)
    assert published(metrics) == 0
    watching.cancel()


async def test_a_key_that_was_not_reloaded_is_not_the_one_that_signs(
    settings: Settings, tmp_path: Path
) -> None:
    """What lies on disk by now doesn't matter: the mail's signatures must be found in DNS."""
    metrics, dns = Metrics(), Dns()
    watching = asyncio.create_task(watch_keys(settings, dns, metrics))
    await until(metrics, 1)
    (tmp_path / "s1.pem").write_bytes(OTHER.pem)
    dns.record = OTHER.public.record
    await until(metrics, 0)
    watching.cancel()
