"""A plugin that signs by DKIM says which keys must be published."""

from pathlib import Path

from filterrelay.plugin.discovery import load
from filterrelay.plugin.signing import KeyHolder, published
from filterrelay.plugin.testing import FakeResolver
from filterrelay.wire.dkim_key import KeyUse, Published, make_key


def test_keys_are_told_before_they_are_there() -> None:
    """So that `filterrelay dkim keygen` can make them."""
    keys = [{"domain": "Office.Example", "selector": "s1", "key": "dkim/s1.pem"}]
    signer: KeyHolder = load("dkim-sign", "dkim-sign", {"keys": keys}).instance
    (use,) = signer.dkim_keys(Path("/etc/filterrelay"))
    assert use == KeyUse("office.example", "s1", Path("/etc/filterrelay/dkim/s1.pem"))
    assert use.record_name == "s1._domainkey.office.example"


async def test_dns_is_asked_for_the_key_that_signs() -> None:
    """What it has is compared; that it doesn't answer is a state of its own."""
    key, name = make_key("ed25519").public, "s1._domainkey.office.example"
    resolver = FakeResolver({(name, "TXT"): [key.record.encode()]}, failing=["other"])
    assert (await published(resolver, name, key)).state is Published.MATCHES
    assert (await published(resolver, "none", key)).state is Published.MISSING
    assert (await published(resolver, "other", key)).state is Published.UNANSWERED
