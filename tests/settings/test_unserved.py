"""Nothing is served otherwise than the configuration file says."""

from pathlib import Path
from typing import Any

import pytest

from filterrelay.settings import Settings
from filterrelay.settings.file import load
from filterrelay.settings.unserved import unserved

LISTENER = {"kind": "smtp", "address": "127.0.0.1:25"}
UPSTREAM = {"name": "provider", "hosts": ["127.0.0.1:25"]}


def complaints(**changes: Any) -> list[str]:
    """The keys that can't be served."""
    values: dict[str, Any] = {"listener": [LISTENER], "upstream": [UPSTREAM]}
    return [problem.key for problem in unserved(Settings.model_validate(values | changes))]


def test_what_is_there_is_served() -> None:
    """A usual file has nothing to complain of."""
    assert not complaints()


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"listener": [LISTENER | {"kind": "proxy"}]}, "listener[0].kind"),
        ({"listener": [LISTENER | {"xclient_from": ["127.0.0.1"]}]}, "listener[0].xclient_from"),
        ({"upstream": [UPSTREAM | {"xforward": True}]}, "upstream[0].xforward"),
        ({"spool": {"url": "postgresql://localhost/mail"}}, "spool.url"),
    ],
)
def test_what_is_not_there_yet_is_refused_by_name(changes: dict[str, Any], key: str) -> None:
    """A proxy listener is never opened as something else, nor weakened."""
    assert complaints(**changes) == [key]


def test_it_is_said_with_its_line(tmp_path: Path) -> None:
    """As everything else that is wrong in the file."""
    file = tmp_path / "f.toml"
    listener = '[[listener]]\nkind = "proxy"\naddress = "unix:m"\nupstream = "u"\n'
    file.write_text(f'{listener}[[upstream]]\nname = "u"\nhosts = ["127.0.0.1:25"]\n')
    (problem,) = unserved(load(file, {}))
    assert (
        str(problem) == f"{file}:2: listener[0].kind: proxy is not there yet; smtp and milter are"
    )
