"""The models of filterrelay.toml."""

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from filterrelay.settings import Delivery, Limits, Settings

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


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ("limits", "command_timeout"),
        ("limits", "data_timeout"),
        ("limits", "chain_timeout"),
        ("limits", "lockout"),
        ("dns", "timeout"),
        ("quarantine", "keep"),
    ],
)
def test_a_time_that_would_stop_all_mail_is_refused(section: str, key: str) -> None:
    """0 s for a command would answer every client with 421."""
    with pytest.raises(ValidationError, match=rf"{section}\.{key}\n.*must be at least \""):
        Settings.model_validate(MINIMAL | {section: {key: "0s"}})


def test_nobody_can_answer_in_no_time() -> None:
    """A filter that may take 0 s never works."""
    with pytest.raises(ValidationError, match='must be at least "100ms"'):
        Settings.model_validate(MINIMAL | {"filter": [{"use": "spf", "timeout": "0s"}]})


@pytest.mark.parametrize(
    ("section", "key"),
    [("limits", "message_size"), ("limits", "in_flight_memory"), ("spool", "free_space")],
)
def test_a_size_below_nothing_is_refused(section: str, key: str) -> None:
    """No message would fit."""
    with pytest.raises(ValidationError, match="a size can't be less than nothing"):
        Settings.model_validate(MINIMAL | {section: {key: -5}})


def test_an_empty_section_means_its_defaults() -> None:
    """What stands behind a # in the file that init writes is the default."""
    settings = Settings.model_validate(MINIMAL | {"metrics": {}, "console": {}})
    assert settings.metrics.address == "127.0.0.1:9325"
    assert settings.console.address == "127.0.0.1:9326"
    off = Settings.model_validate(MINIMAL | {"metrics": {"address": ""}})
    assert off.metrics.address == ""


def test_plugins_options_never_show() -> None:
    """They may hold what came from the environment; only the plugin knows what is secret."""
    filters = [{"use": "mine", "options": {"token": "hunter2"}}]
    settings = Settings.model_validate(MINIMAL | {"filter": filters})
    assert settings.filter[0].options == {"token": "hunter2"}
    assert "hunter2" not in repr(settings) + settings.model_dump_json() + str(settings.model_dump())
