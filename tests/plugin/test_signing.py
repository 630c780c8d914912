"""A plugin that signs by DKIM says which keys must be published."""

from pathlib import Path

from filterrelay.plugin.discovery import load
from filterrelay.plugin.signing import KeyHolder
from filterrelay.wire.dkim_key import KeyUse


def test_keys_are_told_before_they_are_there() -> None:
    """So that `filterrelay dkim keygen` can make them."""
    keys = [{"domain": "Office.Example", "selector": "s1", "key": "dkim/s1.pem"}]
    signer: KeyHolder = load("dkim-sign", "dkim-sign", {"keys": keys}).instance
    (use,) = signer.dkim_keys(Path("/etc/filterrelay"))
    assert use == KeyUse("office.example", "s1", Path("/etc/filterrelay/dkim/s1.pem"))
    assert use.record_name == "s1._domainkey.office.example"
