"""What a reload must leave as it is, and what it may change."""

from pathlib import Path
from typing import Any

import pytest

from filterrelay.settings import Settings
from filterrelay.supervisor.same import CantReload, listened_on, require_same


def some_settings(**changes: Any) -> Settings:
    """A file with a TCP and a Unix listener."""
    values = {
        "state_dir": Path("/var/lib/filterrelay"),
        "listener": [
            {"name": "submission", "kind": "smtp", "address": "127.0.0.1:587"},
            {"name": "milter", "kind": "milter", "address": "unix:/run/milter.sock"},
        ],
    }
    return Settings.model_validate(values | changes)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"state_dir": Path("/srv/relay")}, "state_dir"),
        ({"user": "somebody"}, "user"),
        ({"spool": {"url": "sqlite:///other.sqlite"}}, "spool.url"),
        (
            {"listener": [{"kind": "milter", "address": "unix:/run/milter.sock", "mode": "0600"}]},
            "mode and group of the listener at unix:/run/milter.sock",
        ),
    ],
)
def test_what_only_a_restart_can_change_is_named(changes: dict[str, Any], key: str) -> None:
    """Rather than ignored."""
    with pytest.raises(CantReload) as refused:
        require_same(some_settings(**changes), some_settings())
    assert refused.value.key == key


def test_the_rest_may_change() -> None:
    """Listeners may come and go, too."""
    require_same(some_settings(hostname="other.example"), some_settings())
    one = [{"kind": "smtp", "address": "127.0.0.1:25"}]
    require_same(some_settings(listener=one), some_settings())


def test_an_address_is_listened_on_once() -> None:
    """The metrics' too, unless nobody shall ask for them."""
    assert list(listened_on(some_settings(metrics={"address": "127.0.0.1:9325"}))) == [
        "127.0.0.1:587",
        "127.0.0.1:9325",
        "unix:/run/milter.sock",
    ]
    assert len(listened_on(some_settings(metrics={"address": ""}))) == 2
