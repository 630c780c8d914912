"""What all sections of filterrelay.toml have in common."""

from typing import Any

import pytest
from pydantic import ValidationError

from filterrelay.mail.address import AddressPattern
from filterrelay.settings import Listener, Settings

MINIMAL: dict[str, Any] = {"listener": [{"kind": "milter", "address": "unix:/run/milter"}]}


def test_settings_are_frozen() -> None:
    """Nothing that runs can change what the file says."""
    settings = Settings.model_validate(MINIMAL)
    with pytest.raises(ValidationError, match="frozen"):
        settings.hostname = "other.example"  # type: ignore[misc]  # the point of the test


def test_a_network_may_be_written_with_host_bits() -> None:
    """`10.1.2.3/16` is the network that host is in."""
    listener = Listener.model_validate(
        {"kind": "smtp", "address": "x:1", "trusted_networks": ["10.1.2.3/16"]}
    )
    assert [str(network) for network in listener.trusted_networks] == ["10.1.0.0/16"]


def test_address_patterns_are_read_as_such() -> None:
    """`relay_domains` speaks the same language as routes do."""
    listener = Listener.model_validate(
        {"kind": "smtp", "address": "x:1", "relay_domains": ["office.example"]}
    )
    assert listener.relay_domains == (AddressPattern("office.example"),)
