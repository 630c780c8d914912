"""The models of filterrelay.toml."""

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from filterrelay.mail.address import AddressPattern
from filterrelay.settings import Delivery, Limits, Listener, Settings

MINIMAL: dict[str, Any] = {"listener": [{"kind": "milter", "address": "unix:/run/milter"}]}


def test_one_listener_is_all_that_must_be_said() -> None:
    """Everything else has a default."""
    settings = Settings.model_validate(MINIMAL)
    assert settings.spool.url == "sqlite:///spool.sqlite"


def test_a_file_without_listener_is_refused() -> None:
    """An appliance that listens nowhere serves nobody."""
    with pytest.raises(ValidationError):
        Settings.model_validate({})


def test_durations_and_sizes_are_written_with_units() -> None:
    """`15m` and `50 MiB` mean what they say."""
    limits = Limits.model_validate({"message_size": "10 MiB", "command_timeout": "90s"})
    assert (limits.message_size, limits.command_timeout) == (10 * 1024**2, timedelta(seconds=90))


def test_a_duration_without_unit_is_refused() -> None:
    """15 of what?"""
    with pytest.raises(ValidationError, match="written with its unit"):
        Delivery.model_validate({"retry": 15})


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
